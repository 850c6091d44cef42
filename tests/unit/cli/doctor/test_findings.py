"""``request-callout doctor``: each check by itself, with what makes its finding another one."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pytest_httpserver import HTTPServer

from request_callout import __version__
from request_callout.cli import main
from request_callout.cli.doctor import entities, node, server
from request_callout.cli.doctor.admin import AdminApi
from request_callout.cli.doctor.findings import Finding
from request_callout.cli.doctor.schema import _normal, schema
from request_callout.config.kong_schema import config_fields
from request_callout.lua import Lua

ROUTES: dict[str, dict[str, Any]] = {"r1": {"id": "r1", "name": "people", "service": {"id": "s1"}}, "r2": {"id": "r2"}}
SERVICES = {"s1": {"id": "s1", "name": "shop"}}


def told(finding: Finding) -> str:
    """A finding in one line."""
    return f"{finding.check}: {finding.level}: {finding.message}" + (f" -> {finding.remedy}" if finding.remedy else "")


@pytest.mark.parametrize(
    ("root", "level", "words"),
    [
        ({"version": "3.9.0"}, "ok", "Kong 3.9.0"),
        ({"version": "3.8.1"}, "warning", "tested is 3.9 only"),
        ({"version": "3.10.0"}, "warning", "tested is 3.9 only"),
        ({"version": "2.8.1"}, "problem", "is not 3.x"),
        ({}, "problem", "Kong ? is not 3.x"),
        (
            {"version": "3.9.0.1-enterprise-edition"},
            "warning",
            "Kong Enterprise 3.9.0.1-enterprise-edition: not tested",
        ),
        ({"version": "3.9.0.0", "edition": "enterprise"}, "warning", "not tested"),
        ({"version": "3.10.0.0", "edition": "enterprise"}, "problem", "has a request-callout of its own"),
    ],
)
def test_versions(root: dict[str, Any], level: str, words: str) -> None:
    """3.9 is well, another 3 is not tested, and Enterprise from 3.10 on has the plugin itself."""
    found = node.version(root)
    assert (found.level, words in found.message) == (level, True), found


def test_servers_as_kong_has_read_them_or_as_they_are_written() -> None:
    """What ``pluginservers`` lacks, or a Kong that does not show it, is taken from the settings."""
    written = {
        "pluginserver_names": ["a", "b"],
        "pluginserver_a_socket": "/a",
        "pluginserver_a_query_cmd": "cat a",
        "pluginserver_b_start_cmd": "b start",
        "pluginservers": [{"name": "a", "socket": "/read", "start_command": "a start", "protocol": "ProtoBuf:1"}, 5],
    }
    assert node.plugin_servers(written) == [
        node.PluginServer("a", "/read", "cat a", "a start", "ProtoBuf:1"),
        node.PluginServer("b", None, None, "b start", None),
    ]
    assert node.plugin_servers({"pluginserver_names": {}}) == []


def one(name: str, **given: Any) -> node.PluginServer:
    """A server of which only this is known."""
    fields = dict.fromkeys(("socket", "query_command", "start_command", "protocol"))
    return node.PluginServer(name, **{**fields, **given})


@pytest.mark.parametrize(
    ("servers", "own"),
    [
        ([one("go"), one("request_callout")], "request_callout"),
        ([one("go"), one("py", query_command="cat /etc/request-callout.json")], "py"),
        ([one("go"), one("py", start_command="/opt/request_callout serve")], "py"),
        ([one("go")], "go"),
        ([one("go"), one("py")], None),
        ([], None),
    ],
)
def test_our_server_is_found(servers: list[node.PluginServer], own: str | None) -> None:
    """By its name or a command of it; the only one is ours anyway."""
    found = node.own_server(servers)
    assert (None if found is None else found.name) == own


def loaded(**told: Any) -> dict[str, Any]:
    return {"plugins": {"available_on_server": {"request-callout": told}}}


@pytest.mark.parametrize(
    ("root", "names", "findings"),
    [
        (loaded(version=__version__), None, [("plugin", "ok"), ("plugin version", "ok")]),
        (loaded(version="0.0.1"), None, [("plugin", "ok"), ("plugin version", "warning")]),
        (loaded(), None, [("plugin", "ok"), ("plugin version", "skipped")]),
        (None, ["request-callout"], [("plugin", "ok"), ("plugin version", "skipped")]),
        (None, ["key-auth"], [("plugin", "problem")]),
        (None, None, [("plugin", "problem")]),
    ],
)
def test_enabled(root: dict[str, Any] | None, names: list[str] | None, findings: list[tuple[str, str]]) -> None:
    """That Kong has the plugin is told by ``GET /`` or by the list of plugins, its version by the first alone."""
    assert [(found.check, found.level) for found in node.enabled(root, names)] == findings


def serving(**configuration: Any) -> list[str]:
    return [told(found) for found in node.serving({"configuration": configuration})]


def test_a_server_beside_kong_or_started_by_it() -> None:
    """How it runs, where it listens and what it speaks is told."""
    known: dict[str, Any] = {"name": "rc", "socket": "/s", "query_command": "q", "protocol": "ProtoBuf:1"}
    assert serving(pluginserver_names=["rc"], pluginservers=[known]) == [
        "plugin server: ok: rc, running beside Kong, on /s",
        "protocol: ok: ProtoBuf:1",
    ]
    started = {**known, "start_command": "x"}
    assert serving(pluginserver_names=["rc"], pluginservers=[started])[0] == (
        "plugin server: ok: rc, started by Kong, on /s"
    )


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({}, "skipped: this Kong does not show its plugin servers"),
        ({"pluginservers": []}, "problem: no plugin server is configured -> set pluginserver_names"),
        ({"pluginserver_names": []}, "problem: no plugin server is configured"),
        ({"pluginserver_names": ["a", "b"]}, "warning: which of a, b is request-callout's can't be told"),
        (
            {"pluginserver_names": ["a"]},
            "problem: pluginserver_a_socket and pluginserver_a_query_cmd not set -> set it in kong.conf",
        ),
        ({"pluginserver_names": ["a"], "pluginserver_a_socket": "/s"}, "problem: pluginserver_a_query_cmd not set"),
        ({"pluginserver_names": ["a"], "pluginserver_a_query_cmd": "q"}, "problem: pluginserver_a_socket not set"),
    ],
)
def test_what_is_missing_of_a_server(configuration: dict[str, Any], said: str) -> None:
    """Each setting that is missing is named; what a Kong does not show is skipped."""
    assert serving(**configuration)[0].startswith(f"plugin server: {said}")


@pytest.mark.parametrize(
    ("protocol", "said"),
    [(None, "skipped: this Kong"), ("MsgPack:1", "warning: MsgPack: when"), ("ProtoBuf:1", "ok: ProtoBuf:1")],
)
def test_protocols(protocol: str | None, said: str) -> None:
    """MsgPack lets requests pass when the server is down."""
    known = {"name": "rc", "socket": "/s", "query_command": "q", "protocol": protocol}
    assert serving(pluginserver_names=["rc"], pluginservers=[known])[1].startswith(f"protocol: {said}")


def settings(**configuration: Any) -> dict[str, str]:
    found = node.settings({"configuration": configuration})
    return {one.check: told(one).removeprefix(f"{one.check}: ") for one in found}


@pytest.mark.parametrize(
    ("size", "level"),
    [("1m", "ok"), ("1048576", "ok"), ("1G", "ok"), ("1024K", "ok"), ("1023k", "warning"), ("1048575", "warning")],
)
def test_body_buffers(size: str, level: str) -> None:
    """From 1 MiB on it is large enough, in any of nginx's units and under either name."""
    for name in ("nginx_http_client_body_buffer_size", "client_body_buffer_size"):
        assert settings(**{name: size})["body buffer"].startswith(level)


