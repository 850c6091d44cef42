"""What scripts need from outside: the narrow interface between Lua and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from request_callout.values import Value

Shortcut = Literal["headers", "query_params", "uri_captures"]


class PdkError(Exception):
    """A PDK call that failed in a way a script may catch; its text becomes the Lua error message."""


class ScriptError(Exception):
    """A script or expression that failed at run time, was stopped by a limit, or was refused.

    ``where`` is the field's path (``config.callouts[1].request.by_lua``), ``message`` Lua's message, which never
    holds a secret of the configuration's own text beyond what the script itself put there.
    """

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message


class Host(Protocol):
    """The side of one proxied request that scripts talk to."""

    def call(self, method: str, args: Sequence[Value]) -> Value:
        """Make a PDK call such as ``kong.request.get_path``; waits for Kong when the call has a result.

        ``kong.ctx.shared.get``/``set`` come this way too. Raises PdkError where the script may catch it; any other
        exception (a ``kong.response.exit``, a lost connection) abandons the script and passes through to the caller
        of ``Script.run``.
        """

    def shortcut(self, name: Shortcut) -> Value:
        """The client's request as it came: the tables that expressions see as globals of these names."""
