"""A terminal in a fresh copy of the checkout, in which the blocks of a page run one after another, by ``sh -e``.

What a reader has beside it is there too: the stand-ins of the examples' services, a gateway, a Redis, a collector. The
pages name their usual addresses; here all of them listen elsewhere, and the texts are changed on the way in and out.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import click

from request_callout.cli import main
from request_callout.cli.demo.command import environment
from request_callout.cli.demo.services import FIXED_PORTS, StandIns
from tests.docs.pages import ROOT, Block
from tests.docs.server import Server, end_session, free_port
from tests.servers.redis_server import running
from tests.telemetry.collector import Collector

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

_PORTS = {"proxy": 8000, "admin": 8001, "metrics": 9542, "traces": 8090}
"""What the pages let something of ours listen on."""

# What a line starts that runs until it is ended, and the line that says it is ready. The line is the command alone: one
# with more behind it, such as "2> log & server=$!", is left to the shell.
_BESIDE = {
    "gateway": (re.compile(r"^(?:\S*/)?request-callout\s+gateway\b[^&>]*&?$"), re.compile("^admin http")),
    "serve": (re.compile(r"^(?:\S*/)?request-callout\s+serve\b[^&>]*&?$"), re.compile("listening on")),
    "traces": (re.compile(r"^(?:\S*/)?request-callout\s+trace\b[^&>]* --serve [^&>]*&?$"), re.compile("^Traces at")),
    "services": (re.compile(r"^(?:\S*/)?request-callout\s+demo\s+--services-only\b"), None),
}
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
        self._collector: Collector | None = None
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
        ports = {name: free_port() for name in _PORTS}
        for name, usual in _PORTS.items():
            for host in ("127.0.0.1", "localhost"):
                self._addresses[f"{host}:{usual}"] = f"127.0.0.1:{ports[name]}"
        self._gateway_options = f"--proxy 127.0.0.1:{ports['proxy']} --admin 127.0.0.1:{ports['admin']}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REQUEST_CALLOUT_")},
            **environment(stand_ins.addresses),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "100",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "GATEWAY": f"http://127.0.0.1:{ports['proxy']}",
            "GATEWAY_ADMIN": f"http://127.0.0.1:{ports['admin']}",
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
        if "collector" in marks and self._collector is None:
            self._collector = Collector()
            self._stack.callback(self._collector.close)
            self._addresses["localhost:4318"] = self._collector.url.removeprefix("http://")
        if "file" in marks or "copy of" in marks:
            path = self._checkout / self._inside(marks.get("file") or marks["copy of"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._inside(block.text), encoding="utf-8")
        if "output" in marks:
            self._compare(block)
        if block.language == "sh" and not {"not run", "checked by"} & marks.keys():
            if "gateway" in marks:
                home = f"cd {shlex.quote(str(self._checkout))}\n"  # wherever the reader is by now
                self._start_gateway(f"request-callout gateway {self._inside(marks['gateway'])}", block, home)
            self._run_commands(block)
            if "spans" in marks:
                assert self._collector is not None, f"{block.place}: no block above has the mark collector"
                wanted = set(marks["spans"].split(", "))
                self._collector.wait_for(lambda spans: wanted <= {span.name for span in spans})

    def _run_commands(self, block: Block) -> None:
        """What runs until it is ended is started beside; all else is one script, until the first that fails."""
        self._output = ""
        status, script = 0, ""
        for line in [*_commands(self._inside(block.text)), ""]:
            command = re.sub(r"\s+#.*", "", line).strip()
            kinds = (kind for kind, (pattern, _) in _BESIDE.items() if pattern.match(command))
            kind = None if "--help" in line else next(kinds, None)
            if (kind or not line) and script:
                assert status == 0, f"{block.place}: ended with {status}\n{self._output}"
                status = self._run_script(script, block)
                script = ""
            if kind == "gateway":
                self._start_gateway(command, block)
            elif kind in ("serve", "traces"):
                self._start(kind, command, block, self._stack)
            elif kind is None:
                script += line + "\n"
        expected = int(block.marks.get("status", 0))
        assert status == expected, f"{block.place}: ended with {status}, not {expected}\n{self._output}"

    @property
    def _restore(self) -> str:
        """Directory and exported variables are those that the script before has left, as in one terminal."""
        state = shlex.quote(str(self._directory / "state"))
        return f"if [ -e {state} ]; then . {state}; fi\n"

    def _run_script(self, script: str, block: Block) -> int:
        """What it leaves running goes on until the end of the page."""
        state = shlex.quote(str(self._directory / "state"))
        keep = f"trap 'code=$?; {{ echo \"cd $(pwd)\"; export -p; }} > {state}; exit $code' EXIT\n"
        printed = self._directory / "printed"
        with printed.open("wb") as output:
            shell = subprocess.Popen(
                ["sh", "-e", "-c", self._restore + keep + script],
                cwd=self._checkout,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._stack.callback(end_session, shell)
        try:
            shell.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{block.place}: does not end within {_LIMIT_S:.0f} s\n{script}") from None
        finally:
            self._output += printed.read_text(encoding="utf-8", errors="replace")
        return shell.returncode

    def _start_gateway(self, command: str, block: Block, before: str = "") -> None:
        """Where the page has this gateway already, it goes on, with what it keeps; another one takes its place."""
        if command == self._gateway:
            return
        self._beside.close()
        self._start("gateway", f"{command.rstrip(' &')} {self._gateway_options}", block, self._beside, before)
        self._gateway = command

    def _start(self, kind: str, command: str, block: Block, stack: ExitStack, before: str = "") -> None:
        """Back when it is ready; it runs until the stack's end, as a rule that of the page."""
        script = f"{self._restore}{before}exec {command.rstrip(' &')}"
        server = stack.enter_context(Server(["sh", "-e", "-c", script], self._checkout, self._environment))
        ready = _BESIDE[kind][1]
        assert ready is not None
        said = server.said(ready)
        self._output += server.output()
        assert said, f"{block.place}: the server ended\n{self._output}"

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


def _plain(text: str) -> list[str]:
    """The lines without the white space at both ends, and without empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]
