"""Checks of the plugin server itself, where its socket can be seen from here."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

from request_callout.cli.doctor.findings import Finding
from request_callout.cli.doctor.node import PluginServer
from request_callout.cli.health import NotAllowed, Unhealthy, ask

_ANSWER_WITHIN_S = 2.0


def reachable(server: PluginServer) -> Iterator[Finding]:
    """Whether it answers on its socket, and who may use that."""
    path = server.socket
    if not path:
        return
    try:
        found = os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.isdir(os.path.dirname(path)):
            yield Finding("socket", "skipped", f"{path} is not on this host")
            return
        if isinstance(error, PermissionError):
            yield Finding("socket", "skipped", f"{path} can't be seen by this user: ask as the user that Kong runs as")
            return
        remedy = f"start request-callout serve --socket {path}"
        yield Finding("socket", "problem", f"{path}: {error.strerror}", remedy)
        return
    if not stat.S_ISSOCK(found.st_mode):
        yield Finding("socket", "problem", f"{path} is no socket", "choose another path, or remove what is there")
        return
    mode = stat.S_IMODE(found.st_mode)
    shown = f"mode {mode:03o}, owner {found.st_uid}, group {found.st_gid}"
    if mode & 0o002:
        remedy = "start serve with --socket-mode 660 and --socket-group"
        yield Finding("socket", "warning", f"{path} can be used by everyone on this host ({shown})", remedy)
    else:
        yield Finding("socket", "ok", f"{path}: {shown}")
    protocol = "msgpack" if (server.protocol or "").lower().startswith("msgpack") else "protobuf"
    started = time.monotonic()
    try:
        ask(path, protocol, _ANSWER_WITHIN_S)
    except NotAllowed as error:
        yield Finding("plugin server answers", "skipped", str(error))
    except Unhealthy as error:
        remedy = f"look at its log, and ask it with: request-callout health --socket {path} --protocol {protocol}"
        yield Finding("plugin server answers", "problem", str(error), remedy)
    else:
        took_ms = (time.monotonic() - started) * 1000
        yield Finding("plugin server answers", "ok", f"in {took_ms:.1f} ms, by {protocol}")
