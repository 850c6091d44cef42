"""What is taken out of texts before people see them."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from request_callout.telemetry.masking import MAX_BODY_BYTES, Mask


def mask(*secrets: str) -> Mask:
    """A mask for a configuration with these secrets."""

    def without(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return Mask(without)


def shown(data: str | bytes, content_type: str | None = None, made: Mask | None = None) -> str:
    body = (made or mask()).body(data if isinstance(data, bytes) else data.encode(), content_type)
    assert body is not None
    return body.text or body.note or ""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"a": {"password": "PLANTED"}}', "application/json"),
        ('[{"token": ["PLANTED", {"x": "PLANTED"}]}]', None),
        ('{"name": "api_key", "value": "PLANTED"}', None),
        ('{"next": "https://u:PLANTED@h/?token=PLANTED"}', None),
        ('{"said": "Authorization: Bearer PLANTED"}', None),
        ('{"broken": 1, "secret": "PLANTED', "application/json"),
        ("user=1&password=PLANTED&x=2", "application/x-www-form-urlencoded"),
        ("pass%77ord=PLANTED", "application/x-www-form-urlencoded"),
        ("<a><Password>PLANTED</Password></a>", "application/xml"),
        ('<a ns:apiKey="PLANTED"/>', "text/xml"),
        ("Cookie: a=b; c=PLANTED\nx: 1", "text/plain"),
        ("password = 'PLANTED'", "text/plain"),
        (
            '--b\r\nContent-Disposition: form-data; name="secret"\r\n\r\nPLANTED\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
        (
            '--b\r\nContent-Disposition: form-data; filename="x"; name="password"\r\n\r\nPLANTED\r\n--b--',
            'multipart/form-data; Boundary="b"',
        ),
        ("<a><password><![CDATA[PLANTED]]></password></a>", "text/xml"),
        ("<a><password>x<![CDATA[<PLANTED]]>PLANTED</password></a>", None),
        ("<a><password><![CDATA[PLANTED", None),
    ],
)
def test_bodies_of_every_structure(body: str, content_type: str | None) -> None:
    """A secret goes from JSON, forms, XML, multipart and text; that it was there is seen."""
    text = shown(body, content_type)
    assert "PLANTED" not in text
    assert "***" in text


def test_the_rest_of_a_body_stays() -> None:
    """What is no secret is shown as it is."""
    assert (
        shown('{"id": 7, "on": true, "token": null, "text": "a: b"}') == '{"id":7,"on":true,"token":null,"text":"a: b"}'
    )
    assert shown("a=1&b=%20&c", "application/x-www-form-urlencoded") == "a=1&b=%20&c"
    assert shown("two\nlines") == "two\nlines"


def test_what_was_learnt_is_hidden_everywhere() -> None:
    """Values of secret headers do not come back by another way, in any of their forms."""
    made = mask("from-the-configuration")
    basic = b64encode(b"user:basic-password").decode()
    made.learn_headers([("Authorization", f"Basic {basic}"), ("cookie", "a=1; sid=cookie/value")])
    said = f"basic-password {basic} cookie/value cookie%2Fvalue from-the-configuration"
    assert shown(json.dumps({"echo": said}), made=made) == '{"echo":"*** *** *** *** ***"}'
    assert made.headers([("X-Echo", said)]) == [["X-Echo", "*** *** *** *** ***"]]


def test_headers_with_urls_show_no_values_of_queries() -> None:
    """Where a redirect leads is shown, without values and user info."""
    assert mask().header("Location", "https://u:p@h/a?code=1&b=2#c") == "https://***@h/a?code=***&b=***#c"
    assert mask().header("Location", "/a?code=1") == "/a?code=***"


def test_with_too_many_secrets_nothing_is_shown() -> None:
    """What would take the worker seconds to look through, and a callee can send, is hidden as a whole."""
    made = mask()
    body = json.dumps({"keys": [{"key": f"secret{n}"} for n in range(7000)], "texts": ["text"] * 7000})
    made.learn_message("", [], body.encode())
    assert shown(body, made=made) == "too many secrets in this request, not shown"
    assert made.headers([("X-A", "about secret7")]) == [["***", "***"]]
    assert made.url("http://h/secret7?secret8") == "***"


def test_bodies_that_cannot_be_looked_through_are_not_shown() -> None:
    """Binary and very large bodies give their size."""
    assert shown(b"\xff\xfe") == "binary, not shown"
    assert shown(b"x" * (MAX_BODY_BYTES + 1)) == "larger than 256 KiB, not shown"


@pytest.mark.parametrize(
    "piece",
    ["key", 'key="', "key='", "<token", "://a", "token:", "token \t", '"\\', "bearer ", "a=", "{", "<a:b token"],
)
def test_no_text_takes_long(piece: str) -> None:
    """The patterns do not go back and forth: else the largest body would take hours, and the test its time."""
    assert shown((piece * MAX_BODY_BYTES)[:MAX_BODY_BYTES])
