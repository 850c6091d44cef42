"""A thread of its own for the engine, where kong-pdk handles each event in another thread.

All of the engine's sockets, locks and Lua states belong to one gevent hub. kong-pdk's threads block while they wait for
Kong, which that hub's thread must not do. So the engine runs here, and hands its calls of the PDK back to the thread
of the event, which makes them and hands in the results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult, Event

from request_callout.pdk.over_msgpack import Execute

_Result = TypeVar("_Result")


class HubThread:
    """A thread with a running gevent hub; it ends with the process."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._loop: Any = None
        threading.Thread(target=self._run, name="request-callout", daemon=True).start()
        self._started.wait()

    def run(self, function: Callable[[Execute], _Result]) -> _Result:
        """Run ``function`` in a greenlet there and give its result or raise its exception.

        What it passes to its argument is executed in the calling thread meanwhile.
        """
        tasks: SimpleQueue[Callable[[], bool]] = SimpleQueue()
        results: list[_Result] = []
        errors: list[BaseException] = []

        def execute(called: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            result: AsyncResult[Any] = AsyncResult()

            def task() -> bool:
                try:
                    value = called(*args)
                except Exception as error:
                    self._loop.run_callback_threadsafe(result.set_exception, error)
                else:
                    self._loop.run_callback_threadsafe(result.set, value)
                return True

            tasks.put(task)
            return result.get()

        def whole() -> None:
            try:
                results.append(function(execute))
            except BaseException as error:
                errors.append(error)
            tasks.put(lambda: False)

        self._loop.run_callback_threadsafe(gevent.spawn, whole)
        while tasks.get()():
            pass
        if errors:
            raise errors[0]
        return results[0]

    def _run(self) -> None:
        self._loop = gevent.get_hub().loop
        awake = self._loop.async_()  # keeps the loop running while nothing else does
        awake.start(lambda: None)
        self._started.set()
        Event().wait()
