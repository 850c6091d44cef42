"""Checks of the node itself: its version, how it runs external plugins, and settings that matter to them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from request_callout import __version__
from request_callout.cli.doctor.findings import Finding
from request_callout.config.kong_schema import PLUGIN_NAME
from request_callout.config.settings import LuaSettings

_SMALL_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PluginServer:
    """How Kong reaches the plugin server; None is what is not said."""

    name: str
    socket: str | None
    query_command: str | None
    start_command: str | None
    protocol: str | None


def version_of(root: Mapping[str, Any]) -> tuple[int, ...]:
    """The version as numbers, empty if it is not told."""
    return tuple(int(number) for number in re.findall(r"\d+", str(root.get("version", "")))[:3])


def version(root: Mapping[str, Any]) -> Finding:
    """Whether this version of Kong is one that the plugin is made for."""
    told, numbers = str(root.get("version", "?")), version_of(root)
    if "enterprise" in f"{root.get('edition', '')} {told}".lower():
        if numbers >= (3, 10):
            remedy = "use Enterprise's own plugin, or run this one beside open-source Kong"
            return Finding("version", "problem", f"Kong Enterprise {told} has a request-callout of its own", remedy)
        return Finding("version", "warning", f"Kong Enterprise {told}: not tested", "try it out before production")
    if numbers[:2] == (3, 9):
        return Finding("version", "ok", f"Kong {told}")
    if numbers[:1] == (3,):
        return Finding("version", "warning", f"Kong {told}: tested is 3.9 only", "run the conformance suite against it")
    return Finding("version", "problem", f"Kong {told} is not 3.x", "use Kong 3.9")


def plugin_servers(configuration: Mapping[str, Any]) -> list[PluginServer]:
    """The plugin servers of ``configuration``, as Kong has understood them or as they are written."""
    known = configuration.get("pluginservers")
    by_name = {one.get("name"): one for one in known if isinstance(one, dict)} if isinstance(known, list) else {}
    names = configuration.get("pluginserver_names")
    result = []
    for name in names if isinstance(names, list) else []:
        one, prefix = by_name.get(name, {}), f"pluginserver_{name}_"
        result.append(
            PluginServer(
                str(name),
                one.get("socket") or configuration.get(prefix + "socket"),
                one.get("query_command") or configuration.get(prefix + "query_cmd"),
                one.get("start_command") or configuration.get(prefix + "start_cmd"),
                one.get("protocol"),
            )
        )
    return result


def own_server(servers: list[PluginServer]) -> PluginServer | None:
    """The one that is ours, as far as its name and commands tell."""
    named = [
        one
        for one in servers
        if "request" in f"{one.name} {one.query_command} {one.start_command}".lower().replace("_", "-")
    ]
    candidates = named or servers
    return candidates[0] if named or len(candidates) == 1 else None


def enabled(root: Mapping[str, Any] | None, names: list[str] | None) -> Iterator[Finding]:
    """Whether Kong has the plugin, in our version."""
    available = _mapping(_mapping(root or {}, "plugins"), "available_on_server")
    if PLUGIN_NAME not in available and PLUGIN_NAME not in (names or ()):
        remedy = "add it to plugins in kong.conf (plugins = bundled,request-callout), and restart Kong"
        yield Finding("plugin", "problem", f"Kong has not loaded {PLUGIN_NAME}", remedy)
        return
    yield Finding("plugin", "ok", f"Kong has loaded {PLUGIN_NAME}")
    found = available.get(PLUGIN_NAME)
    told = found.get("version") if isinstance(found, dict) else None
    if told is None:
        yield Finding("plugin version", "skipped", "this Kong does not tell it")
    elif told == __version__:
        yield Finding("plugin version", "ok", told)
    else:
        remedy = "write the dump again with this version (request-callout dump), and restart Kong"
        yield Finding("plugin version", "warning", f"Kong has {told}, this is {__version__}", remedy)


def serving(root: Mapping[str, Any]) -> Iterator[Finding]:
    """How Kong is told to reach the plugin server, and by which protocol."""
    configuration = _mapping(root, "configuration")
    servers = plugin_servers(configuration)
    server = own_server(servers)
    if not configuration.get("pluginserver_names"):
        if "pluginserver_names" not in configuration and "pluginservers" not in configuration:
            yield Finding("plugin server", "skipped", "this Kong does not show its plugin servers")
        else:
            remedy = "set pluginserver_names, and pluginserver_NAME_socket and _query_cmd of each"
            yield Finding("plugin server", "problem", "no plugin server is configured", remedy)
        return
    if server is None:
        names = ", ".join(one.name for one in servers)
        yield Finding("plugin server", "warning", f"which of {names} is request-callout's can't be told")
        return
    missing = [
        f"pluginserver_{server.name}_{what}"
        for what, value in (("socket", server.socket), ("query_cmd", server.query_command))
        if not value
    ]
    if missing:
        yield Finding("plugin server", "problem", f"{' and '.join(missing)} not set", "set it in kong.conf")
    else:
        how = "started by Kong" if server.start_command else "running beside Kong"
        yield Finding("plugin server", "ok", f"{server.name}, {how}, on {server.socket}")
    if server.protocol is None:
        yield Finding("protocol", "skipped", "this Kong does not tell it")
    elif server.protocol.lower().startswith("msgpack"):
        remedy = "use ProtoBuf (dump and serve without --protocol), or add the guard of examples/msgpack-guard"
        message = "MsgPack: when the plugin server is down, requests pass without their callouts"
        yield Finding("protocol", "warning", message, remedy)
    else:
        yield Finding("protocol", "ok", server.protocol)


def settings(root: Mapping[str, Any]) -> Iterator[Finding]:
    """Settings of Kong that the plugin server has to know, or that limit what it gets."""
    configuration = _mapping(root, "configuration")
    if "untrusted_lua" in configuration:
        yield _untrusted_lua(configuration)
    size = str(
        configuration.get("nginx_http_client_body_buffer_size", configuration.get("client_body_buffer_size", ""))
    )
    size_bytes = _bytes(size)
    if size_bytes is None:
        yield Finding("body buffer", "skipped", "this Kong does not tell it")
    elif size_bytes < _SMALL_BUFFER_BYTES:
        message = f"nginx_http_client_body_buffer_size is {size}: larger bodies go to files that only Kong's host has"
        remedy = "set nginx_http_client_body_buffer_size = 16m, or as large as the bodies that callouts forward"
        yield Finding("body buffer", "warning", message, remedy)
    else:
        yield Finding("body buffer", "ok", size)


def _untrusted_lua(configuration: Mapping[str, Any]) -> Finding:
    """Kong's own setting, and the options of ``serve`` that are equal to it."""
    ours = LuaSettings()
    wanted: list[str] = []
    mode = str(configuration["untrusted_lua"])
    if mode != ours.untrusted_lua:
        wanted.append(f"--untrusted-lua {mode}")
    for name in ("requires", "environment"):
        values = configuration.get(f"untrusted_lua_sandbox_{name}")
        if isinstance(values, list) and values:
            wanted.append(f"--untrusted-lua-sandbox-{name} {','.join(map(str, values))}")
    if not wanted:
        return Finding("untrusted_lua", "ok", f"{mode}, as serve has it by default")
    server = own_server(plugin_servers(configuration))
    if server is None or not server.start_command:
        remedy = f"start serve with {' '.join(wanted)}, if scripts are to have the same"
        return Finding("untrusted_lua", "ok", f"{mode}; serve's own options can't be seen from here: {remedy}")
    try:
        given = " ".join(shlex.split(server.start_command)).replace("=", " ")
    except ValueError:
        given = server.start_command
    missing = [option for option in wanted if option not in given]
    if not missing:
        return Finding("untrusted_lua", "ok", f"{mode}, in start_cmd too")
    remedy = f"add {' '.join(missing)} to start_cmd, if scripts are to have the same"
    return Finding("untrusted_lua", "warning", "start_cmd has other limits for scripts than Kong", remedy)


