"""What is hidden where people read, of values that came from a vault."""

from __future__ import annotations

import pytest

from request_callout.engine.redaction import Redaction

URL = "https://u:p4ss@hooks.example:8443/T0/B0?k=v4lue"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"called {URL}", "called ***"),
        ("POST https://hooks.example:8443/T0/B0?k: refused", "POST ***: refused"),
        ("can't resolve hooks.example: unknown", "can't resolve ***: unknown"),
        ("the circuit to https://hooks.example:8443 is open", "the circuit to https://***:8443 is open"),
        ("to /T0/B0", "to ***"),
    ],
)
def test_a_url_is_hidden_in_parts_too(text: str, shown: str) -> None:
    """Of a URL that came from a vault neither the host nor the path is told, wherever messages name one of them."""
    assert Redaction([URL]).text(text) == shown


def test_a_host_that_is_a_word_is_no_secret_in_other_words() -> None:
    """A host without a dot is hidden where a URL names it; elsewhere it may be any word."""
    redaction = Redaction(["http://auth/token"])
    assert redaction.text("callout auth: the circuit to http://auth:80 is open") == (
        "callout auth: the circuit to ***:80 is open"
    )


@pytest.mark.parametrize("secret", ["http://", "ftp://h.example/", "http://h:99999/"])
def test_what_is_no_url_is_hidden_as_a_whole(secret: str) -> None:
    """A value that only looks like a URL hides what it is, and nothing else."""
    assert Redaction([secret]).text(f"<{secret}> h.exampl") == "<***> h.exampl"
