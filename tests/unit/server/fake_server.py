"""A server process with an engine that asks Kong for the path and sets it as a header: ``python -m ... SOCKET``."""

from __future__ import annotations

import sys

from gevent import monkey

monkey.patch_all()

from request_callout.engine.kong import Kong  # noqa: E402
from request_callout.server import process  # noqa: E402
from request_callout.server.instances import Instances  # noqa: E402
from request_callout.server.protobuf import ProtobufServer  # noqa: E402
from request_callout.server.sockets import ListeningSocket  # noqa: E402
from tests.unit.server.kong_side import INFO, ScriptedEngine  # noqa: E402


def access(kong: Kong) -> None:
    (path,) = kong.read([("kong.request.get_path", ())])
    kong.write("kong.service.request.set_header", "X-Path", path)


if __name__ == "__main__":
    process.set_up_logging("info")
    server = ProtobufServer(Instances(ScriptedEngine(access), "1"), INFO)
    process.run(server, ListeningSocket(sys.argv[1], take_over="take-over" in sys.argv), float(sys.argv[2]))