def test_settings_that_are_not_told() -> None:
    """A buffer that a Kong does not tell is skipped, its limits for scripts are not mentioned."""
    assert settings() == {"body buffer": "skipped: this Kong does not tell it"}
    assert settings(client_body_buffer_size="large")["body buffer"].startswith("skipped")


def _lua(start_command: str | None, **configuration: Any) -> str:
    known = {"name": "request-callout", "start_command": start_command}
    given = {"pluginserver_names": ["request-callout"], "pluginservers": [known], **configuration}
    return settings(**given)["untrusted_lua"]


LIMITS = {"untrusted_lua": "on", "untrusted_lua_sandbox_requires": ["a", "b"]}


@pytest.mark.parametrize(
    ("start_command", "configuration", "said"),
    [
        (None, {"untrusted_lua": "sandbox"}, "ok: sandbox, as serve has it by default"),
        (None, {"untrusted_lua": "sandbox", "untrusted_lua_sandbox_requires": []}, "ok: sandbox, as serve has it"),
        (None, {"untrusted_lua": "off"}, "ok: off; serve's own options can't be seen from here: start serve with "),
        ("serve --untrusted-lua=on --untrusted-lua-sandbox-requires a,b", LIMITS, "ok: on, in start_cmd too"),
        ("serve --untrusted-lua 'on", {"untrusted_lua": "on"}, "warning: start_cmd has other limits"),
        (
            "serve --untrusted-lua on",
            {**LIMITS, "untrusted_lua_sandbox_environment": ["c"]},
            "warning: start_cmd has other limits for scripts than Kong -> add --untrusted-lua-sandbox-requires a,b "
            "--untrusted-lua-sandbox-environment c to start_cmd",
        ),
    ],
)
def test_limits_of_scripts(start_command: str | None, configuration: dict[str, Any], said: str) -> None:
    """Kong's limits beside those of ``serve``: what differs is told as options, where they can be seen."""
    assert _lua(start_command, **configuration).startswith(said)


