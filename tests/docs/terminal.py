"""A terminal in a fresh copy of the checkout, in which the blocks of a page run one after another.

What a reader has beside it is there too: the stand-ins of the examples' services, a gateway, a Redis. The pages name
their usual addresses; here they listen on ports that the system gives, and the texts are changed on the way in and out.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import click

from request_callout.cli import main
from request_callout.cli.demo.command import environment
from request_callout.cli.demo.process import GatewayProcess
from request_callout.cli.demo.services import FIXED_PORTS, StandIns
from tests.docs.pages import ROOT, Block
from tests.servers.redis_server import running

BIN = Path(sys.executable).parent
PARTS = (
    "examples",
    "deploy",
    "schema",
    "docs",
    "kong.conf",
    "docker-compose.yml",
    "Makefile",
    "README.md",
    "setup.cfg",
    "pyproject.toml",
)
"""What the copy of the checkout holds."""
PLACES = ("/etc/kong", "/run/request-callout", "/var/lib/request-callout")
"""Directories outside of it that pages name: here they are within it."""
PASSWORD = "password"

_GATEWAY = re.compile(r"^(?:\S*/)?request-callout\s+gateway\b")
_SERVE = re.compile(r"^(?:\S*/)?request-callout\s+serve\b")
_SERVICES = re.compile(r"^(?:\S*/)?request-callout\s+demo\s+--services-only\b")
_LIMIT_S = 60.0


class Terminal:
    """Runs blocks, from ``with`` on; at the end it ends what it started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._checkout = directory / "checkout"
        self._stack = ExitStack()
        self._beside = ExitStack()
        self._addresses: dict[str, str] = {}
        self._gateway = ""
        self._output = ""

    def __enter__(self) -> Terminal:
        self._checkout.mkdir()
        stand_ins = self._stack.enter_context(StandIns())
        self._stack.push(self._beside)
        for service, port in FIXED_PORTS.items():
            self._addresses[f"127.0.0.1:{port}"] = stand_ins.addresses[service].removeprefix("http://")
        for place in PLACES:
            inside = self._directory / place.strip("/")
            inside.mkdir(parents=True)
            self._addresses[f"{place}/"] = f"{inside}/"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REQUEST_CALLOUT_")},
            **environment(stand_ins.addresses),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "100",
            "HOME": str(self._directory),
        }
        for part in PARTS:
            self._copy(ROOT / part)
        venv = self._checkout / ".venv"
        venv.mkdir()
        (venv / "bin").symlink_to(BIN)
        (venv / ".installed").touch()  # so that make has nothing to install
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run_all(self, blocks: Sequence[Block]) -> None:
        """Do what a reader does with a page."""
        for block in blocks:
            self.run(block)

    def run(self, block: Block) -> None:
        """Do what a reader does with a block; an assertion error tells where the page is wrong."""
        marks = block.marks
        if "redis" in marks:
            self._start_redis()
        if "file" in marks or "copy of" in marks:
            path = self._checkout / self._inside(marks.get("file") or marks["copy of"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._inside(block.text), encoding="utf-8")
        if "output" in marks:
            self._compare(block)
        if block.language == "sh" and not {"not run", "checked by"} & marks.keys():
            if "gateway" in marks:
                self._start_gateway(shlex.split(self._inside(marks["gateway"])), block)
            self._run_commands(block)

    def _run_commands(self, block: Block) -> None:
        """What runs until it is ended is started beside; all else is one script, until the first that fails."""
        self._output = ""
        status, script = 0, ""
        for line in [*_commands(self._inside(block.text)), ""]:
            server = next((kind for kind in (_GATEWAY, _SERVE, _SERVICES) if kind.match(line)), None)
            if (server or not line) and script:
                assert status == 0, f"{block.place}: ended with {status}\n{self._output}"
                status = self._run_script(script, block)
                script = ""
            if server is _GATEWAY and not _asks_for_help(line):
                self._start_gateway(_arguments(line), block)
            elif server is _SERVE and not _asks_for_help(line):
                self._start_server(_arguments(line), block)
            elif server is None or _asks_for_help(line):
                script += line + "\n"
        expected = int(block.marks.get("status", 0))
        assert status == expected, f"{block.place}: ended with {status}, not {expected}\n{self._output}"

    def _run_script(self, script: str, block: Block) -> int:
        """Directory and exported variables are those that the script before it has left, as in one terminal."""
        state = shlex.quote(str(self._directory / "state"))
        keep = f"trap 'code=$?; {{ echo \"cd $(pwd)\"; export -p; }} > {state}; exit $code' EXIT\n"
        restore = f"if [ -e {state} ]; then . {state}; fi\n"
        with subprocess.Popen(
            ["sh", "-e", "-c", restore + keep + script],
            cwd=self._checkout,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as shell:
            try:
                output, _ = shell.communicate(timeout=_LIMIT_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{block.place}: does not end within {_LIMIT_S:.0f} s\n{script}") from None
            finally:
                _end(shell.pid)
        self._output += output.decode("utf-8", "replace")
        return shell.returncode

    def _start_gateway(self, arguments: list[str], block: Block) -> None:
        """The gateway on ports of its own; where the page has one already, it goes on, with what it keeps."""
        command = shlex.join(arguments)
        if command == self._gateway:
            return
        self._beside.close()
        file, *options = arguments
        process = self._beside.enter_context(GatewayProcess(self._checkout / file, options, self._environment))
        self._gateway = command
        self._environment |= {"GATEWAY": process.proxy, "GATEWAY_ADMIN": process.admin}
        for host in ("127.0.0.1", "localhost"):
            self._addresses |= {f"http://{host}:8000": process.proxy, f"http://{host}:8001": process.admin}

    def _start_server(self, options: list[str], block: Block) -> None:
        """``serve``, until the end of the page; back when it listens."""
        process = subprocess.Popen(
            [str(BIN / "request-callout"), "serve", *options],
            cwd=self._checkout,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._stack.enter_context(process)
        self._stack.callback(process.terminate)
        assert process.stderr is not None
        for line in process.stderr:
            self._output += line
            if "listening on" in line:
                return
        raise AssertionError(f"{block.place}: the server ended\n{self._output}")

    def _start_redis(self) -> None:
        if "redis.internal:6379" in self._addresses:
            return
        server = self._stack.enter_context(running())
        for user in ("user", "kong"):
            server.command("ACL", "SETUSER", user, "on", f">{PASSWORD}", "~*", "+@all")
        self._addresses["redis.internal:6379"] = f"127.0.0.1:{server.port}"
        self._addresses["port: 6379"] = f"port: {server.port}"
        self._copy(ROOT / "examples")

    def _compare(self, block: Block) -> None:
        printed = iter(_plain(self._outside(self._output)))
        for line in _plain(block.text):
            wanted = re.compile(".*".join(re.escape(part.strip()) for part in line.split("…")))
            assert any(wanted.search(one) for one in printed), (
                f"{block.place}: not printed, or not in this order: {line}\n--- printed:\n{self._outside(self._output)}"
            )

    def _copy(self, source: Path) -> None:
        """Into the copy of the checkout, with the addresses that things have here."""
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            target = self._checkout / path.relative_to(ROOT)
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in {".yml", ".yaml", ".env", ".json", ".har"} or path.name == ".env":
                target.write_text(self._inside(path.read_text(encoding="utf-8")), encoding="utf-8")
            else:
                shutil.copy(path, target)

    def _inside(self, text: str) -> str:
        return _replaced(text, self._addresses)

    def _outside(self, text: str) -> str:
        return _replaced(text, {here: usual for usual, here in self._addresses.items()})


def known_options(line: str) -> tuple[set[str], set[str]]:
    """The options that a command line of ours has, and those that its command knows."""
    arguments = shlex.split(line, comments=True)
    name = arguments.pop(0)
    command = main.get_command(click.Context(main), name)
    assert command is not None, f"request-callout has no command {name}"
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        inner = command.get_command(click.Context(command), name)
        assert inner is not None, f"there is no command {name}"
        command = inner
    known = {option for parameter in command.get_params(click.Context(command)) for option in parameter.opts}
    return {one.partition("=")[0] for one in arguments if one.startswith("--")}, known


def _replaced(text: str, words: dict[str, str]) -> str:
    """Each of the words by its other; in one go, since some others hold words."""
    some = sorted(words, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, some)), lambda found: words[found[0]], text)


def _commands(text: str) -> list[str]:
    """The lines of a script, each with those that it goes on in after a backslash; without empty ones."""
    lines = text.replace("\\\n", "\\\0").splitlines()
    return [line.replace("\\\0", "\\\n") for line in lines if line.strip()]


def _arguments(line: str) -> list[str]:
    """What stands behind ``request-callout COMMAND``, without ``&``; addresses to listen on are ours to choose."""
    return [one for one in shlex.split(line, comments=True)[2:] if one != "&"]


def _asks_for_help(line: str) -> bool:
    return "--help" in line


def _plain(text: str) -> list[str]:
    """The lines without the white space at both ends, and without empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _end(pid: int) -> None:
    """Whatever is left of a session that was started here, by the id of its leader."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
