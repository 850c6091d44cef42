"""One proxied request from the first read to the last write."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from request_callout.engine.answer import (
    INTERNAL_ERROR,
    Answer,
    Ended,
)
from request_callout.engine.call import Call
from request_callout.engine.client import ClientRequest, Part
from request_callout.engine.context import Context
from request_callout.engine.element import ElementContext
from request_callout.engine.host import ScriptHost
from request_callout.engine.kong import BodyFileError, ConnectionLost, Kong, NoKong
from request_callout.engine.performing import perform
from request_callout.engine.request_log import RequestLog
from request_callout.engine.request_secrets import Told, without_secrets
from request_callout.engine.schedule import run_steps
from request_callout.engine.sharing import share
from request_callout.engine.upstream import finish_upstream
from request_callout.lua.host import PdkError, ScriptError
from request_callout.values import Value

if TYPE_CHECKING:
    from request_callout.engine.compiled import CompiledCallout
    from request_callout.engine.instance import Instance
    from request_callout.engine.observing import ObservedRequest

_log = logging.getLogger(__name__)

_FAILED = frozenset({"failed", "refused", "script_error", "error"})


class Run:
    """The state of one proxied request.

    ``started_at`` and ``deadline`` are moments of ``time.monotonic()``; ``failure`` says, for people, why the client
    gets an error, ``script_failed`` whether that was a script or expression outside of the callouts. ``observed`` is
    told what happens, ``log`` has the lines about it. ``origin`` is the request in which this work in the
    background began, None for a request itself. ``told`` is what scripts were told by the PDK.
    """

    __slots__ = (
        "_log",
        "calls",
        "client",
        "context",
        "deadline",
        "failure",
        "instance",
        "kong",
        "observed",
        "origin",
        "script_failed",
        "started_at",
        "told",
    )

    def __init__(self, instance: Instance, kong: Kong) -> None:
        self.instance = instance
        self.kong = kong
        self.client = ClientRequest(kong)
        self.context = Context(instance.engine.lua, ScriptHost(self), self.client)
        self.calls: list[Call] = []
        self.started_at = time.monotonic()
        self.deadline = self.started_at + instance.deadline_ms / 1000
        self.failure: str | None = None
        self.script_failed = False
        self.observed: Sequence[ObservedRequest] = ()
        self.origin: Run | None = None
        self.told: Told = {}
        self._log: RequestLog | None = None

    @property
    def log(self) -> RequestLog:
        """The lines about this request."""
        if self._log is None:
            self._log = RequestLog(self)
        return self._log

    def consumer_groups(self) -> list[str]:
        """Ids of the consumer's groups, where the protocol can tell them."""
        if self.kong.protocol == "ProtoBuf":
            return []
        return [str(group.get("id")) for group in self.client.part("groups") or () if isinstance(group, dict)]

    def detached(self) -> Run:
        """A run for work that outlasts this one: it knows what this one has read and got, and has no Kong."""
        run = Run(self.instance, NoKong(self.kong.protocol))
        run.client.take_over(self.client)
        run.context = self.context.detached(run.context)
        run.origin = self
        run.told = self.told
        run._log = RequestLog(run, self.log)
        run.observe()
        return run

    def for_element(self, name: str, item: Value, index: int) -> Run:
        """The run as one element's call of the callout ``name`` sees it; close its context before this one's."""
        run = Run(self.instance, self.kong)
        run.client = self.client
        run.context = ElementContext(self.context, name, item, index)
        run.started_at = self.started_at
        run.deadline = self.deadline
        run.observed = self.observed
        run.told = self.told
        run._log = self.log
        return run

    @property
    def is_detached(self) -> bool:
        """Whether this is work in the background, for which no client waits."""
        return self.origin is not None

    def observe(self) -> None:
        """Let those that follow requests follow this one."""
        observers = self.instance.engine.observers
        if observers:
            begun = [observer.begin(self) for observer in observers]
            self.observed = [one for one in begun if one is not None]

    def end(self, answer: Answer | None) -> None:
        """Tell those that follow this one that it is over; they are told once."""
        observed, self.observed = self.observed, ()
        for one in observed:
            one.end(answer)

    def hear(self, method: str, args: Sequence[Value], value: Value) -> None:
        """Keep what a script was told; a body that it asks for again and again is kept once."""
        about = args[0] if args and isinstance(args[0], str) else None
        values = self.told.setdefault((method, about), [])
        if not values or values[-1] != value:
            values.append(value)

    def concealed(self, reason: str) -> str:
        """Why something failed, without the secrets of the request that a script or an expression may have quoted."""
        return without_secrets(reason, self)

    @property
    def deadline_message(self) -> str:
        return f"the deadline of {self.instance.deadline_ms} ms for all callouts has passed"


def handle(instance: Instance, kong: Kong) -> None:
    """Do everything for one request; raises nothing but ConnectionLost."""
    run = Run(instance, kong)
    try:
        answer = _answer(run)
        share(run)
        if run._log is not None:
            run._log.tell_held()
        run.end(answer)
        if answer is not None:
            kong.exit(answer.status, answer.body, answer.headers)
    except ConnectionLost:
        run.failure = run.failure or "the request ended inside Kong"
        run.log.tell_held(kong_lives=False)
        run.kong = NoKong(kong.protocol)  # who asks now is told at once that there is no answer
        run.end(None)
        raise
    except Exception:  # whatever went wrong here is ours: the client gets an answer and the log the place
        run.failure = "unexpected error"
        run.log.say(logging.ERROR, "unexpected error", traceback=True)
        run.end(INTERNAL_ERROR)
        kong.exit(INTERNAL_ERROR.status, INTERNAL_ERROR.body, INTERNAL_ERROR.headers)
    finally:
        run.end(None)  # where nothing above came to its end
        run.context.close()
        run._log = None  # each holds the other


def _answer(run: Run) -> Answer | None:
    """Make the callouts and edit the upstream request; the answer if the client is to get one from here."""
    instance = run.instance
    try:
        try:
            run.client.gather(_parts(run))
            if "headers" in instance.plan.reads:
                run.client.refuse_unseen_headers()
        finally:
            run.observe()
        run_steps(instance.plan, lambda callout: _perform(run, callout))
        return finish_upstream(instance.upstream, run)
    except Ended as ended:
        if ended.reason is not None:
            _fail(run, ended.reason)
        return ended.answer
    except (ScriptError, BodyFileError, PdkError) as error:
        run.script_failed = isinstance(error, ScriptError)
        _fail(run, str(error))
        return INTERNAL_ERROR


def _fail(run: Run, reason: str) -> None:
    run.failure = run.instance.redact(run.concealed(reason))
    fields = None
    for call in run.calls:
        if call.result in _FAILED:
            fields = {"callout": call.name, "result": call.result}
            break
    run.log.say(logging.ERROR, run.failure, fields)


def _parts(run: Run) -> list[Part]:
    """What to read of the client's request: what the plan says, and what depends on protocol and log.

    What the log wants to know comes along with something else; alone it can wait.
    """
    parts: list[Part] = list(run.instance.plan.reads)
    if "consumer" in parts and run.kong.protocol == "MsgPack":
        parts.append("groups")
    for observer in run.instance.engine.observers:
        parts += [part for part in observer.reads if part not in parts]
    if parts and "request_id" not in parts and _log.isEnabledFor(logging.INFO):
        parts.append("request_id")
        if "route" not in parts and run.log.wants_route():
            parts.append("route")
    return parts


def _perform(run: Run, callout: CompiledCallout) -> None:
    call = Call(run, callout)
    run.calls.append(call)
    perform(call, run.instance.stacks[callout.name])
