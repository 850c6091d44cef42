"""Kong's events on MsgPack:1: kong-pdk's plugin server, with the parts replaced that lose requests or leak.

kong-pdk's way stays: a call of the PDK is the answer to Kong's last command, and its result comes with Kong's next
command (``Step``), over any connection. An event is a greenlet of its own; greenlets of connections wait for its calls.

The rule here: what is answered to an event is never an error. Kong would write it to its log and let the request
through to the upstream without the plugin. All that goes wrong, and a step that belongs to no event (a server that was
restarted meanwhile), is answered with the call ``kong.response.exit``. The one error is that of an instance this
process does not have: Kong then starts it anew.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import gevent
import msgpack
from gevent.queue import Empty, SimpleQueue
from kong_pdk.exception import PluginServerException  # type: ignore[import-untyped]
from kong_pdk.logger import Logger  # type: ignore[import-untyped]
from kong_pdk.server import MSG_RET, PluginServer, terminal_methods  # type: ignore[import-untyped]

from request_callout.engine.kong import ConnectionLost
from request_callout.pdk.over_msgpack import MAX_BODY_BYTES, MsgPackKong
from request_callout.server.instances import INTERNAL_ERROR, Instance, Instances

_log = logging.getLogger(__name__)

STEP_TIMEOUT_S = 75.0
"""How long an event waits for the result of a call. A Kong that is there answers within its own limit of 60 s."""

_Result: TypeAlias = tuple[Any, str | None]
_DATA: bytes = msgpack.packb("Data")
_RET: bytes = msgpack.packb(MSG_RET)
_REFUSAL: bytes = msgpack.packb({"Method": "kong.response.exit", "Args": INTERNAL_ERROR})


class Answer(NamedTuple):
    """What Kong gets for a command of an event, packed already, and the event, if it still waits for a step."""

    packed: bytes
    event: Event | None


class Event:
    """One event: its greenlet makes calls, greenlets of connections take them away and bring the results."""

    __slots__ = ("_answers", "_head", "_lost", "_owed", "_results", "_timeout_s", "ended")

    def __init__(self, event_id: int, timeout_s: float) -> None:
        self._head = _head(event_id)
        self._timeout_s = timeout_s
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._results: SimpleQueue[_Result | None] = SimpleQueue()
        self._owed: str | None = None
        self._lost = False
        self.ended = False

    def call(self, method: str, args: tuple[Any, ...]) -> _Result:
        """Make one call and wait for its result; an exit has none and ends the event.

        Raises ConnectionLost if there is no result in time or Kong is gone, and what msgpack raises for a value that
        it can't pack: the call is not made then.
        """
        packed = self._head + msgpack.packb({"Method": method, "Args": args})
        if self._owed is not None:
            self._result()  # of a call whose greenlet was killed meanwhile
        if self._lost or self.ended:
            raise ConnectionLost("the request has ended already")
        if method in terminal_methods:
            self._end(packed)
            return None, None
        self._owed = method
        self._answers.put(Answer(packed, self))
        return self._result()

    def proceed(self) -> None:
        """End the event: Kong is to go on with the request."""
        self._end(self._head + _RET)

    def refuse(self) -> None:
        """End the event if it has not ended yet: the client is to get 500."""
        self._end(self._head + _REFUSAL)

    def step(self, result: Any, error: str | None) -> Answer | None:
        """Hand in the result of the last call and wait for what comes next; None if no result is waited for."""
        if self._owed is None or self._lost or self.ended:
            return None
        self._results.put((result, error))
        return self.next()

    def next(self) -> Answer:
        """What Kong is to be told next."""
        return self._answers.get()

    def abandon(self) -> None:
        """Kong did not take the last answer: no step will come."""
        self._results.put(None)

    def _end(self, packed: bytes) -> None:
        if not self.ended:
            self.ended = True
            self._answers.put(Answer(packed, None))

    def _result(self) -> _Result:
        method = self._owed
        try:
            result = self._results.get(timeout=self._timeout_s)
        except Empty:
            self._lost = True
            hint = ""
            if method == "kong.request.get_raw_body":
                hint = f": it ends a request whose body is over {MAX_BODY_BYTES} bytes with 500"
            raise ConnectionLost(f"Kong gave no result of {method} within {self._timeout_s:g} s{hint}") from None
        self._owed = None
        if result is None:
            self._lost = True
            raise ConnectionLost(f"Kong did not take the call {method}")
        return result


class EventServer(PluginServer):  # type: ignore[misc]
    """kong-pdk's plugin server with this package's instances.

    ``on_idle`` is called when the last event in flight has ended.
    """

    def __init__(
        self,
        instances: Instances,
        info: Mapping[str, Any],
        step_timeout_s: float = STEP_TIMEOUT_S,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(loglevel=Logger.WARNING, use_gevent=True, name=info["Name"], lua_style=False)
        self.events: dict[int, Event] = {}
        self._name = info["Name"]
        self._phases = frozenset(info["Phases"])
        self._instances = instances
        self._step_timeout_s = step_timeout_s
        self._on_idle = on_idle
        # Kong may still bring a step of an event that another process has begun: its id must not be one of ours.
        # Kong's numbers are doubles, exact up to 53 bits.
        self._event_ids = itertools.count(secrets.randbits(50))

    def start_instance(self, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Start an instance; any configuration gets a valid id (see ``Instances``), and none comes back with it."""
        config = cfg["Config"]
        started = self._instances.start(config.encode("utf-8", "surrogateescape") if isinstance(config, str) else b"")
        return {"Name": self._name, "Id": started.instance_id, "StartTime": started.started_at}

    def instance_status(self, iid: int) -> dict[str, Any]:
        """What is known of an instance. Raises PluginServerException in words that Kong knows."""
        known = self._instances.get(iid)
        if known is None:
            raise PluginServerException(f"no plugin instance #{iid}")
        return {"Name": self._name, "Id": iid, "StartTime": known.started_at}

    def close_instance(self, iid: int) -> dict[str, Any]:
        """One worker of Kong is done with this instance."""
        self._instances.close(iid)
        return {"Name": self._name, "Id": iid}

    def handle_event(self, event: Mapping[str, Any]) -> Answer:
        """Begin an event; gives its first call, or its end. Raises PluginServerException if there is no instance."""
        instance_id = event["InstanceId"]
        instance = self._instances.use(instance_id)
        if instance is None:
            raise PluginServerException(f"no plugin instance #{instance_id}")
        event_id = next(self._event_ids)
        if event["EventName"] not in self._phases:
            return Answer(_head(event_id) + _RET, None)
        begun = self.events[event_id] = Event(event_id, self._step_timeout_s)
        gevent.spawn(self._run, event_id, begun, instance)
        return begun.next()

    def _step(self, data: Mapping[str, Any], is_error: bool) -> Answer:
        event_id, result = data["EventId"], data.get("Data")
        event = self.events.get(event_id)
        answer = None
        if event is not None:
            answer = event.step(None, str(result)) if is_error else event.step(result, None)
        if answer is None:
            _log.error("a step for an event that does not wait for it: the request ends with 500")
            return refusal(event_id if isinstance(event_id, int) else 0)
        return answer

    def _run(self, event_id: int, event: Event, instance: Instance) -> None:
        """The greenlet of an event. However it ends, Kong gets an answer, and nothing of the event is left."""
        kong = MsgPackKong(event.call)
        try:
            try:
                instance.access(kong)
            except ConnectionLost:
                raise
            except Exception:
                _log.exception("unexpected error")
                kong.exit(*INTERNAL_ERROR)
            if kong.finish():
                event.proceed()
        except ConnectionLost as error:
            _log.warning("the request ended inside Kong: %s", error)
        except Exception:
            _log.exception("unexpected error at the end of an event")
        finally:
            event.refuse()
            del self.events[event_id]
            if not self.events:
                self._on_idle()


def refusal(event_id: int = 0) -> Answer:
    """The answer to a command that can't be carried out: the client gets 500."""
    return Answer(_head(event_id) + _REFUSAL, None)


def _head(event_id: int) -> bytes:
    """The beginning of an answer to an event's command, up to the value of ``Data``."""
    head: bytes = b"\x82" + msgpack.packb("EventId") + msgpack.packb(event_id) + _DATA
    return head