@pytest.mark.parametrize(
    ("version", "start_command", "status", "faults"),
    [
        ("3.9.0", "x", 200, ["14260"]),
        ("3.9.1", "x", 200, ["14260"]),
        ("3.9.2", "x", 200, []),
        ("3.8.9", "x", 200, []),
        ("3.9.1", None, 200, []),
        ("3.9.1", None, 500, ["14260"]),
        ("3.5.0", None, 200, ["12364"]),
        ("3.3.1", None, 200, ["11173"]),
        ("3.4.0", None, 200, []),
    ],
)
def test_known_faults(version: str, start_command: str | None, status: int, faults: list[str]) -> None:
    """Those of a version are told of that version only, and those of ``start_cmd`` where it is used."""
    known = {"name": "rc", "start_command": start_command}
    root = {"version": version, "configuration": {"pluginserver_names": ["rc"], "pluginservers": [known]}}
    found = [told(one) for one in node.known_bugs(root, status)]
    assert [number for number in ("14260", "12364", "11173") if any(f"#{number}" in one for one in found)] == faults
    assert len(found) == len(faults)


def plugin(name: str = "request-callout", **given: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"callouts": []} if name == "request-callout" else {}
    return {"name": name, "enabled": True, "config": config, "route": None, "service": None, "consumer": None, **given}


def found(*plugins: Mapping[str, Any], order: Mapping[str, int] | None = None) -> list[str]:
    """What is found of these plugins, without what is said of configurations that are valid."""
    known: Mapping[str, int] = entities.priorities(None) if order is None else order
    every = entities.configurations(plugins, ROUTES, SERVICES, known, Lua().check)
    return [told(one) for one in every if one.message != "valid"]


def test_priorities_are_kongs_own() -> None:
    """What a Kong tells goes before what is known of 3.9."""
    told = {"plugins": {"available_on_server": {"jwt": {"priority": 5}, "own": {"priority": 7}, "cors": {}, "x": 3}}}
    order = entities.priorities(told)
    assert (order["jwt"], order["own"], order["cors"], "x" in order) == (5, 7, 2000, False)


def test_configurations_that_do_not_run_are_not_looked_at() -> None:
    """One that is switched off counts for nothing, nor do its neighbours that are."""
    none = "configurations: ok: none yet: the plugin is on no route, service or globally"
    assert found(plugin(enabled=False), plugin("acl")) == [none]
    assert found(plugin(), plugin("request-transformer", enabled=False)) == []


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, "global"),
        ({"route": {"id": "r1"}}, "route people"),
        ({"route": {"id": "r2"}}, "route r2"),
        ({"service": {"id": "s1"}, "consumer": {"id": "c1"}}, "service shop, consumer c1"),
        ({"service": {"id": "s9"}}, "service s9"),
    ],
)
def test_places(given: dict[str, Any], place: str) -> None:
    """A configuration is told by the name of what it is on, or by its id."""
    assert found(plugin(**given, config={}))[0].startswith(f"configuration ({place}): problem: config.callouts")


def test_neighbours_are_told_in_their_order() -> None:
    """Those with a higher priority run before, the others after; one that is not known comes last."""
    names = ("acl", "cors", "unknown", "response-transformer", "proxy-cache")
    line = "order (global): ok: before it: cors, acl; after it: response-transformer, proxy-cache, unknown"
    assert found(plugin(), *map(plugin, names))[0] == line
    order = {**entities.priorities(None), "request-callout": 3000}
    line = "order (global): ok: before it: nothing; after it: cors, acl"
    assert found(plugin(), plugin("cors"), plugin("acl"), order=order) == [line]


