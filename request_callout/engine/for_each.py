"""The layer of a callout with ``for_each``: one call for each element of a list, so many of them side by side.

Below it everything is as for a single call, and each element has its own: request, scripts, cache key, retries. What
they gave is kept in the order of the list, as ``response.items`` of the callout.
"""

from __future__ import annotations

from request_callout.config import model
from request_callout.engine.answer import CalloutError, Ended
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse
from request_callout.engine.element import NoElement
from request_callout.engine.expression import Text
from request_callout.engine.failing import error_answer
from request_callout.engine.outcome import error_table
from request_callout.engine.performing import perform
from request_callout.engine.record import ElementsRecord
from request_callout.engine.schedule import side_by_side
from request_callout.lua import Headers, Script
from request_callout.lua.host import ScriptError
from request_callout.values import Value

_NOTHING_AWAITED: frozenset[int] = frozenset()


def for_each(following: Handler, items: Text, limits: model.ForEach, on_error: model.OnError) -> Handler:
    """Make one call for each element of the list that ``items`` gives."""

    def handle(call: Call) -> CalloutResponse | None:
        try:
            elements = _elements(items.value(call.run.context), limits.max_items)
        except CalloutError as error:
            call.failure = error.message
            call.kept = ElementsRecord([], error=error_table(error))
            if on_error == "continue":
                return None
            call.run.context.finish(call.name, call.kept)
            call.result = "failed"
            answer = error_answer(call, NoElement(call.run.context))
            raise Ended(answer, error.message) from None
        _Elements(call, following, elements).perform(limits.concurrency)
        return None

    return handle


def _elements(value: Value, max_items: int) -> list[Value]:
    """The list that an expression gave; raises CalloutError if it gave something else, or too many."""
    if value is None or value == {}:  # an empty table of Lua's is both
        return []
    if not isinstance(value, list):
        kind = "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise CalloutError("error", f"for_each.items must give a list, not {kind}")
    if len(value) > max_items:
        raise CalloutError("error", f"for_each.items gave {len(value)} elements; max_items is {max_items}")
    return value


class _Elements:
    """The calls for the elements of one callout."""

    def __init__(self, call: Call, following: Handler, elements: list[Value]) -> None:
        self._call = call
        self._following = following
        self._elements = elements
        self._record = ElementsRecord([{} for _ in elements])
        self._failures: dict[int, str] = {}

    def perform(self, concurrency: int) -> None:
        """Make them; raises what the first of the list that failed has raised."""
        call, record = self._call, self._record
        call.kept = record
        try:
            side_by_side([_NOTHING_AWAITED] * len(self._elements), self._one, concurrency)
        except BaseException:
            if self._failures:
                record.error = record.items[min(self._failures)]["error"]
                call.result = "failed"
            call.run.context.finish(call.name, record)
            raise
        if self._failures:
            first = self._failures[min(self._failures)]
            call.failure = f"{len(self._failures)} of {len(record.items)} items failed: {first}"

    def _one(self, place: int) -> None:
        outer = self._call
        run = outer.run.for_element(outer.name, self._elements[place], place + 1)
        call = Call(run, outer.callout, place + 1)
        try:
            perform(call, self._following)
            script = outer.callout.response_script
            if script is not None and script.only_reads is None and call.record.response is not None:
                call.record.response = _left_by(script, call)
        finally:
            outer.attempts += call.attempts
            if call.result == "script_error":
                outer.result = "script_error"
            if call.began:
                self._keep(place, call)
            run.context.close()

    def _keep(self, place: int, call: Call) -> None:
        """Keep what there was of a response, and the error if there was one."""
        response, error = call.record.response, call.record.error
        table: dict[str, Value] = {} if response is None else dict(response)
        if call.record.fallback:
            table["fallback"] = True
        if error is not None:
            table["error"] = error
            self._failures[place] = f"{call.label}: {call.failure}"
            self._record.failed += 1
        self._record.items[place] = table
        self._record.items_bytes += call.record.response_bytes


def _left_by(script: Script, call: Call) -> dict[str, Value]:
    """The table ``response`` as the element's ``response.by_lua`` has left it."""
    response = call.run.context.read_back(script, call.name, "response")
    if response == [] or response is None:
        return {}
    if not isinstance(response, dict):
        raise ScriptError(script.where, "response must stay a table")
    if isinstance(response.get("headers"), dict):
        response["headers"] = Headers(response["headers"])
    return response
