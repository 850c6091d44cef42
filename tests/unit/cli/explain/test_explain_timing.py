"""The longest that callouts may take."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cli.explain.explaining import callout, explained

SHORT = {"connect": 100, "write": 200, "read": 700}
TOKENS = {
    "type": "oauth2_client_credentials",
    "token_url": "https://t/",
    "client_id": "c",
    "client_secret": "{vault://env/s}",
}


def timeouts(**more: Any) -> dict[str, Any]:
    return {"http_opts": {"timeouts": {**SHORT, **more}}}


@pytest.mark.parametrize(
    ("parts", "longest_ms"),
    [
        ({}, 180_000),
        (timeouts(), 1000),
        (timeouts() | {"error": {"on_error": "fail", "retries": 5}}, 1000),
        (timeouts() | {"error": {"retries": 2}}, 3000),
        (timeouts() | {"error": {"retries": 2, "backoff": {"initial_ms": 100, "factor": 3, "max_ms": 250}}}, 3350),
        (timeouts() | {"error": {"retries": 2, "retry_after": True}}, 23_000),
        (timeouts(total=2500) | {"error": {"retries": 2}}, 2500),
        (timeouts(total=9000) | {"error": {"retries": 2}}, 3000),
        (timeouts() | {"hedge_after_ms": 50}, 1050),
        ({"http_opts": {"timeouts": SHORT, "max_redirects": 2}}, 3000),
        (timeouts() | {"auth": TOKENS}, 4000),
        (timeouts() | {"for_each": {"items": "$({1})", "max_items": 21, "concurrency": 5}}, 5000),
        ({"http_opts": {"timeouts": {"total": 300}}}, 300),
    ],
)
def test_one_callout(parts: dict[str, Any], longest_ms: int) -> None:
    """Timeouts, redirects, a second attempt, tokens, retries with their pauses, elements: each counts."""
    found = explained({"callouts": [callout(**parts)]})
    assert found["callouts"][0]["time"]["longest_ms"] == longest_ms


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (timeouts(), "; longer for a service that sends bit by bit"),
        (timeouts(total=9000), "; longer for a service that sends bit by bit, 9 s (timeouts.total)"),
        (timeouts(total=900), "timeouts.total"),
    ],
)
def test_what_bounds_a_service_that_sends_bit_by_bit(parts: dict[str, Any], said: str) -> None:
    """Timeouts count for each read, so that only the total is no promise that can be broken."""
    assert explained({"callouts": [callout(**parts)]})["callouts"][0]["time"]["text"].endswith(said)


def test_all_that_counts_is_told() -> None:
    """How the longest time is made up stands beside it."""
    parts: dict[str, Any] = {
        "http_opts": {"timeouts": SHORT, "max_redirects": 2},
        "hedge_after_ms": 50,
        "auth": TOKENS,
        "error": {"retries": 2, "backoff": {"initial_ms": 100, "factor": 3, "max_ms": 250}},
        "for_each": {"items": "$({1})", "max_items": 21, "concurrency": 5},
    }
    assert explained({"callouts": [callout(**parts)]})["callouts"][0]["time"]["text"] == (
        "100 ms connect + 200 ms write + 700 ms read; 2 redirects; a second attempt after 50 ms; "
        "a token, and once more with a new one after a 401; 3 attempts; pauses up to 350 ms; "
        "longer for a service that sends bit by bit; 21 elements, 5 side by side"
    )
    assert "pauses" not in explained({"callouts": [callout(**timeouts())]})["callouts"][0]["time"]["text"]


def test_no_callouts_take_no_time() -> None:
    """Without callouts nothing is waited for."""
    found = explained({"callouts": []})["whole"]
    assert (found["longest_ms"], found["ends_by_deadline"], found["critical_path"]) == (0, False, [])


def total(ms: int) -> dict[str, Any]:
    return {"http_opts": {"timeouts": {"total": ms}}}


def test_the_longest_way() -> None:
    """Side by side the slowest counts, one after the other the sum; the way that takes longest is named."""
    after: dict[str, Any] = {"depends_on": ["slow"]}
    config = {
        "callouts": [callout("slow", **total(900)), callout("quick", **total(100)), callout("z", **total(50), **after)]
    }
    found = explained(config)
    assert [one["time"]["begins_ms"] for one in found["callouts"]] == [0, 0, 900]
    assert found["whole"] == {
        "longest_ms": 950,
        "deadline_ms": 55_000,
        "ends_by_deadline": False,
        "critical_path": ["slow", "z"],
        "levels_ms": [900, 50],
    }


def test_the_deadline_ends_all() -> None:
    """The configuration's own deadline bounds the whole, the server's where there is none."""
    config: dict[str, Any] = {"callouts": [callout(**total(900))], "deadline_ms": 500}
    assert explained(config)["whole"]["longest_ms"] == 500
    assert explained({"callouts": [callout()]})["whole"]["longest_ms"] == 55_000
