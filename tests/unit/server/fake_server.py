"""A server with an engine that asks Kong for the path and sets it as a header: ``python -m ... SOCKET [OPTION=VALUE]``.

Paths that mean more: see ``access``. The options are the fields of ``supervisor.Options``, ``take_over``
and ``stand_in``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from request_callout.server import process, stand_in
from request_callout.server.registry import Registry
from request_callout.server.sockets import ListeningSocket
from request_callout.server.supervisor import Options, Supervisor

if TYPE_CHECKING:
    from request_callout.engine.kong import Kong
    from request_callout.server.worker import Work


class Instance:
    """Tells Kong the path, which worker it is, and which configuration."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.name = str(raw.get("name", ""))

    def access(self, kong: Kong) -> None:
        (path,) = kong.read([("kong.request.get_path", ())])
        if path == "/stand-still":
            stand_still()
        if path == "/die":
            os.abort()
        kong.write("kong.service.request.set_header", "X-Path", path)
        if path == "/who":
            kong.write("kong.service.request.set_header", "X-Worker", str(os.getpid()))
            kong.write("kong.service.request.set_header", "X-Configuration", self.name)
        if path == "/left":
            kong.write("kong.service.request.set_header", "X-Left", json.dumps(left()))


def stand_still() -> None:
    """Keep the loop from turning."""
    while True:
        pass


def left() -> dict[str, int]:
    """What this process holds: greenlets and file descriptors."""
    import gc

    import greenlet

    gc.collect()
    greenlets = sum(isinstance(one, greenlet.greenlet) and not one.dead for one in gc.get_objects())
    return {"greenlets": greenlets, "descriptors": len(os.listdir("/proc/self/fd"))}


class Engine:
    def instance(self, raw: Mapping[str, Any]) -> Instance:
        return Instance(raw)


def build(registry: Registry) -> Work:
    from request_callout.server.instances import Instances
    from request_callout.server.protobuf import ProtobufServer
    from request_callout.server.worker import Work
    from tests.unit.server.kong_side import INFO

    if "refuse" in sys.argv:
        raise ValueError("these settings can't be used")
    instances = Instances(Engine(), "1", registry=registry)
    server = ProtobufServer(instances, INFO)
    return Work(server.handle, server.stop, instances.sweep, lambda: None, server.share)


if __name__ == "__main__":
    given = dict(option.split("=") for option in sys.argv[2:] if "=" in option)
    awaits_successor = stand_in.leave_behind() if "stand_in" in sys.argv else None
    process.set_up_logging("info")
    process.allow_many_connections()
    options = Options(
        version="1",
        workers=int(given.get("workers", "1")),
        watchdog_s=float(given.get("watchdog_s", "5")),
        grace_s=float(given.get("grace_s", "20")),
        ready_file=given.get("ready_file"),
        exit_with_parent="exit_with_parent" in sys.argv,
        awaits_successor=awaits_successor,
    )
    Supervisor(build, ListeningSocket(sys.argv[1], take_over="take_over" in sys.argv, publish=False), options).run()
