"""One LuaJIT state: how it is set up, how a run goes on in it, and the limits on its memory.

A state serves many requests at once. A run that makes a PDK call is a suspended coroutine, so nothing waits inside
Lua, and greenlets may switch at every call. Numbers and byte strings are all that passes between Python and Lua.

The memory limit is on only while Lua runs, for the same reason why nothing else is passed: what Python pushes into a
state that is over its limit ends the process. ``prelude/bridge.lua`` has Lua's half.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from lupa import luajit21

from request_callout.lua import library
from request_callout.lua.conversion import Headers, decode, encode
from request_callout.lua.host import Host, PdkError, Shortcut
from request_callout.values import raw, text

if TYPE_CHECKING:
    from request_callout.config.settings import LuaSettings

DONE, CALLING, FAILED, STOPPED = 0, 1, 2, 3

_SLACK = 64 * 1024
"""What the runtime itself may need to go on with a run whose budget is used up, so that the run ends in order."""

_SHORTCUTS: dict[bytes, Shortcut] = {
    b"headers": "headers",
    b"query_params": "query_params",
    b"uri_captures": "uri_captures",
}


class RunFailed(Exception):
    """A run that ended with an error; the text is Lua's message."""


@lru_cache(maxsize=1)
def _prelude() -> dict[str, bytes]:
    folder = resources.files("request_callout.lua") / "prelude"
    names = ("limits", "values", "pdk", "sandbox", "bridge")
    return {name: (folder / f"{name}.lua").read_bytes() for name in names}


@lru_cache(maxsize=1024)
def _method_name(method: bytes) -> str:
    return text(method)


def _refuse(_object: object, _name: object, _is_setting: bool) -> str:
    raise AttributeError("no access from Lua")