@pytest.mark.parametrize(
    ("mine", "theirs", "meet"),
    [
        ({}, {"route": {"id": "r1"}}, True),
        ({"route": {"id": "r1"}}, {"route": {"id": "r2"}}, False),
        ({"route": {"id": "r1"}}, {"service": {"id": "s1"}}, True),
        ({"route": {"id": "r1"}}, {"service": {"id": "s2"}}, False),
        ({"service": {"id": "s2"}}, {"route": {"id": "r1"}}, False),
        ({"consumer": {"id": "c1"}}, {"consumer": {"id": "c2"}}, False),
        ({"consumer": {"id": "c1"}}, {"route": {"id": "r2"}}, True),
    ],
)
def test_neighbours_meet_on_a_request(mine: dict[str, Any], theirs: dict[str, Any], meet: bool) -> None:
    """What is on another route, service or consumer is no neighbour; a route belongs to its service."""
    assert any(one.startswith("order") for one in found(plugin(**mine), plugin("cors", **theirs))) == meet


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("request-termination", "request-termination may answer the client when the callouts have been made already"),
        ("proxy-cache", "proxy-cache may answer"),
        ("aws-lambda", "aws-lambda may answer"),
        ("azure-functions", "azure-functions may answer"),
        ("request-transformer", "request-transformer changes the request after this plugin"),
        ("response-transformer", None),
        ("key-auth", None),
    ],
)
def test_neighbours_after_it(name: str, says: str | None) -> None:
    """What may answer, or changes the request, after the callouts is told, where it runs after them."""
    warnings = [one for one in found(plugin(), plugin(name)) if ": warning: " in one]
    assert [says in one for one in warnings if says] == ([True] if says else [])
    assert len(warnings) == (says is not None)
    earlier = {**entities.priorities(None), name: 5000}
    assert [one for one in found(plugin(), plugin(name), order=earlier) if ": warning: " in one] == []


def test_ordering() -> None:
    """``ordering`` is Enterprise's."""
    assert found(plugin(ordering={"before": {}})) == [
        "order (global): warning: ordering is set, which open-source Kong does not follow -> remove it"
    ]


def caching(strategy: str, *, forward: bool = True) -> dict[str, Any]:
    callout = {"name": "a", "request": {"url": "http://h/", "headers": {"forward": forward}}}
    return plugin(config={"callouts": [callout], "cache": {"strategy": strategy}})


@pytest.mark.parametrize(
    ("ours", "others", "warns"),
    [
        (caching("memory"), (), True),
        (caching("redis"), ("acl",), True),
        (caching("memory"), ("key-auth",), False),
        (caching("memory"), ("openid-connect",), False),
        (caching("off"), (), False),
        (caching("memory", forward=False), (), False),
    ],
)
def test_one_cache_for_all_clients(ours: dict[str, Any], others: Sequence[str], warns: bool) -> None:
    """What is sent on of the client's, and kept, with nobody to say who that is, is told."""
    told = [one for one in found(ours, *map(plugin, others)) if one.startswith("cache (global): warning")]
    assert len(told) == warns


@pytest.mark.parametrize(
    ("guard", "level"),
    [
        (plugin("post-function", config={"access": ["return kong.ctx.shared.request_callout"]}), "ok"),
        (plugin("post-function", config={"access": ["x['request-callout']"]}), "ok"),
        (plugin("post-function", config={"access": ["return"]}), "problem"),
        (plugin("post-function", config={"log": ["request_callout"]}), "problem"),
        (plugin("post-function", config={"access": ["request_callout"]}, enabled=False), "problem"),
        (plugin("pre-function", config={"access": ["request_callout"]}), "problem"),
    ],
)
def test_guards(guard: dict[str, Any], level: str) -> None:
    """Only a ``post-function`` that runs and looks for the plugin is a guard of MsgPack."""
    assert entities.guard([plugin(), guard]).level == level


def kongs(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"fields": [{"protocols": {}}, {"config": {"type": "record", "required": True, "fields": fields}}]}


