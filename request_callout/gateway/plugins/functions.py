"""The plugins pre-function and post-function: Lua of the configuration, in the ``access`` phase."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from request_callout.gateway import pdk
from request_callout.gateway.exchange import Exchange
from request_callout.gateway.pdk import PdkFailure, Surroundings
from request_callout.lua import Headers, Lua
from request_callout.lua.host import PdkError, ScriptError, Shortcut
from request_callout.values import Value

# What a function returns is run too, if it is a function: Kong does so for code with upvalues. All of it stands on
# the first and the last line, so that messages keep their line numbers.
_BEFORE = "local run = (function(...) "
_AFTER = '\nend)(...) if type(run) == "function" then run() end'


class Functions:
    """The functions of one configuration, compiled."""

    def __init__(self, lua: Lua, name: str, sources: Sequence[str]) -> None:
        self._lua = lua
        self._scripts = [
            lua.script(f"{_BEFORE}{source}{_AFTER}", f"{name}: config.access[{position}]")
            for position, source in enumerate(sources, 1)
        ]

    def access(self, exchange: Exchange, around: Surroundings) -> None:
        """Run them in order; raises PdkFailure for an error that no one caught."""
        context = self._lua.context(_LocalHost(exchange, around))
        try:
            # Lua keeps this one key to itself, all others it asks for and sends back.
            context.set(("callouts",), _as_table(exchange.shared.get("callouts")))
            with contextlib.suppress(pdk.Exited):
                for script in self._scripts:
                    script.run(context)
            callouts = context.get(("callouts",))
            if callouts is not None:
                exchange.shared["callouts"] = callouts
        except ScriptError as error:
            raise PdkFailure(str(error)) from None
        finally:
            context.close()


def _as_table(value: Value) -> Value:
    """A value as Lua gets it: a list with holes becomes a table with numbers for keys."""
    if isinstance(value, dict):
        return {name: _as_table(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        if None in value:
            return {at: _as_table(one) for at, one in enumerate(value, 1) if one is not None}
        return [_as_table(one) for one in value]
    return value


class _LocalHost:
    """PDK calls on the exchange itself: these plugins run inside Kong."""

    def __init__(self, exchange: Exchange, around: Surroundings) -> None:
        self._exchange = exchange
        self._around = around

    def call(self, method: str, args: Sequence[Value]) -> Value:
        if method == "kong.request.get_uri_captures":
            captures = pdk.captures_of(self._exchange)
            return {
                "unnamed": [value for number, value in captures["unnamed"].items() if number],
                "named": captures["named"],
            }
        try:
            result = pdk.call(self._exchange, self._around, method, args)
        except KeyError:
            raise PdkError(f"attempt to call {method}, which the embedded gateway does not have") from None
        except PdkFailure as failure:
            raise PdkError(str(failure)) from None
        if isinstance(result, pdk.RawBody):
            return None if result.content is None else result.content.decode("utf-8", "surrogateescape")
        if method == "kong.request.get_headers":
            return Headers(result)
        if method == "kong.ctx.shared.get":
            return _as_table(result)
        return None if isinstance(result, pdk.Failure) else result

    def shortcut(self, name: Shortcut) -> Value:
        raise PdkError(f"{name} is not available in functions")
