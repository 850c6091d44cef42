"""Single requests that are debugged: ``Server-Timing`` for clients that know the secret, and for nobody else.

On a Kong these rules are tested if its plugin server runs with the secret that ``--kong-debug-secret`` names.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.callee import Reply
from tests.conformance.conftest import SiteWith
from tests.conformance.site import Site, callout

SECRET = "conformance-debug-secret"
WRONG = "conformance-debug-secreT"
HEADER = "X-Callout-Debug"


@pytest.fixture(scope="session")
def secret_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("debug") / "secret"
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture
def debugged(site: Site, site_with: SiteWith, secret_file: Path, request: pytest.FixtureRequest) -> Site:
    """A gateway whose plugin server knows the secret."""
    if site.gateway.embedded:
        return site_with(f"--debug-secret-file={secret_file}")
    if request.config.getoption("--kong-debug-secret") != SECRET:
        pytest.skip(f"needs --kong-debug-secret {SECRET}, and a plugin server that was started with it")
    return site


def timings(values: list[str]) -> dict[str, tuple[float, str]]:
    """Duration and description by metric, as the W3C's Server Timing has them."""
    found = re.findall(r'([\w!#$%&\'*+.^`|~-]+);dur=([0-9.]+)(?:;desc="((?:[^"\\]|\\.)*)")?', ", ".join(values))
    return {name: (float(ms), description) for name, ms, description in found}


def test_a_proxied_response_has_the_timing(debugged: Site) -> None:
    """The whole and each callout, with what became of it, beside the upstream's own timing."""
    debugged.callee.on("/b", Reply(503), Reply(200))
    debugged.upstream.on("/up", Reply(headers=(("Server-Timing", "db;dur=5"),)))
    errors = {"on_error": "retry", "retries": 1, "http_statuses": [503]}
    debugged.configure([callout("first call", "/a"), callout("b", "/b", error=errors)])
    answer = debugged.get(headers={HEADER: SECRET})
    assert answer.status == 200
    told = timings(answer.all("Server-Timing"))
    assert told.keys() == {"request-callout", "first_call", "b", "db"}
    assert told["first_call"][1] == "200"
    assert told["b"][1] == "200, 2 attempts"
    assert told["request-callout"][0] >= told["b"][0]


def test_an_answer_of_the_plugin_has_the_timing(debugged: Site) -> None:
    """Also where the upstream gets nothing: a script's answer, an error's."""
    debugged.callee.on("/a", Reply(500))
    debugged.configure([callout("a", "/a", error={"http_statuses": [500]})])
    answer = debugged.get(headers={HEADER: SECRET})
    assert answer.status == 400
    assert timings(answer.all("Server-Timing"))["a"][1] == "500, failed"
    debugged.configure(upstream={"by_lua": "kong.response.exit(418, 'tea')"})
    answer = debugged.get(headers={HEADER: SECRET})
    assert (answer.status, answer.text) == (418, "tea")
    assert timings(answer.all("Server-Timing")).keys() == {"request-callout"}


@pytest.mark.parametrize("headers", [{}, {HEADER: WRONG}, {HEADER: ""}, {HEADER: "x"}])
def test_without_the_secret_there_is_no_hint(debugged: Site, headers: dict[str, str]) -> None:
    """A wrong secret does as much as none: nothing."""
    debugged.configure([callout("a", "/a")])
    answer = debugged.get(headers=headers)
    assert answer.status == 200
    assert answer.header("Server-Timing") is None


@pytest.mark.parametrize("given", [SECRET, WRONG])
def test_the_header_reaches_nobody(debugged: Site, given: str) -> None:
    """Neither the upstream nor a callee that gets the client's headers sees it, whatever its value."""
    debugged.configure([callout("a", "/a", headers={"forward": True})])
    debugged.get(headers={HEADER: given, "X-Other": "1"})
    for received in (debugged.callee.one(), debugged.upstream.one()):
        assert received.header("X-Other") == "1"
        assert HEADER.lower() not in received.names
        assert given not in str(received.headers)


def test_without_the_option_nothing_is_read(site: Site) -> None:
    """A server without a secret leaves the header to the upstream, as any other, and tells nothing."""
    if not site.gateway.embedded:
        pytest.skip("this Kong's plugin server may have a secret")
    site.configure([callout("a", "/a")])
    assert site.get(headers={HEADER: SECRET}).header("Server-Timing") is None
    assert site.upstream.one().header(HEADER) == SECRET
