"""The placeholders of ``try`` in values of JSON."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest

from request_callout.cli.try_.redaction import Redactor
from request_callout.transport.exchanges import Exchange
from request_callout.transport.recorded import Answers


def test_a_pair_of_name_and_value() -> None:
    """The value beside the name of a secret is one, and hidden wherever it is repeated."""
    redactor = Redactor()
    pairs = [{"name": "X-Api-Key", "value": "planted-one"}, {"name": "X-Note", "value": "of planted-one"}]
    assert redactor.value(pairs) == [
        {"name": "X-Api-Key", "value": "redacted-1"},
        {"name": "X-Note", "value": "of redacted-1"},
    ]


@pytest.mark.parametrize(
    "body",
    [
        '{"about": "x", "token": "abc", "more": ',
        '{"token" : "abc", "deep": ' + "[" * 2000 + "]" * 2000 + "}",
        '{"token": "abc", "deep": ' + '{"a":' * 900 + "1" + "}" * 901,
    ],
    ids=["cut off", "deeper than is read", "deep"],
)
def test_what_is_hardly_json_is_redacted_too(body: str) -> None:
    """A member that is called like a secret is hidden in what is cut off or nested without end."""
    shown = Redactor().body(body.encode())
    assert b"abc" not in shown
    assert b"redacted-1" in shown


URL = "https://user:p4ssw0rd@hooks.example:8443/T0/B0?sig=a%20long%20value"


def test_a_secret_url_stays_one() -> None:
    """Host, path and query of a secret URL are hidden, each by a placeholder of its own, so that it is found again."""
    redactor = Redactor([URL])
    sent = "https://hooks.example:8443/T0/B0?sig=a%20long%20value&page=2"
    hidden = redactor.url(sent)
    assert hidden == "https://redacted-1:8443/redacted-2/redacted-3?sig=redacted-4&page=2"
    answers = Answers([Exchange("callee", "GET", hidden, (), b"", 200, (), b"", 0.0, 1.0)])
    assert not isinstance(answers.take("GET", sent), str)
    assert isinstance(answers.take("GET", sent.replace("/T0/B0", "/T0/B0/C0")), str)
    assert (
        redactor.text("can't resolve hooks.example, for /T0/B0")
        == "can't resolve redacted-1, for /redacted-2/redacted-3"
    )
    assert "hooks" not in redactor.text(f"{URL} {quote(URL, safe='')} {quote_plus(URL)}")


def test_a_host_that_is_a_word_is_hidden_in_urls_only() -> None:
    """A secret URL's host without a dot stays a word elsewhere."""
    redactor = Redactor(["http://gateway/", "http://[::1]:8000/path"])
    assert redactor.text("gateway: http://gateway/x") == "gateway: http://redacted-1/x"
    assert redactor.text("http://[::1]:8000/path") == "http://redacted-3:8000/redacted-4"
