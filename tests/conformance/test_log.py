"""What the plugin server logs; on the embedded gateway only, since a Kong's log can't be read over HTTP."""

from __future__ import annotations

import time

import pytest

from tests.conformance.callee import PATIENCE_S, Reply
from tests.conformance.site import Site, callout

pytestmark = pytest.mark.embedded("a log can't be read over HTTP")


def logged(site: Site, since: int, word: str) -> str:
    """What was logged from there on, as soon as it holds this word."""
    deadline = time.monotonic() + PATIENCE_S
    while word not in (text := site.gateway.log()[since:]):
        assert time.monotonic() < deadline, f"{word} is not in:\n{text}"
        time.sleep(0.01)
    return text


def test_callouts_are_logged(site: Site) -> None:
    """For each callout: name, URL, status, latency in ms, attempts; without user info and query values."""
    site.callee.on("/a", Reply(503), Reply(200))
    url = f"http://user:password@127.0.0.1:{site.callee.port}/a?token=value1"
    site.configure([callout("named", url, error={"http_statuses": [503], "retries": 1})])
    since = len(site.gateway.log())
    answer = site.get(headers={"Authorization": "Bearer value2"})
    lines = [line for line in logged(site, since, "named").splitlines() if "named" in line]
    assert answer.status == 200
    assert f"127.0.0.1:{site.callee.port}/a" in lines[-1]
    assert "200" in lines[-1]
    assert " ms" in lines[-1]
    text = "\n".join(lines)
    assert not any(secret in text for secret in ("password", "value1", "value2"))


def test_hits_are_logged(site: Site) -> None:
    """Whether the cache had it is logged."""
    site.configure([callout("named", "/a")], cache={"strategy": "memory"})
    since = len(site.gateway.log())
    site.get()
    assert "miss" in logged(site, since, "named")
    since = len(site.gateway.log())
    site.get()
    assert "hit" in logged(site, since, "named")


def test_errors_of_scripts_are_logged(site: Site) -> None:
    """A runtime error is logged with the field and the Lua message, and with the request's id."""
    site.configure([callout("named", "/a", by_lua='error("why it failed")')])
    since = len(site.gateway.log())
    answer = site.get()
    text = logged(site, since, "why it failed")
    assert "callouts[1].request.by_lua" in text
    assert (answer.header("X-Kong-Request-Id") or "no id") in text


def test_failures_are_logged(site: Site) -> None:
    """A callout that gets no response is logged with the reason."""
    site.callee.on("/a", Reply(drop=True))
    site.configure([callout("named", "/a")])
    since = len(site.gateway.log())
    assert site.get().status == 400
    assert "named" in logged(site, since, "closed")
