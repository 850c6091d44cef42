"""Responses in other formats than JSON, as expressions, scripts and the cache see them."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.engine.bodies.response import MAX_FIELDS, UndecodableBody, decode_body
from tests.unit.engine.gevent_callee import Callee, Reply, callout, configured, engine_with, event


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", None),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&b=2&a=3&a", {"a": ["1", "3", True], "b": "2"}),
        (b"a+b=%26+%C3%BC&c=", {"a b": "& ü", "c": ""}),
    ],
)
def test_form(body: bytes, fields: Any) -> None:
    """A form is a table as a query is: a repeated name is a list, a name without = is true."""
    assert decode_body(body, "form", {}) == fields


def test_form_of_too_many_fields() -> None:
    """A form of more fields than the limit is an error, not a table of any size."""
    assert len(decode_body(b"a&" * (MAX_FIELDS - 1) + b"a", "form", {})["a"]) == MAX_FIELDS
    with pytest.raises(UndecodableBody):
        decode_body(b"a&" * MAX_FIELDS + b"a", "form", {})


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"", "text/plain", ""),
        ("ü".encode(), None, "ü"),
        (b"\xfc", "text/plain; charset=ISO-8859-1", "ü"),
        (b"\x80", 'text/plain; format=flowed; CHARSET="windows-1252"', "€"),
        (b"\xfc", "text/plain", "\udcfc"),
        (b"\xfc", "text/plain; charset=x-unknown", "\udcfc"),
        (b"\xfc", "text/plain; charset=unicode_escape", "\udcfc"),
    ],
)
def test_text(body: bytes, content_type: str | None, text: str) -> None:
    """Text comes in UTF-8 if its charset is known, else as the bytes that it is; an empty one is an empty string."""
    assert decode_body(body, "text", {"content-type": content_type} if content_type else {}) == text


def test_text_that_is_not_in_its_charset() -> None:
    """Bytes that are none of the charset that is named are an error."""
    with pytest.raises(UndecodableBody):
        decode_body(b"\xff", "text", {"content-type": "text/plain; charset=utf-8"})


REPLIES = {
    "xml": (b"<a><b id='1'/></a>", {"a": {"b": {"@id": "1"}}}, b"<a>"),
    "form": (b"a=1&b=2", {"a": "1", "b": "2"}, b"&" * MAX_FIELDS),
    "json": (b'{"a": 1}', {"a": 1}, b"{"),
    "text": (b"a", "a", b"\xff"),
}


@pytest.mark.parametrize("body_format", REPLIES)
def test_a_format_decodes_fresh_and_kept_responses(body_format: str) -> None:
    """The body is decoded by the format, whatever decode says, when it comes and when it is found in the cache."""
    body, value, _ = REPLIES[body_format]
    callee, engine = Callee(lambda number: Reply(body)), engine_with()
    instance = configured(engine, callout(callee, response={"body": {"format": body_format, "decode": False}}))
    try:
        got = [event(instance) for _ in range(2)]
        assert [(one.state, one.body) for one in got] == [("miss", value), ("hit", value)]
    finally:
        engine.close()
        callee.close()


@pytest.mark.parametrize("body_format", REPLIES)
def test_what_cannot_be_decoded_is_an_error(body_format: str) -> None:
    """A body that is not of its format fails the callout with the reason ``error``, and is not kept."""
    _, _, bad = REPLIES[body_format]
    callee, engine = Callee(lambda number: Reply(bad, headers={"Content-Type": "x/y; charset=utf-8"})), engine_with()
    config = callout(callee, error={"on_error": "continue"}, response={"body": {"format": body_format}})
    try:
        instance = configured(engine, config)
        got = [event(instance) for _ in range(2)]
        assert [one.context["request"]["error"]["reason"] for one in got] == ["error", "error"]
        assert [one.state for one in got] == ["miss", "miss"]
        assert [one.context["response"]["status"] for one in got] == [200, 200]
    finally:
        engine.close()
        callee.close()


def test_one_key_for_two_formats() -> None:
    """What one configuration keeps as XML under a key of a script's own, another reads there as text, or as JSON."""
    callee, engine = Callee(lambda number: Reply(b"7")), engine_with()
    script = "kong.ctx.shared.callouts.a.caching.cache_key = 'k'"

    def reading(body_format: str) -> Any:
        config = callout(callee, by_lua=script, response={"body": {"format": body_format}})
        return event(configured(engine, config, plugin_id=body_format))

    try:
        got = [reading(one) for one in ("text", "json", "form", "text", "json")]
        assert [one.body for one in got] == ["7", 7, {"7": True}, "7", 7]
        assert [one.state for one in got] == ["miss", "hit", "hit", "hit", "hit"]
    finally:
        engine.close()
        callee.close()
