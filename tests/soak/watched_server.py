"""The plugin server in a process of its own, that tells what it holds when it is asked: ``python -m`` this module."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
_OF_AN_EVENT = frozenset({"ProtobufKong", "MsgPackKong", "Event", "Run", "Call", "LuaContext", "Answer"})


@dataclass(frozen=True)
class Held:
    """What the process has: memory in bytes, blocks of Python's allocator, greenlets that have not ended, and so on."""

    resident_bytes: int
    blocks: int
    descriptors: int
    greenlets: int
    of_events: dict[str, int]


class Watched:
    """A running server, seen from the test."""

    def __init__(self, process: subprocess.Popen[str], path: str) -> None:
        self.process = process
        self.path = path

    def held(self) -> Held:
        """What it holds now, garbage collected."""
        input_, output = self._pipes()
        input_.write("\n")
        input_.flush()
        return Held(**json.loads(output.readline()))

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout


@contextlib.contextmanager
def watched_server(protocol: str, folder: Path, step_timeout_s: float = 75.0) -> Iterator[Watched]:
    """A server on ``folder``/s, whose log is ``folder``/log."""
    path = str(folder / "s")
    command = [sys.executable, "-m", __name__, protocol, path, str(step_timeout_s)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        with process:
            try:
                watched = Watched(process, path)
                watched.held()
                yield watched
                assert process.poll() is None, "the server has ended"
            finally:
                process.kill()


def main(protocol: str, path: str, step_timeout_s: str) -> None:
    """Serve until killed; a line on standard input asks for a line with what is held."""
    from gevent import monkey

    monkey.patch_all()

    import gevent
    from gevent.fileobject import FileObject
    from gevent.server import StreamServer

    from request_callout.config.kong_schema import plugin_info
    from request_callout.config.settings import Settings
    from request_callout.engine import Engine
    from request_callout.server.instances import Instances
    from request_callout.server.msgpack import MsgpackServer
    from request_callout.server.protobuf import ProtobufServer
    from request_callout.server.sockets import ListeningSocket

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    engine, info = Engine(Settings()), plugin_info()
    server: MsgpackServer | ProtobufServer
    if protocol == "msgpack":
        server = MsgpackServer(engine, info, float(step_timeout_s))
    else:
        server = ProtobufServer(Instances(engine, info["Version"]), info)
    StreamServer(ListeningSocket(path).socket, server.handle).start()
    for _ in FileObject(sys.stdin.fileno()):
        gc.collect()
        objects: list[object] = gc.get_objects()
        kinds = Counter(type(one).__name__ for one in objects)
        held = {
            "resident_bytes": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
            "blocks": sys.getallocatedblocks(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "greenlets": sum(isinstance(one, gevent.Greenlet) and not one.dead for one in objects),
            "of_events": {name: kinds[name] for name in sorted(_OF_AN_EVENT) if kinds[name]},
        }
        del objects
        sys.stdout.write(json.dumps(held) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
