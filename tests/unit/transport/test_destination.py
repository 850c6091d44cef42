"""Where requests may lead, and the ways around it that people know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import gevent
import pytest

from request_callout.transport import DestinationRules, ProxySettings, Transport, TransportError
from request_callout.transport.destination import Rules

from .conftest import Send, Serve, request_for
from .literal_server import OK, LiteralServer, answering, answering_once

NO_LOOPBACK = DestinationRules(deny_networks=("127.0.0.0/8", "::1/128"))
NOT_SPECIAL = DestinationRules(deny_special=True)
Answers = Callable[..., "Resolver"]


class Resolver:
    """A resolver for gevent's hub whose answers follow one another, the last one again and again."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(host)
        return [
            (10, 1, 6, "", (one, port, 0, 0)) if ":" in one else (2, 1, 6, "", (one, port))  # families of Linux
            for one in found
        ]


@pytest.fixture
def names() -> Iterator[Answers]:
    """Puts a resolver in place of the system's."""
    hub = gevent.get_hub()
    before = hub.resolver

    def use(*answers: tuple[str, ...]) -> Resolver:
        resolver = Resolver(*answers)
        hub.resolver = cast(Any, resolver)
        return resolver

    yield use
    hub.resolver = before


@pytest.fixture
def trap(serve: Serve) -> LiteralServer:
    """A server on 127.0.0.1 that must not be reached."""
    return serve(answering(OK))


def refusal(transport: Transport, url: str, **options: Any) -> str:
    with pytest.raises(TransportError) as caught:
        transport.send(request_for(url, **options))
    assert caught.value.kind == "destination", caught.value
    return str(caught.value)


REACHING_LOOPBACK = [
    "http://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://017700000001:{port}/",
    "http://0x7f000001:{port}/",
    "http://0X7F000001:{port}/",
    "http://0x7f.0x0.0x0.0x1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:FFFF:127.0.0.1]:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http://user:pass@127.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://example.com%2f@127.0.0.1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://１２７.０.０.１:{port}/",  # noqa: RUF001
    "http://127。0。0。1:{port}/",
    " \t\nhttp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://127.0.0.1:{port}/@example.com/",
]


@pytest.mark.parametrize("url", REACHING_LOOPBACK)
def test_no_spelling_reaches_a_denied_network(transport: Transport, trap: LiteralServer, url: str) -> None:
    """What leads to an address without rules is refused with a rule against it, and nothing is connected."""
    url = url.format(port=trap.port)
    transport.send(request_for(url))
    assert trap.connections == 1
    message = refusal(transport, url, destination=NO_LOOPBACK)
    assert "127.0.0.0/8 of deny_networks" in message
    assert (trap.connections, len(trap.requests)) == (1, 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.:{port}/",
        "http://2130706433.:{port}/",
        "http://[::1]:{port}/",
        "http://127.255.255.254:{port}/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://[::127.0.0.1]:{port}/",
        "http://[2002:7f00:1::]:{port}/",
    ],
)
def test_no_other_form_of_a_denied_network(transport: Transport, trap: LiteralServer, url: str) -> None:
    """Forms that only some systems lead there are refused too."""
    assert "of deny_networks" in refusal(transport, url.format(port=trap.port), destination=NO_LOOPBACK)
    assert trap.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1\\@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "http://127.0.0.1\t/",
        "http://127.0\t.0.1/",
        "http://127.0.0.1 .example.com/",
        "http://127.0.0.1%00.example.com/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1%2f.example.com/",
        "http://127%2e0%2e0%2e1/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::ffff:127.0.0.1/",
        "http://[127.0.0.1]/",
        "http://127.0.0.1:80:80/",
        "//127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
    ],
)
def test_what_readers_disagree_about_is_no_url(transport: Transport, url: str) -> None:
    """A URL that another reader would take apart differently is refused, whatever the rules."""
    with pytest.raises(TransportError) as caught:
        transport.send(request_for(url, destination=NO_LOOPBACK))
    assert caught.value.kind == "url"