class State:
    """A LuaJIT state with the sandbox in it; ``worn`` once it ran out of memory, and is to serve no new requests."""

    def __init__(self, settings: LuaSettings) -> None:
        self._settings = settings
        self._instructions = settings.max_instructions
        self._seconds = settings.max_time_ms / 1000
        self._budget = settings.max_memory_bytes
        self.worn = False
        self.programs: dict[int, int] = {}
        runtime = luajit21.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_refuse,
            max_memory=0,
        )
        self._memory_used: Callable[[], int] = runtime.get_memory_used
        self._limit_memory: Callable[[int], None] = runtime.set_max_memory
        get = self._set_up(runtime)
        self._runtime = runtime
        self._check = get(b"check")
        self._compile = get(b"compile")
        self._release = get(b"release")
        self._start = get(b"start")
        self._deliver = get(b"deliver")
        self._abandon = get(b"abandon")
        self._close = get(b"close")
        self._derive = get(b"derive")
        self._store = get(b"store")
        self._fetch = get(b"fetch")

    def _set_up(self, runtime: Any) -> Callable[[bytes], Any]:
        prelude = _prelude()

        def execute(name: str, *args: Any) -> Any:
            return runtime.execute(prelude[name], *args, name=f"={name}.lua")

        settings = self._settings
        # Compiled traces would not see the hook that counts instructions.
        runtime.execute(b"jit.off() python = nil package.loaded.python = nil")
        limits = execute("limits")
        # The library's own protected calls must not swallow a limit either.
        runtime.execute(b"local limits = ... pcall, xpcall = limits.pcall, limits.xpcall", limits)
        functions = library.install(runtime, limits)
        values = execute("values", functions)
        pdk = execute("pdk", functions, values, limits)
        requires = " ".join(settings.sandbox_requires).encode()
        environment = " ".join(settings.sandbox_environment).encode()
        sandbox = execute("sandbox", functions, limits, pdk, settings.untrusted_lua.encode(), requires, environment)
        get: Callable[[bytes], Any] = execute("bridge", values, limits, pdk, sandbox)
        # lupa would run debug.traceback on every error, outside any limit.
        runtime.execute(b"debug = nil")
        return get

    def check(self, source: bytes, *, is_expression: bool) -> str | None:
        """The message of a syntax error, or None."""
        message = self._check(source, is_expression)
        return None if message is None else text(message)

    def compile(self, parts: Sequence[tuple[str, bytes]]) -> int:
        """A program of these parts; see ``compile`` in ``bridge.lua``. Raises RunFailed for a syntax error."""
        result = self._compile(*(item for kind, source in parts for item in (kind.encode(), source)))
        if isinstance(result, tuple):
            raise RunFailed(text(result[1]))
        return int(result)

    def release(self, program: int) -> None:
        """Forget a program."""
        self._release(program)

    def close(self, context: int) -> None:
        """Forget a request's context."""
        self._close(context)

    def derive(self, context: int, child: int) -> None:
        """Make a context that has all of another's, and tables of its own at ``callouts.NAME``."""
        self._derive(context, child)

    def store(self, context: int, value: bytes, path: tuple[bytes, ...]) -> None:
        """Put an encoded value into ``kong.ctx.shared`` of a context; missing tables on the way are made."""
        self._store(context, value, *path)

    def fetch(self, context: int, path: tuple[bytes, ...]) -> Any:
        """Read a value from ``kong.ctx.shared`` of a context. Raises RunFailed if it cannot be expressed."""
        limit = self._memory_used() + self._budget
        result = self._step(limit, self._fetch, context, self._instructions, self._seconds, *path)
        if result[0] != DONE:
            raise self._failure(result)
        return decode(result[1])

    def run(
        self,
        kind: bytes,
        context: int,
        program: int,
        host: Host,
        names: bytes | None = None,
        *,
        forgiving: bool = False,
    ) -> bytes | None:
        """Run a program to its end, with the PDK calls that it makes.

        ``names`` is a table of further globals for its expressions; ``forgiving`` gives nil members, which are nil.
        Raises RunFailed, and whatever else ``host`` raises but PdkError.
        """
        started = time.monotonic()
        before = self._memory_used()
        spent = 0
        limit = before + self._budget
        settings = (self._instructions, self._seconds)
        if names is None and not forgiving:
            result = self._step(limit, self._start, kind, context, program, *settings)
        else:
            limit += 0 if names is None else len(names) + _SLACK
            result = self._step(limit, self._start, kind, context, program, *settings, names, forgiving)
        while result[0] == CALLING:
            spent += self._memory_used() - before
            _, method, arguments, run = result
            try:
                succeeded, answer = self._call(host, method, arguments)
            except BaseException:
                self._abandon(run)
                raise
            left = self._seconds - (time.monotonic() - started)
            if left <= 0:
                self._abandon(run)
                raise self._failure((STOPPED, b"time"))
            if spent > self._budget // 2:
                spent -= self._collected()
            before = self._memory_used()
            limit = before + self._budget - min(max(spent, 0), self._budget) + len(answer) + _SLACK
            result = self._step(limit, self._deliver, run, left, succeeded, answer)
        if result[0] != DONE:
            raise self._failure(result)
        value: bytes | None = result[1]
        return value

    def _step(self, limit: int, function: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
        """Call into Lua with a limit on the memory of the whole state, which is off again afterwards."""
        self._limit_memory(limit)
        try:
            result: tuple[Any, ...] = function(*args)
        except luajit21.LuaMemoryError:
            result = (STOPPED, b"memory")
        except luajit21.LuaError as error:
            self.worn = True
            result = (FAILED, str(error).encode("latin-1", "replace"))
        finally:
            self._limit_memory(0)
        return result

    def _collected(self) -> int:
        """Collect garbage; gives the bytes that were freed, of whichever run."""
        before = self._memory_used()
        self._runtime.gccollect()
        return before - self._memory_used()

    @staticmethod
    def _call(host: Host, method: bytes, arguments: bytes) -> tuple[bool, bytes]:
        try:
            shortcut = _SHORTCUTS.get(method)
            if shortcut is None:
                value = host.call(_method_name(method), decode(arguments))
            else:
                value = host.shortcut(shortcut)
                if shortcut == "headers":
                    value = Headers(value or {})
        except PdkError as error:
            return False, raw(str(error))
        try:
            return True, encode(value)
        except ValueError as error:
            return False, raw(f"the result of {_method_name(method)}: {error}")

    def _failure(self, result: tuple[Any, ...]) -> RunFailed:
        message = text(result[1])
        if result[0] == FAILED:
            return RunFailed(message)
        if message == "memory":
            self.worn = True
            return RunFailed(f"stopped: it took more than {self._budget} bytes of memory")
        if message == "time":
            return RunFailed(f"stopped: it took longer than {self._settings.max_time_ms} ms")
        if message == "work":
            return RunFailed(f"stopped: it computed longer than {self._instructions} instructions should take")
        return RunFailed(f"stopped: it took more than {self._instructions} instructions")