def test_schemas() -> None:
    """A schema is ours if it takes the same configurations; of many differences the first five are told."""
    ours = config_fields()
    assert schema(200, kongs(ours)).level == "ok"
    assert schema(404, kongs(ours)).message == "Kong has no schema of request-callout"
    assert schema(200, None).message == "Kong has no schema of request-callout"
    assert schema(200, {"fields": [{"protocols": {}}]}).message == "Kong's schema of the plugin has no config"
    more = [{f"x{number}": {"type": "string"}} for number in range(6)]
    assert schema(200, kongs(ours + more[:5])).message.endswith("config.x4 is in Kong's only")
    assert schema(200, kongs(ours + more)).message.endswith("config.x4 is in Kong's only; …")


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"description": "Other words."}, False),
        ({"required": False}, False),
        ({"unique": False}, False),
        ({"one_of": []}, False),
        ({"one_of": {}}, False),
        ({"gt": -1.0}, False),
        ({"required": True}, True),
        ({"default": 5}, True),
        ({"default": False}, True),
        ({"between": [1, 2]}, True),
        ({"type": "string"}, True),
        ({"gt": 0}, True),
    ],
)
def test_what_makes_a_schema_another(change: dict[str, Any], differs: bool) -> None:
    """What changes which configurations are taken, or what is filled in; words and empty lists do not."""
    (field,) = (one["deadline_ms"] for one in config_fields() if "deadline_ms" in one)
    base = {name: value for name, value in field.items() if name not in ("between", "gt")} | {"gt": -1}
    assert (_normal(base) != _normal({**base, **change})) == differs


def reached(path: str | None, protocol: str | None = None) -> list[str]:
    return [told(one) for one in server.reachable(one_at(path, protocol))]


def one_at(path: str | None, protocol: str | None) -> node.PluginServer:
    return one("rc", socket=path, protocol=protocol)


def test_sockets_that_can_not_be_asked(tmp_path: Path) -> None:
    """Elsewhere, missing, no socket, or with nobody behind: each is told as what it is."""
    assert reached(None) == []
    assert reached(str(tmp_path / "no" / "s")) == [f"socket: skipped: {tmp_path}/no/s is not on this host"]
    missing = f"socket: problem: {tmp_path}/s: No such file or directory -> start request-callout serve --socket"
    assert reached(str(tmp_path / "s")) == [f"{missing} {tmp_path}/s"]
    (tmp_path / "file").touch()
    assert reached(str(tmp_path / "file"))[0].startswith(f"socket: problem: {tmp_path}/file is no socket")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "dead"))
    (tmp_path / "dead").chmod(0o660)
    well, silent = reached(str(tmp_path / "dead"), "MsgPack:1")
    assert well.startswith(f"socket: ok: {tmp_path}/dead: mode 660, owner ")
    assert silent.startswith("plugin server answers: problem: ")
    assert silent.endswith(f"request-callout health --socket {tmp_path}/dead --protocol msgpack")
    (tmp_path / "dead").chmod(0o662)
    assert "warning" in reached(str(tmp_path / "dead"))[0]
    assert "can be used by everyone on this host (mode 662" in reached(str(tmp_path / "dead"))[0]
    (tmp_path / "dead").chmod(0o665)  # to connect takes the right to write
    assert reached(str(tmp_path / "dead"))[0].startswith("socket: ok")


def test_lists_come_page_by_page(httpserver: HTTPServer) -> None:
    """All pages of a list are read; an answer that is no list is none."""
    pages = {"": {"data": [{"id": 1}, 5], "next": "/plugins?offset=a"}, "offset=a": {"data": [{"id": 2}], "next": None}}
    for query, page in pages.items():
        httpserver.expect_request("/plugins", query_string=query).respond_with_json(page)
    httpserver.expect_request("/empty").respond_with_json({"data": {}})  # as Kong writes an empty list
    httpserver.expect_request("/other").respond_with_json({"data": 5})
    httpserver.expect_request("/gone").respond_with_json({"data": []}, status=404)
    admin = AdminApi(httpserver.url_for("/"), {})
    assert admin.all("/plugins") == [{"id": 1}, {"id": 2}]
    assert (admin.all("/empty"), admin.all("/other"), admin.all("/gone")) == ([], None, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--client-key", "key"], "--client-key needs --client-certificate"),
        (["--header", "X-Token"], "a header is written as 'Name: value'"),
        (["--header", ": value"], "a header is written as 'Name: value'"),
        (["--header", "X-Token: a\nb"], "a header is written as 'Name: value'"),
    ],
)
def test_wrong_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    """They are told before anything is asked."""
    monkeypatch.chdir(tmp_path)
    Path("key").touch()
    result = CliRunner().invoke(main, ["doctor", *arguments])
    assert (result.exit_code, says in result.output) == (2, True), result.output


def test_what_is_printed_for_people() -> None:
    """A line a finding, with what to do below it, and how many there are of each kind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, ["doctor", "--admin", address])
    assert result.exit_code == 2
    assert result.output.splitlines() == [
        "problem  Admin API: can't be reached: Connection refused",
        "         -> give its address with --admin; for TLS see --ca-file and --insecure",
        "",
        "1 problem, 0 warnings",
    ]
