"""Where a callout's URL may lead: by its configuration, and by who chose its host."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.engine import Engine
from request_callout.engine.destinations import fixed_authority
from request_callout.transport import DestinationRules, OutgoingRequest, TransportError
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble
from tests.unit.engine.sending_double import SendingDouble

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://svc", "http://svc"),
        ("http://svc/a", "http://svc"),
        ("https://svc:8443/$(headers.x)", "https://svc:8443"),
        ("http://svc?a=$(headers.x)", "http://svc"),
        ("http://svc#$(headers.x)", "http://svc"),
        ("http://u:p@svc/$(headers.x)", "http://u:p@svc"),
        ("http://svc$(headers.x)", None),
        ("http://svc$(headers.x)/", None),
        ("http://svc:$(headers.x)/", None),
        ("http://$(headers.x)@svc/", None),
        ("http://$(headers.x)/", None),
        ("http:/$(headers.x)/svc", None),
        ("$(headers.x)", None),
        ("$(headers.x)://svc/", None),
    ],
)
def test_fixed_authority(url: str, authority: str | None) -> None:
    """Scheme and authority are fixed if they are complete before the first expression."""
    assert fixed_authority(url) == authority


def client(**headers: str) -> KongDouble:
    return KongDouble(kong__request__get_headers={"host": "gateway.test", **headers})


def rules_sent(engine: Engine, access: Access, url: str, by_lua: str | None = None, **request: Any) -> Any:
    """The rules with which the one callout of a configuration is sent."""
    sender = SendingDouble(engine)
    request = {"url": url, **({"by_lua": by_lua} if by_lua else {}), **request}
    access({"callouts": [{"name": "a", "request": request}]}, client(x="y"))
    assert len(sender.sent) == 1
    return sender.sent[0].destination


def script(url: str) -> str:
    return f"kong.ctx.shared.callouts.a.request.params.url = {url!r}"


@pytest.mark.parametrize("url", ["http://svc", "http://svc/$(headers.x)", "http://svc?$(headers.x)"])
def test_fixed_hosts_may_be_any(engine: Engine, access: Access, url: str) -> None:
    """A host that stands in the configuration may be any, as without these rules."""
    assert rules_sent(engine, access, url) is None
    assert rules_sent(engine, access, url, query={"custom": {"q": "1"}}) is None


@pytest.mark.parametrize("url", ["http://$(headers.x)/", "http://svc.$(headers.x)/", "http://svc:80$(query_params.p)/"])
def test_hosts_from_expressions_are_not_special(engine: Engine, access: Access, url: str) -> None:
    """Where an expression stands in the host or port, special addresses are refused, whatever it gave."""
    assert rules_sent(engine, access, url) == DestinationRules(deny_special=True)


@pytest.mark.parametrize(
    ("url", "special"),
    [
        ("http://svc/b", False),
        ("http://svc", False),
        ("http://svc?a=1", False),
        ("http://svc.evil/", True),
        ("http://svc@evil/", True),
        ("http://svc:81/", True),
        ("https://svc/", True),
        ("http://other/", True),
    ],
)
def test_hosts_from_scripts_are_not_special(engine: Engine, access: Access, url: str, special: bool) -> None:
    """A script that puts another host into the URL makes it one that somebody else chose; another path does not."""
    expected = DestinationRules(deny_special=True) if special else None
    assert rules_sent(engine, access, "http://svc/a", script(url)) == expected


def test_configured_rules(engine: Engine, access: Access) -> None:
    """The configured rules hold in either case."""
    rules = {"allow_hosts": ["*.test"], "deny_networks": ["10.0.0.0/8"]}
    configured = DestinationRules(("*.test",), ("10.0.0.0/8",))
    assert rules_sent(engine, access, "http://a.test/", destination=rules) == configured
    chosen = DestinationRules(("*.test",), ("10.0.0.0/8",), deny_special=True)
    assert rules_sent(engine, access, "http://$(headers.x).test/", destination=rules) == chosen


@pytest.mark.parametrize("on_error", ["fail", "continue", "retry"])
def test_refused_destination_ends_the_request(
    engine: Engine, access: Access, caplog: pytest.LogCaptureFixture, on_error: str
) -> None:
    """A refused destination is answered with 500 under any policy, and the log names host and rule, but no query."""

    def refuse(request: OutgoingRequest) -> tuple[int, Any]:
        raise TransportError("destination", "the destination 10.0.0.1 is refused: 10.0.0.1 is in 10.0.0.0/8")

    sender = SendingDouble(engine, refuse)
    request = {"url": "http://10.0.0.1/?token=hidden", "error": {"on_error": on_error}}
    kong = access({"callouts": [{"name": "a", "request": request}]})
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert len(sender.sent) == 1
    line = next(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert "callout a: config.callouts[1].request.url: the destination 10.0.0.1 is refused" in line
    assert "hidden" not in line


def test_real_transport_refuses(engine: Engine, access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A client that chooses the host does not get at the metadata service."""
    callout = {"name": "a", "request": {"url": "http://$(headers.target)/latest/"}}
    kong = access({"callouts": [callout]}, client(target="169.254.169.254"))
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "169.254.169.254 is a cloud metadata address" in caplog.text


def test_what_the_http_client_is_given(engine: Engine, access: Access) -> None:
    """Certificates, limits and redirects go to the HTTP client as configured; scripts do not see the key."""
    sender = SendingDouble(engine)
    options = {
        "client_certificate": CERTIFICATE,
        "client_key": KEY,
        "ca_certificates": CERTIFICATE,
        "max_response_bytes": 5,
        "max_redirects": 2,
        "proxy": {"http_proxy": "http://p1", "https_proxy": "http://p2"},
    }
    looks = """
      for name, value in pairs(kong.ctx.shared.callouts.a.request.params) do
        assert(not tostring(value):find("PRIVATE"), name)
      end
    """
    request = {"url": "http://svc/", "http_opts": options, "by_lua": looks}
    access({"callouts": [{"name": "a", "request": request}]})
    sent = sender.sent[0]
    assert sent.client_certificate is not None
    assert (sent.client_certificate.certificate, sent.client_certificate.key) == (CERTIFICATE, KEY)
    assert (sent.ca_certificates, sent.max_body_bytes, sent.max_redirects) == (CERTIFICATE, 5, 2)
    assert (sent.proxy and sent.proxy.url, sent.https_proxy and sent.https_proxy.url) == ("http://p1", "http://p2")
