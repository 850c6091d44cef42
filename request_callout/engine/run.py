"""One proxied request from the first read to the last write."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import gevent

from request_callout.engine.answer import (
    INTERNAL_ERROR,
    Answer,
    CalloutError,
    Ended,
    ScriptExit,
    text_answer,
)
from request_callout.engine.call import Call
from request_callout.engine.client import REQUEST_ID, ClientRequest, Part
from request_callout.engine.context import Context
from request_callout.engine.host import ScriptHost
from request_callout.engine.kong import BodyFileError, ConnectionLost, Kong, NoKong
from request_callout.engine.schedule import run_steps
from request_callout.engine.sharing import log_call, share
from request_callout.engine.stack import after_error, keep_outcome
from request_callout.engine.upstream import edit_upstream
from request_callout.lua.host import PdkError, ScriptError
from request_callout.values import raw

if TYPE_CHECKING:
    from request_callout.engine.compiled import CompiledCallout
    from request_callout.engine.instance import Instance

_log = logging.getLogger(__name__)


class Run:
    """The state of one proxied request."""

    __slots__ = ("_held", "_origin", "_request_id", "calls", "client", "context", "deadline", "instance", "kong")

    def __init__(self, instance: Instance, kong: Kong) -> None:
        self.instance = instance
        self.kong = kong
        self.client = ClientRequest(kong)
        self.context = Context(instance.engine.lua, ScriptHost(self), self.client)
        self.calls: list[Call] = []
        self.deadline = time.monotonic() + instance.engine.settings.deadline_ms / 1000
        self._request_id: str | None = None
        self._held: list[str] = []
        self._origin: Run | None = None

    def request_id(self) -> str:
        """Kong's id of the request, for log lines; ``-`` if it can't be had any more."""
        if self._request_id is None:
            try:
                found = self.client.part("request_id")
            except Exception:  # asked for while something else is being told: nothing may come in its way
                found = None
            self._identify(found)
        return self._request_id or "-"

    def tell(self, line: str) -> None:
        """Log a line of level info, with the request's id: once that is known, which is not worth a way to Kong."""
        if self._request_id is None and self.client.has("request_id"):
            self._identify(self.client.part("request_id"))
        if self._request_id is None:
            self._held.append(line)
        else:
            _log.info("[%s] %s", self._request_id, line)

    def tell_held(self, *, kong_lives: bool = True) -> None:
        """Log what waits for the request's id."""
        if self._held:
            if kong_lives:
                self.kong.ask(REQUEST_ID, self._identify)
            else:
                self._identify(None)

    def _identify(self, request_id: str | None) -> None:
        origin = None if self._origin is None else self._origin._request_id
        self._request_id = request_id or origin or "-"
        held, self._held = self._held, []
        for line in held:
            _log.info("[%s] %s", self._request_id, line)

    def consumer_groups(self) -> list[str]:
        """Ids of the consumer's groups, where the protocol can tell them."""
        if self.kong.protocol == "ProtoBuf":
            return []
        return [str(group.get("id")) for group in self.client.part("groups") or () if isinstance(group, dict)]

    def detached(self) -> Run:
        """A run for work that outlasts this one: it knows what this one has read and got, and has no Kong."""
        run = Run(self.instance, NoKong(self.kong.protocol))
        run.client.take_over(self.client)
        run.context.records.update(self.context.records)
        run._origin = self
        return run

    @property
    def deadline_message(self) -> str:
        return f"the deadline of {self.instance.engine.settings.deadline_ms} ms for all callouts has passed"


def handle(instance: Instance, kong: Kong) -> None:
    """Do everything for one request; raises nothing but ConnectionLost."""
    run = Run(instance, kong)
    try:
        answer = _answer(run)
        share(run)
        run.tell_held()
        if answer is not None:
            kong.exit(answer.status, answer.body, answer.headers)
    except ConnectionLost:
        run.tell_held(kong_lives=False)
        raise
    except Exception:  # whatever went wrong here is ours: the client gets an answer and the log the place
        _log.exception("[%s] unexpected error", run.request_id())
        kong.exit(INTERNAL_ERROR.status, INTERNAL_ERROR.body, INTERNAL_ERROR.headers)
    finally:
        run.context.close()


def _answer(run: Run) -> Answer | None:
    """Make the callouts and edit the upstream request; the answer if the client is to get one from here."""
    instance = run.instance
    try:
        run.client.gather(_parts(run))
        run_steps(instance.plan, lambda callout: perform(run, callout))
        edit_upstream(instance.upstream, run)
    except Ended as ended:
        if ended.reason is not None:
            _log.error("[%s] %s", run.request_id(), instance.redact(ended.reason))
        return ended.answer
    except (ScriptError, BodyFileError, PdkError) as error:
        _log.error("[%s] %s", run.request_id(), instance.redact(str(error)))
        return INTERNAL_ERROR
    return None


def _parts(run: Run) -> list[Part]:
    """What to read of the client's request: what the plan says, and what depends on protocol and log.

    The log's request id comes along with something else; alone it can wait.
    """
    parts: list[Part] = list(run.instance.plan.reads)
    if "consumer" in parts and run.kong.protocol == "MsgPack":
        parts.append("groups")
    if parts and _log.isEnabledFor(logging.INFO):
        parts.append("request_id")
    return parts


def perform(run: Run, callout: CompiledCallout) -> None:
    """Make one callout; raises Ended where its failure ends the request, ScriptError, ConnectionLost."""
    call = Call(run, callout)
    run.calls.append(call)
    started = time.monotonic()
    try:
        run.instance.stacks[callout.name](call)
    except CalloutError as error:
        keep_outcome(call, after_error(call, error))
        run.context.finish(call.name, call.record)
        raise Ended(_error_answer(call), f"callout {call.name}: {error.message}") from None
    except ScriptExit:
        call.failure = "ended by a script"
        raise
    except gevent.GreenletExit:
        call.failure = "ended with the request"
        raise
    except Ended as ended:
        call.failure = str(ended)
        raise Ended(ended.answer, ended.reason and f"callout {call.name}: {ended.reason}") from None
    except ScriptError as failed:
        call.failure = str(failed)
        raise Ended(INTERNAL_ERROR, f"callout {call.name}: {failed}") from None
    finally:
        call.latency_ms = (time.monotonic() - started) * 1000
        log_call(call, run)
    run.context.finish(call.name, call.record)


def _error_answer(call: Call) -> Answer:
    policy = call.callout.config.request.error
    body = raw(call.callout.error_message.render(call.run.context))
    return text_answer(policy.error_response_code, body)
