"""Requests out of HAR files."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.cli.try_.har import request
from request_callout.cli.try_.request import BadRequest


def har(*requests: Any) -> dict[str, Any]:
    return {"log": {"version": "1.2", "entries": [{"request": one} for one in requests]}}


def test_a_browsers_entry() -> None:
    """An entry over HTTP/2 gives the request with Host, its body and its cookies."""
    made = request(
        har(
            {
                "method": "POST",
                "url": "https://api.example.com/a?b=1#c",
                "headers": [
                    {"name": ":authority", "value": "api.example.com"},
                    {"name": ":path", "value": "/a?b=1"},
                    {"name": "content-length", "value": "99"},
                    {"name": "x-one", "value": "1"},
                ],
                "cookies": [{"name": "s", "value": "2"}],
                "postData": {"mimeType": "application/json", "text": "{}"},
            }
        ),
        None,
    )
    assert (made.method, made.scheme, made.target, made.body) == ("POST", "https", "/a?b=1", b"{}")
    assert dict(made.headers) == {
        "Host": "api.example.com",
        "Content-Type": "application/json",
        "x-one": "1",
        "Cookie": "s=2",
        "Content-Length": "2",
    }


def test_form_parameters() -> None:
    """A form that is given by its parameters is written again."""
    posted = {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a", "value": "1 2"}]}
    made = request(har({"method": "POST", "url": "http://a/", "headers": [], "postData": posted}), None)
    assert made.body == b"a=1+2"


def test_an_entry_is_chosen() -> None:
    """Of several entries one has to be chosen; the error lists them without the values of queries."""
    document = har({"method": "GET", "url": "http://a/1?key=planted"}, {"method": "PUT", "url": "http://a/2"})
    with pytest.raises(BadRequest) as caught:
        request(document, None)
    assert "2 entries; choose one with --entry:\n  1: GET http://a/1?key\n  2: PUT http://a/2" in str(caught.value)
    assert request(document, 2).method == "PUT"
    with pytest.raises(BadRequest, match="--entry 3: the HAR file has 2 entries"):
        request(document, 3)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "log.entries has to be a list"),
        (har(), "has no entries"),
        (har(None), r"log.entries\[1\].request: has to be an object"),
        (har({"method": 1, "url": "http://a"}), "method and url have to be texts"),
        (har({"method": "GET", "url": "http://a", "headers": {}}), "headers: has to be a list"),
        (har({"method": "GET", "url": "http://a", "postData": {"text": "é", "encoding": "base64"}}), "is no base64"),
        (har({"method": "GET", "url": "http://a", "cookies": 5}), "cookies: has to be a list"),
        (har({"method": "GET", "url": "http://a", "cookies": ["a"]}), "cookies: has to be a list"),
    ],
)
def test_mistakes(document: Any, message: str) -> None:
    """What is no HAR is told with the member that is wrong."""
    with pytest.raises(BadRequest, match=message):
        request(document, None)