@pytest.mark.parametrize("host", ["256.256.256.256", "1.2.3.4.5", "0x7f.0.0.0.1", "127.0.0.08", "4294967296", "a.0x7f"])
def test_what_looks_like_an_address_and_is_none(transport: Transport, names: Answers, host: str) -> None:
    """With rules a host that ends in a number has to be an address; it is not looked up."""
    resolver = names(("127.0.0.1",))
    assert "not a valid IPv4 address" in refusal(transport, f"http://{host}/", destination=NOT_SPECIAL)
    assert not resolver.asked


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.169.254.",
        "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[::ffff:0:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[2001:0:a9fe:a9fe::]",
        "[2001:0:102:304:0:0:5601:5601]",
        "[2001:db8::5efe:169.254.169.254]",
        "169.254.170.2",
        "169.254.1.1",
        "100.100.100.200",
        "168.63.129.16",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[fe80::1]",
        "[febf::1]",
        "0.0.0.0",
        "0",
        "0.1.2.3",
        "[::]",
        "224.0.0.1",
        "[ff02::1]",
        "240.0.0.1",
        "255.255.255.255",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "metadata。google。internal",
        "metadata.goog",
        "instance-data",
    ],
)
def test_special_destinations(transport: Transport, names: Answers, host: str) -> None:
    """Metadata services, link-local, unspecified, multicast and reserved addresses are refused in any form."""
    resolver = names(("127.0.0.1",))
    assert " is refused: " in refusal(transport, f"http://{host}/latest/meta-data/", destination=NOT_SPECIAL)
    assert not resolver.asked


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd12::1", "8.8.8.8", "db.internal"],
)
def test_ordinary_destinations(host: str) -> None:
    """Loopback, private and public addresses are nothing special."""
    rules = Rules(NOT_SPECIAL)
    rules.check_host(host)
    if host != "db.internal":
        rules.check_addresses("db.internal", [host])


@pytest.mark.parametrize("found", [("169.254.169.254",), ("127.0.0.1", "169.254.169.254"), ("::ffff:169.254.169.254",)])
def test_names_that_lead_to_special_addresses(transport: Transport, names: Answers, found: tuple[str, ...]) -> None:
    """Every address of a look-up is checked, so an alias of another name gains nothing; one bad one is enough."""
    names(found)
    message = refusal(transport, "http://innocent.test/a?secret=1", destination=NOT_SPECIAL)
    assert message.startswith("the destination innocent.test is refused: ")
    assert "169.254.169.254 is a cloud metadata address" in message
    assert "secret" not in message


def test_name_that_changes_between_look_ups(transport: Transport, names: Answers, trap: LiteralServer) -> None:
    """The address that was checked is the one connected to: there is no second look-up to answer differently."""
    resolver = names(("127.0.0.1",), ("169.254.169.254",))
    url = trap.url(host="rebinding.test")
    assert transport.send(request_for(url, destination=NOT_SPECIAL)).body == b"ok"
    assert resolver.asked == ["rebinding.test"]
    assert trap.connections == 1