def known_bugs(root: Mapping[str, Any] | None, root_status: int) -> Iterator[Finding]:
    """Faults of this version that matter to external plugins; each was seen, or is in Kong's own tracker."""
    numbers = version_of(root or {})
    configuration = _mapping(root or {}, "configuration")
    server = own_server(plugin_servers(configuration))
    starts = root_status == 500 or (server is not None and bool(server.start_command))
    if starts and (root_status == 500 or (3, 9) <= numbers <= (3, 9, 1)):
        message = (
            "GET / of the Admin API answers 500 whenever the worker that started the plugin server answers: Kong 3.9.0 "
            "and 3.9.1 can't serialise its handle (Kong/kong#14260). Kong's ingress controller does not start then"
        )
        remedy = "run the plugin server beside Kong (no start_cmd), or use a Kong that has Kong/kong#14111"
        yield Finding("known fault", "warning", message, remedy)
    if numbers[:2] == (3, 5):
        message = "after the plugin server has restarted, Kong 3.5 may reset instances without end (Kong/kong#12364)"
        yield Finding("known fault", "warning", message, "use Kong 3.9")
    if numbers[:2] == (3, 3):
        message = "Kong 3.3 may wait for an instance that never starts (Kong/kong#11173)"
        yield Finding("known fault", "warning", message, "use Kong 3.9")


def _mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _bytes(size: str) -> int | None:
    match = re.fullmatch(r"(\d+)([kKmMgG]?)", size.strip())
    if match is None:
        return None
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[match[2].lower()]
