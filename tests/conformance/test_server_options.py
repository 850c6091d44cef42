"""Rules that depend on an option of the plugin server, so on the embedded gateway only: it starts its own server."""

from __future__ import annotations

import threading
import time

import pytest

from tests.conformance.callee import PATIENCE_S, Reply
from tests.conformance.conftest import SiteWith
from tests.conformance.site import callout

pytestmark = pytest.mark.embedded("needs options of the plugin server")

EXPRESSION = {"headers": {"custom": {"X-Value": "$(1 + 1)"}}}


def test_kong_version_in_the_user_agent(site_with: SiteWith) -> None:
    """With --kong-version the User-Agent is kong/VERSION/request-callout."""
    site = site_with("--kong-version=3.9.1", "--share=off")
    site.configure([callout("a", "/a")])
    site.get()
    assert site.callee.one().header("User-Agent") == "kong/3.9.1/request-callout"


def test_share_off(site_with: SiteWith) -> None:
    """With --share off other plugins see nothing of the callouts; the callouts themselves do."""
    site = site_with("--kong-version=3.9.1", "--share=off")
    site.configure([callout("a", "/a", decode=True)], witness=True)
    answer = site.get()
    assert (answer.status, b"callee" in answer.body) == (200, False)
    assert site.callee.one()


def test_share_meta(site_with: SiteWith) -> None:
    """With --share meta other plugins see all but the bodies."""
    site = site_with("--share=meta")
    site.configure([callout("a", "/a", decode=True)], witness=True)
    response = site.context()["a"]["response"]
    assert response["status"] == 200
    assert "body" not in response


def test_share_max_bytes(site_with: SiteWith) -> None:
    """A body over --share-max-bytes is left out for other plugins, a smaller one is not."""
    site = site_with("--share-max-bytes=10", "--untrusted-lua-sandbox-requires=cjson")
    site.callee.on("/small", Reply(body=b"1234567890"))
    site.callee.on("/large", Reply(body=b"12345678901"))
    site.configure([callout("small", "/small"), callout("large", "/large")], witness=True)
    context = site.context()
    assert context["small"]["response"]["body"] == "1234567890"
    assert "body" not in context["large"]["response"]


def test_untrusted_lua_off(site_with: SiteWith) -> None:
    """With --untrusted-lua off scripts and expressions do not run: 500; what has none works."""
    site = site_with("--untrusted-lua=off")
    site.configure([callout("a", "/a")])
    assert site.get().status == 200
    site.configure(upstream=EXPRESSION)
    assert site.get().status == 500
    site.configure(upstream={"by_lua": "kong.response.exit(200)"})
    assert site.get().status == 500


def test_untrusted_lua_on(site_with: SiteWith) -> None:
    """With --untrusted-lua on scripts have more than the sandbox's library, and still no host object."""
    site = site_with("--untrusted-lua=on")
    script = "return {set = type(setmetatable), load = type(loadstring), python = type(python), value = 1 + 1}"
    assert site.returns(script) == {"set": "function", "load": "function", "python": "nil", "value": 2}


def test_sandbox_environment(site_with: SiteWith) -> None:
    """--untrusted-lua-sandbox-environment lets further globals in."""
    site = site_with("--untrusted-lua-sandbox-environment=getmetatable")
    assert site.returns("return {get = type(getmetatable), set = type(setmetatable)}") == {
        "get": "function",
        "set": "nil",
    }


def test_deadline_bounds_all_callouts(site_with: SiteWith) -> None:
    """All callouts of a request, with their retries, end within the deadline."""
    over = threading.Event()
    site = site_with("--deadline-ms=700")
    site.callee.on("/a", Reply(hold=lambda: over.wait(PATIENCE_S)))
    site.configure([callout("a", "/a", error={"retries": 5})])
    started = time.monotonic()
    answer = site.get()
    elapsed_s = time.monotonic() - started
    over.set()
    assert answer.status == 400
    assert elapsed_s < PATIENCE_S / 2


def test_time_limit_counts_pdk_calls(site_with: SiteWith) -> None:
    """The time limit of a script counts the PDK calls that it makes."""
    site = site_with("--lua-max-time-ms=300", "--lua-max-instructions=2000000000")
    site.configure(upstream={"by_lua": "while true do kong.request.get_header('X') end"})
    assert site.get().status == 500
    assert not site.upstream.received()


def test_instruction_limit(site_with: SiteWith) -> None:
    """--lua-max-instructions bounds a run."""
    site = site_with("--lua-max-instructions=1000000")
    site.configure(upstream={"by_lua": "local n = 0 for i = 1, 5e6 do n = n + i end kong.response.exit(200)"})
    assert site.get().status == 500
    site.configure(upstream={"by_lua": "local n = 0 for i = 1, 1e4 do n = n + i end kong.response.exit(200)"})
    assert site.get().status == 200


def test_limits_of_answers(site_with: SiteWith) -> None:
    """--max-body-bytes and --max-header-bytes bound what a callee may answer."""
    site = site_with("--max-body-bytes=100", "--max-header-bytes=1000")
    site.callee.on("/a", Reply(body=b"x" * 100), Reply(body=b"x" * 101), Reply(headers=(("X-A", "x" * 1000),)))
    site.configure([callout("a", "/a")])
    assert [site.get().status for _ in range(3)] == [200, 400, 400]
