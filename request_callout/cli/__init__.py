"""The command line: ``request-callout COMMAND``.

Each command is a module of this package with a click command of the same name, imported when it is asked for: ``dump``
has to answer quickly, and ``serve`` changes the standard library before anything else is imported.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
from importlib import import_module
from keyword import iskeyword
from typing import Any, NoReturn

import click

from request_callout import __version__, values

_COMMANDS = {
    "cache": "Look into the responses that are kept in Redis, and clear them.",
    "convert": "Convert configurations of Enterprise, KrakenD and Apigee.",
    "demo": "Run the documents' scenarios with local stand-ins for their services.",
    "doctor": "Look at a running Kong and say what is wrong with its set-up.",
    "dump": "Print the plugin's description for Kong (query_cmd).",
    "explain": "Tell what a configuration will do: plan, times, secrets, warnings.",
    "gateway": "Try kong.yml files on a small gateway, without Kong.",
    "health": "Ask a running plugin server whether it answers.",
    "schema": "Print the JSON Schema of configurations and files, for editors.",
    "serve": "Run the plugin server beside Kong.",
    "trace": "Look at single requests: what they called, and how long that took.",
    "try": "Make one request on the small gateway, and show all that comes of it.",
    "validate": "Check the plugin's configurations in files of Kong, decK, Kubernetes and Terraform.",
}

# One module tells for all: they are compiled into one extension, or none is.
_BUILD = "pure Python" if values.__file__.endswith(".py") else "compiled"


_INTERRUPTED = 128 + signal.SIGINT
_HUNG_UP = 128 + signal.SIGHUP


class _Commands(click.Group):
    """The commands by name, with their summaries, without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"{__name__}.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it with the status that shells know for it, which no finding of its own has."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(err=True)
            raise SystemExit(_INTERRUPTED) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="request-callout", message=f"%(prog)s, version %(version)s ({_BUILD})")
def main() -> None:
    """Kong's request-callout plugin for open-source Kong Gateway."""
    # What a terminal or a file in another encoding can't show is a "?", and no end of the command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # A closed terminal ends a command as Ctrl-C does, with what it has started: a plugin server would serve on.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _hung_up)
        click.get_current_context().call_on_close(lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))


def _hung_up(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(_HUNG_UP)
