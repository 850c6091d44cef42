"""Where a callout's URL may lead, and what becomes of redirects."""

from __future__ import annotations

import pytest

from tests.conformance.callee import Callee, Reply
from tests.conformance.conftest import SiteWith
from tests.conformance.site import Site, callout

LOOPBACK = {"deny_networks": ["127.0.0.0/8"]}


def redirect(location: str, status: int = 302) -> Reply:
    return Reply(status, b"gone", (("Location", location),))


def test_allowed_hosts(site: Site) -> None:
    """With destination.allow_hosts a URL leads to these hosts and those that fit a pattern, and nowhere else."""
    rules = {"allow_hosts": ["127.0.0.1", "*.internal.example"]}
    site.configure([callout("a", "/a", destination=rules)])
    assert site.get().status == 200
    site.callee.one()
    elsewhere = site.callee.url.replace("127.0.0.1", "localhost")
    site.configure([callout("a", elsewhere + "/b", destination=rules)])
    assert site.get().status == 500
    site.callee.one()


@pytest.mark.parametrize("policy", ["fail", "retry", "continue"])
def test_denied_networks(site: Site, policy: str) -> None:
    """With destination.deny_networks no spelling leads there; the client gets 500 whatever on_error says."""
    site.configure([callout("a", "$(query_params.url)", destination=LOOPBACK, error={"on_error": policy})])
    port = site.callee.port
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "user@127.0.0.1"):
        answer = site.get(f"?url=http://{host}:{port}/")
        assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert not site.callee.received()
    assert not site.upstream.received()


def test_refusal_in_the_log(site: Site) -> None:
    """The log names the callout, the host and the rule, without the query."""
    site.configure([callout("a", "/a?token=hidden", destination=LOOPBACK)])
    written = len(site.gateway.log())
    assert site.get().status == 500
    if site.gateway.embedded:
        lines = site.gateway.log()[written:]
        assert "callout a: config.callouts[1].request.url: the destination 127.0.0.1 is refused" in lines
        assert "127.0.0.0/8 of deny_networks" in lines
        assert "hidden" not in lines


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "metadata.google.internal", "0.0.0.0"])
def test_hosts_from_expressions(site: Site, host: str) -> None:
    """A host that comes from the client is never a metadata service or the like; private ones are allowed."""
    site.configure([callout("a", "http://$(query_params.host)/a")])
    assert site.get(f"?host={host}").status == 500
    assert site.get(f"?host=127.0.0.1:{site.callee.port}").status == 200


def test_hosts_from_scripts(site: Site) -> None:
    """The same holds for a host that a script put into the URL."""
    url = 'kong.ctx.shared.callouts.a.request.params.url = "http://" .. kong.request.get_query_arg("host") .. "/a"'
    site.configure([callout("a", "/a", by_lua=url)])
    assert site.get("?host=169.254.169.254").status == 500
    assert site.get(f"?host=127.0.0.1:{site.callee.port}").status == 200


@pytest.mark.embedded("needs the server options --allow-hosts and --deny-networks")
def test_rules_of_the_server(site_with: SiteWith) -> None:
    """--allow-hosts and --deny-networks hold for every configuration; its own rules only narrow further."""
    site = site_with("--allow-hosts=127.0.0.1, 127.0.0.2,127.0.0.3", "--deny-networks=127.0.0.3/32")
    for host, status in (("127.0.0.1", 200), ("localhost", 500), ("127.0.0.2", 500), ("127.0.0.3", 500)):
        url = site.callee.url.replace("127.0.0.1", host)
        site.configure([callout("a", url, destination={"allow_hosts": ["127.0.0.1", "localhost", "127.0.0.3"]})])
        assert site.get().status == status, host
    site.callee.one()


def test_redirects_are_responses(site: Site) -> None:
    """Without max_redirects a redirect is a response as any other."""
    site.callee.on("/a", redirect("/b"))
    site.configure([callout("a", "/a")], witness=True)
    assert site.context()["a"]["response"]["status"] == 302
    assert not site.callee.received("/b")


def test_redirects_are_followed(site: Site) -> None:
    """With max_redirects the last response counts; a POST becomes a GET as by RFC 9110, except with 307 and 308."""
    site.callee.on("/a", redirect("/b?x=1", 307))
    site.callee.on("/b", redirect(f"{site.callee.url}/c", 303))
    site.configure([callout("a", "/a", method="POST", body={"custom": {"k": "v"}}, http_opts={"max_redirects": 2})])
    assert site.get().status == 200
    a, b, c = site.callee.received()
    assert [(one.method, one.target) for one in (a, b, c)] == [("POST", "/a"), ("POST", "/b?x=1"), ("GET", "/c")]
    assert (a.json, b.json, c.body) == ({"k": "v"}, {"k": "v"}, b"")
    assert c.header("Content-Type") is None


def test_too_many_redirects(site: Site) -> None:
    """More redirects than allowed are an error like any other."""
    site.callee.on("/a", redirect("/a"))
    site.configure([callout("a", "/a", http_opts={"max_redirects": 2})])
    assert site.get().status == 400
    assert len(site.callee.received()) == 3
    retrying = callout("a", "/a", http_opts={"max_redirects": 2}, error={"on_error": "continue"})
    site.configure([retrying], witness=True)
    assert "more than 2 redirects" in site.context()["a"]["request"]["error"]["err"]


def test_credentials_are_for_one_origin(site: Site, upstream: Callee) -> None:
    """Authorization and Cookie do not go to another origin; other headers do."""
    site.callee.on("/a", redirect(f"{upstream.url}/elsewhere"))
    headers = {"custom": {"Authorization": "Bearer t", "Cookie": "c=1", "X-Other": "kept"}}
    site.configure([callout("a", "/a", headers=headers, http_opts={"max_redirects": 1})])
    assert site.get().status == 200
    assert site.callee.one().header("Authorization") == "Bearer t"
    got = upstream.one("/elsewhere")
    assert (got.header("Authorization"), got.header("Cookie"), got.header("X-Other")) == (None, None, "kept")


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/"])
def test_redirects_to_metadata_services(site: Site, location: str) -> None:
    """A response can't lead to a metadata service, though the URL was constant."""
    site.callee.on("/a", redirect(location))
    site.configure([callout("a", "/a", http_opts={"max_redirects": 3})])
    assert site.get().status == 500


def test_redirects_keep_to_the_rules(site: Site, upstream: Callee) -> None:
    """Every redirect is checked by destination, too."""
    elsewhere = f"http://localhost:{upstream.port}/elsewhere"
    site.callee.on("/a", redirect(elsewhere))
    rules = {"allow_hosts": ["127.0.0.1"]}
    site.configure([callout("a", "/a", destination=rules, http_opts={"max_redirects": 3})])
    assert site.get().status == 500
    assert not upstream.received("/elsewhere")
