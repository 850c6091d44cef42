"""``upstream.target``: where the proxied request goes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble

CALLS = ("kong.service.set_target", "kong.service.request.set_scheme", "kong.service.request.set_path")


def target(access: Access, target: dict[str, str], kong: KongDouble | None = None, **upstream: Any) -> KongDouble:
    return access({"callouts": [], "upstream": {"target": target, **upstream}}, kong)


def written(kong: KongDouble) -> list[tuple[Any, ...]]:
    assert kong.answer is None
    return [(name.rpartition(".")[2], *args) for name, args in kong.log if name in CALLS]


@pytest.mark.parametrize(
    ("configured", "calls"),
    [
        ({"host": "a.test", "port": "8443"}, [("set_target", "a.test", 8443)]),
        ({"host": "a.test"}, [("set_target", "a.test", 80)]),
        ({"port": "8443"}, [("set_target", "upstream.test", 8443)]),
        ({"scheme": "$('HTTPS')"}, [("set_scheme", "https")]),
        ({"path": "/v2/ü x/$(headers.x_id)"}, [("set_path", "/v2/ü x/7")]),
        (
            {"scheme": "http", "host": "h$(headers.x_id)", "port": "$(8000 + headers.x_id)", "path": "/"},
            [("set_target", "h7", 8007), ("set_scheme", "http"), ("set_path", "/")],
        ),
        ({"host": "10.0.0.1", "port": "1"}, [("set_target", "10.0.0.1", 1)]),
        ({"host": "::1", "port": "65535"}, [("set_target", "[::1]", 65535)]),
        ({"host": "[2001:db8::1]", "port": "80"}, [("set_target", "[2001:db8::1]", 80)]),
        ({"host": "my_upstream-1", "port": "80"}, [("set_target", "my_upstream-1", 80)]),
    ],
)
def test_calls(access: Access, configured: dict[str, str], calls: list[tuple[Any, ...]]) -> None:
    """Host and port are set together, the service's own for the one that is not given; the rest stays untouched."""
    kong = KongDouble(kong__request__get_headers={"x-id": "7"})
    assert written(target(access, configured, kong)) == calls


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("port", port) for port in ("$('')", "0", "65536", "-1", "80.0", "http", "8 0", "٨٠", "80\n", "123456")),
        *(("scheme", scheme) for scheme in ("$('')", "ftp", "https:", "http ", "ws")),
        *(("path", path) for path in ("$('')", "v1", " /", "/a?b", "/a#b", "/a\nb", "/a\x00b", "http://a/b")),
        *(("host", host) for host in ("$('')", "a b", " a", "a\n", "a/b", "a:80", "u@a", "a?b", "[::1", "ü.test")),
        *(
            ("host", host)
            for host in (
                "-a",
                ".a",
                "a" * 255,
                "a%00",
                "a\\b",
                "http://a",
                ":",
                "fe80::1%eth0",
                "[a]",
                "1::2::3",
                "$(nil)",
            )
        ),
    ],
)
def test_what_can_be_no_target(access: Access, caplog: pytest.LogCaptureFixture, field: str, value: str) -> None:
    """A result that Kong can't proxy to is a 500, nothing is set, and the log has the field and the reason."""
    kong = target(access, {"host": "a.test", "port": "80", field: f"{value}$(headers.none)"})
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert not any(name in CALLS for name, _ in kong.log)
    assert f"config.upstream.target.{field}: the result" in caplog.text


def test_a_route_without_a_service(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """Where there is no service to take the other half from, a host alone is a 500 with the reason in the log."""
    kong = target(access, {"host": "a.test"}, KongDouble(kong__router__get_service=None))
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "no service" in caplog.text


@pytest.mark.parametrize(
    ("configured", "reads"),
    [
        ({"host": "a.test"}, ["kong.router.get_service"]),
        ({"port": "$(headers.x_port)"}, ["kong.request.get_headers", "kong.router.get_service"]),
        ({"host": "a.test", "port": "80"}, []),
        ({"scheme": "https", "path": "/"}, []),
        ({"path": "/$(uri_captures[1])"}, ["kong.request.get_uri_captures"]),
    ],
)
def test_reads(access: Access, configured: dict[str, str], reads: list[str]) -> None:
    """The service is read where half of the target is its own, in one exchange with what the expressions read."""
    replies = {"kong__request__get_headers": {"x-port": "81"}}
    kong = target(access, configured, KongDouble(**replies))
    assert [name for name, _ in kong.log if name.startswith(("kong.request.get", "kong.router."))] == reads
    assert kong.exchanges == bool(reads)


def test_the_host_header_comes_after(access: Access) -> None:
    """A Host in headers.custom is set after the target, which sets that header too; so the configured one stays."""
    kong = target(access, {"host": "a.test", "port": "80"}, headers={"custom": {"Host": "b.test"}})
    names = [name for name, _ in kong.log]
    assert names.index("kong.service.set_target") < names.index("kong.service.request.set_header")
    assert kong.written("kong.service.request.set_header") == [("Host", "b.test")]


@pytest.mark.parametrize(
    ("configured", "hosts"), [({"host": "a.test"}, []), ({"path": "/"}, [("Host", "upstream.test")])]
)
def test_the_host_header_without_forwarding(access: Access, configured: dict[str, str], hosts: list[Any]) -> None:
    """With headers.forward: false on a route with preserve_host the Host is the target's, else the service's."""
    kong = KongDouble(kong__router__get_route={"id": "r", "preserve_host": True})
    kong = target(access, configured, kong, headers={"forward": False})
    assert kong.written("kong.service.request.set_header") == hosts


def test_a_script_may_set_another(access: Access) -> None:
    """The script runs after the target, and has the last word."""
    script = "kong.service.set_target('c.test', 82)"
    kong = target(access, {"host": "a.test", "port": "80"}, by_lua=script)
    assert kong.written("kong.service.set_target") == [("a.test", 80), ("c.test", 82)]


@pytest.mark.parametrize(
    "arguments", ["nil, 80", "'a'", "'a', '80'", "'a', 80.5", "'a', 1 / 0", "'a', 65536", "'a', -1"]
)
def test_what_kong_refuses_of_a_script(access: Access, arguments: str) -> None:
    """Arguments that would end the request inside Kong are an error that the script can catch."""
    kong = access({"callouts": [], "upstream": {"by_lua": f"assert(not pcall(kong.service.set_target, {arguments}))"}})
    assert kong.answer is None
    assert kong.written("kong.service.set_target") == []