def test_name_that_changes_for_the_next_request(transport: Transport, names: Answers, serve: Serve) -> None:
    """Each new connection is checked, and no connection is kept for a name that has become special."""
    server = serve(answering_once(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    names(("127.0.0.1",), ("169.254.169.254",))
    url = server.url(host="rebinding.test")
    transport.send(request_for(url, destination=NOT_SPECIAL))
    refusal(transport, url, destination=NOT_SPECIAL)


def test_open_connections_are_for_the_same_rules(transport: Transport, trap: LiteralServer) -> None:
    """A connection made under other rules is not taken where the address has to be checked."""
    url = trap.url(host="localhost")
    transport.send(request_for(url))
    transport.send(request_for(url, destination=DestinationRules(allow_hosts=("localhost",))))
    assert trap.connections == 1, "these rules do not look at addresses"
    refusal(transport, url, destination=NO_LOOPBACK)
    for _ in range(2):
        transport.send(request_for(url, destination=NOT_SPECIAL))
    assert trap.connections == 2


@pytest.mark.parametrize(
    ("patterns", "host", "allowed"),
    [
        (("api.test",), "api.test", True),
        (("API.Test.",), "api.test", True),
        (("api.test",), "API.TEST.", True),
        (("api.test",), "x.api.test", False),
        (("api.test",), "api.test.evil", False),
        (("api.test",), "xapi.test", False),
        (("*.api.test",), "x.api.test", True),
        (("*.api.test",), "y.x.api.test", True),
        (("*.api.test",), "api.test", False),
        (("*.api.test",), ".api.test", False),
        (("*.api.test",), "xapi.test", False),
        (("*.api.test",), "api.test.evil", False),
        (("bücher.test",), "xn--bcher-kva.test", True),
        (("xn--bcher-kva.test",), "BÜCHER.test", True),
        (("*.bücher.test",), "a.xn--bcher-kva.test", True),
        (("paypal.test",), "p\u0430ypal.test", False),  # a Cyrillic letter
        (("10.0.0.1",), "10.0.0.1", True),
        (("10.0.0.1",), "0xa.1", True),
        (("10.0.0.1",), "10.0.0.2", False),
        (("10.0.0.1",), "::ffff:10.0.0.1", False),
        (("[2001:db8::1]",), "2001:db8:0::1", True),
        (("2001:db8::1",), "2001:DB8::1", True),
        (("a.test", "*"), "b.test", True),
        (("*",), "b.test", True),
        ((), "b.test", True),
    ],
)
def test_allowed_hosts(patterns: tuple[str, ...], host: str, allowed: bool) -> None:
    """A host is allowed if one pattern is this host in any spelling, or one of a domain that it is below."""
    rules = Rules(DestinationRules(allow_hosts=patterns))
    if allowed:
        rules.check_host(host)
    else:
        with pytest.raises(TransportError, match="refused"):
            rules.check_host(host)


@pytest.mark.parametrize(
    "url",
    [
        "http://allowed.test@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/#allowed.test",
        "http://127.0.0.1:{port}/?allowed.test",
        "http://allowed.test.:x@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/allowed.test",
    ],
)
def test_only_the_host_counts_as_host(transport: Transport, trap: LiteralServer, url: str) -> None:
    """The name of an allowed host elsewhere in the URL gains nothing, neither does a header."""
    rules = DestinationRules(allow_hosts=("allowed.test",))
    options = {"destination": rules, "headers": [("Host", "allowed.test")]}
    refusal(transport, url.format(port=trap.port), **options)
    assert trap.connections == 0


def test_hosts_that_are_named_may_be_special() -> None:
    """A special host that allow_hosts names in full is allowed; a pattern that only fits does not."""
    named = DestinationRules(allow_hosts=("169.254.169.254", "metadata.goog"), deny_special=True)
    Rules(named).check_host("169.254.169.254")
    Rules(named).check_host("metadata.goog")
    Rules(named).check_addresses("metadata.goog", ["169.254.169.254"])
    fitting = Rules(DestinationRules(allow_hosts=("*",), deny_special=True))
    with pytest.raises(TransportError):
        fitting.check_host("metadata.goog")
    address = "169.254.169.254"
    both = Rules(replace(named, deny_networks=("169.254.0.0/16",)))
    with pytest.raises(TransportError, match=r"169\.254\.0\.0/16 of deny_networks"):
        both.check_host(address)


def test_denied_ipv6_networks_hold_for_ipv4_in_ipv6(transport: Transport) -> None:
    """A network of IPv4-mapped addresses is the IPv4 network."""
    mapped = DestinationRules(deny_networks=("::ffff:10.0.0.0/104",))
    for host in ("10.1.2.3", "[::ffff:10.1.2.3]"):
        assert "10.0.0.0/8 of deny_networks" in refusal(transport, f"http://{host}/", destination=mapped)


def test_rules_of_the_server_hold_for_every_request(make_transport: Callable[..., Transport], serve: Serve) -> None:
    """What the settings refuse is refused whatever a request's own rules allow, and these narrow further."""
    server = serve(answering(OK))
    transport = make_transport(allow_hosts=("127.0.0.1", "localhost"), deny_networks=("10.0.0.0/8",))
    assert "allow_hosts" in refusal(transport, "http://other.test/")
    own = DestinationRules(allow_hosts=("other.test", "127.0.0.1", "10.0.0.1"))
    assert "allow_hosts" in refusal(transport, "http://other.test/", destination=own)
    assert "allow_hosts" in refusal(transport, server.url(host="localhost"), destination=own)
    assert transport.send(request_for(server.url(), destination=own)).status == 200
    anywhere = make_transport(deny_networks=("127.0.0.0/8",))
    refusal(anywhere, server.url(), destination=own)
    assert server.connections == 1


@pytest.mark.parametrize("settings", [{"allow_hosts": ("a/b",)}, {"deny_networks": ("10.0.0.1/8",)}])
def test_bad_rules_of_the_server(make_transport: Callable[..., Transport], settings: dict[str, Any]) -> None:
    """Rules in the settings that can't be used show when the server starts."""
    with pytest.raises(ValueError, match="expected"):
        make_transport(**settings)


def test_bad_rules_of_a_request(transport: Transport) -> None:
    """Rules of a request that can't be used refuse everything."""
    message = refusal(transport, "http://127.0.0.1/", destination=DestinationRules(deny_networks=("10/99",)))
    assert message.startswith("the rules for destinations can't be used: ")


def test_through_a_proxy_the_host_is_checked(transport: Transport, names: Answers, serve: Serve) -> None:
    """With a forward proxy the host and an address in the URL are checked; names are left to the proxy."""
    proxy = serve(answering(OK))
    settings = ProxySettings(proxy.url().rstrip("/"))
    resolver = names(("169.254.169.254",))
    rules = DestinationRules(deny_networks=("10.0.0.0/8",), deny_special=True)
    for host in ("metadata.google.internal", "169.254.169.254", "2852039166", "10.0.0.1", "0xa.1", "[::ffff:10.0.0.1]"):
        for scheme in ("http", "https"):
            refusal(transport, f"{scheme}://{host}/", destination=rules, proxy=settings)
    refusal(transport, "http://b.test/", destination=DestinationRules(allow_hosts=("a.test",)), proxy=settings)
    assert proxy.connections == 0
    assert transport.send(request_for("http://a.test/", destination=rules, proxy=settings)).status == 200
    assert not resolver.asked


def redirect_to(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/",
        "//2852039166/",
        "http://metadata.google.internal/",
        "http://[::ffff:a9fe:a9fe]/",
    ],
)
def test_redirects_never_lead_to_special_destinations(send: Send, serve: Serve, location: str) -> None:
    """Where a response sends on to another host, special addresses are refused even without rules."""
    server = serve(answering(redirect_to(location)))
    with pytest.raises(TransportError) as caught:
        send(server.url(), max_redirects=3)
    assert caught.value.kind == "destination"
    assert len(server.requests) == 1


def test_redirects_keep_to_the_rules(transport: Transport, serve: Serve, trap: LiteralServer) -> None:
    """Every hop is checked by host, by address and by the server's rules."""
    by_name = serve(answering(redirect_to(trap.url(host="localhost"))))
    allowed = DestinationRules(allow_hosts=("127.0.0.1",))
    assert "localhost is refused" in refusal(transport, by_name.url(), max_redirects=3, destination=allowed)
    to_address = serve(answering(redirect_to(f"http://127.0.0.2:{trap.port}/")))
    denied = DestinationRules(deny_networks=("127.0.0.2/32",))
    assert "127.0.0.2/32" in refusal(transport, to_address.url(), max_redirects=3, destination=denied)
    assert trap.connections == 0


def test_name_that_changes_between_redirects(transport: Transport, names: Answers, serve: Serve) -> None:
    """A redirect to the same name that needs a new connection is checked again."""
    server = serve(answering_once(redirect_to("/next").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    names(("127.0.0.1",), ("169.254.169.254",))
    refusal(transport, server.url(host="rebinding.test"), max_redirects=3, destination=NOT_SPECIAL)
    assert len(server.requests) == 1
