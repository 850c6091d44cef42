"""Bodies that are not JSON: what a callee gets, and what becomes of what it says."""

from __future__ import annotations

import json
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.conformance.callee import Received, Reply
from tests.conformance.site import Site, callout

FORM = "application/x-www-form-urlencoded"


def sent(site: Site, body: dict[str, Any], client: bytes = b"", content_type: str = FORM) -> Received:
    """What the callee gets for this body of a callout."""
    site.configure([callout("a", "/a", method="POST", body=body)])
    answer = site.request("POST", "", {"Content-Type": content_type, "X-H": "a & b"}, client)
    assert answer.status == 200, answer.text
    return site.callee.one("/a")


def parts(received: Received) -> list[tuple[Any, str]]:
    """Names and values of a multipart body, as a parser of mail reads them."""
    head = f"Content-Type: {received.header('Content-Type')}\r\n\r\n".encode()
    message: Any = message_from_bytes(head + received.body)
    return [
        (part.get_param("name", header="content-disposition"), part.get_payload(decode=True).decode())
        for part in message.get_payload()
    ]


def test_request_body_format_form(site: Site) -> None:
    """body.format form: custom goes out as an urlencoded form with its Content-Type."""
    got = sent(site, {"format": "form", "custom": {"a": "$(headers.x_h)", "b": "1"}})
    assert got.all("Content-Type") == [FORM]
    assert dict(parse_qsl(got.body.decode())) == {"a": "a & b", "b": "1"}


def test_request_body_format_form_merges(site: Site) -> None:
    """A forwarded form is merged with custom and remove when decode is true."""
    body = {"format": "form", "forward": True, "decode": True, "custom": {"a": "9"}, "remove": ["z"]}
    got = sent(site, body, b"a=1&k=2&z=3&k=4")
    assert sorted(parse_qsl(got.body.decode())) == [("a", "9"), ("k", "2"), ("k", "4")]


def test_request_body_format_form_needs_a_form(site: Site) -> None:
    """A client's body that is no form where it has to be merged is a 400, and nothing is called."""
    body = {"format": "form", "forward": True, "decode": True, "custom": {"a": "9"}}
    site.configure([callout("a", "/a", method="POST", body=body)])
    assert site.post_json({"k": 1}).status == 400
    assert not site.callee.received()


def test_request_body_format_multipart(site: Site) -> None:
    """body.format multipart: a part for each field, and a Content-Type with the boundary."""
    got = sent(site, {"format": "multipart", "custom": {"a": "$(headers.x_h)", "b": "line\r\nline"}})
    assert parts(got) == [("a", "a & b"), ("b", "line\r\nline")]


def test_request_body_format_multipart_merges(site: Site) -> None:
    """A forwarded multipart form is merged with custom when decode is true."""
    client = b'--x\r\nContent-Disposition: form-data; name="k"\r\n\r\n1\r\n--x--\r\n'
    body = {"format": "multipart", "forward": True, "decode": True, "custom": {"a": "9"}}
    assert parts(sent(site, body, client, "multipart/form-data; boundary=x")) == [("k", "1"), ("a", "9")]


def test_request_body_format_multipart_is_cached(site: Site) -> None:
    """Equal fields are an equal request to the cache."""
    body = {"format": "multipart", "custom": {"a": "1"}}
    site.configure([callout("a", "/a", method="POST", body=body)], cache={"strategy": "memory"})
    for _ in range(2):
        assert site.get().status == 200
    assert len(site.callee.received("/a")) == 1


def test_request_body_format_raw(site: Site) -> None:
    """body.format raw: the content with its expressions, as plain text unless headers.custom says otherwise."""
    got = sent(site, {"format": "raw", "content": "<q>$(headers.x_h)</q>"})
    assert (got.body.decode(), got.all("Content-Type")) == ("<q>a & b</q>", ["text/plain; charset=utf-8"])
    headers = {"custom": {"Content-Type": "application/xml"}}
    site.configure([callout("a", "/b", method="POST", headers=headers, body={"format": "raw", "content": "<q/>"})])
    site.get()
    got = site.callee.one("/b")
    assert (got.body, got.all("Content-Type")) == (b"<q/>", ["application/xml"])


def test_request_body_format_json(site: Site) -> None:
    """body.format json is what a body is without a format."""
    got = sent(site, {"format": "json", "custom": {"a": "1"}})
    assert (got.json, got.all("Content-Type")) == ({"a": "1"}, ["application/json"])


def decoded(site: Site, reply: Reply, body_format: str, **response: Any) -> Any:
    site.callee.on("/a", reply)
    site.configure([callout("a", "/a", response={"body": {"format": body_format, **response}})], witness=True)
    return site.context()["a"]["response"].get("body")


XML = b"<user id='7'><name>Ida</name><tag>a</tag><tag>b</tag></user>"


@pytest.mark.parametrize(
    ("body_format", "body", "value"),
    [
        ("json", b'{"a": [1, "x"]}', {"a": [1, "x"]}),
        ("form", b"a=1&b=%26&a=2", {"a": ["1", "2"], "b": "&"}),
        ("xml", XML, {"user": {"@id": "7", "name": "Ida", "tag": ["a", "b"]}}),
        ("text", b'{"a": 1}', '{"a": 1}'),
    ],
)
def test_response_body_format(site: Site, body_format: str, body: bytes, value: Any) -> None:
    """response.body.format says as what the body is decoded; decode need not be set."""
    assert decoded(site, Reply(200, body), body_format) == value


def test_response_body_format_text_charset(site: Site) -> None:
    """Text comes in UTF-8, from the charset that the callee names."""
    reply = Reply(200, "grüße".encode("iso-8859-1"), (("Content-Type", "text/plain; charset=ISO-8859-1"),))
    assert decoded(site, reply, "text") == "grüße"


@pytest.mark.parametrize("body", [b"{}", b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", b"<a>" * 1000 + b"</a>" * 1000])
def test_response_body_format_that_does_not_fit(site: Site, body: bytes) -> None:
    """A body that can't be read in its format, hostile XML too, is an error of the callout."""
    site.callee.on("/a", Reply(200, body))
    site.configure([callout("a", "/a", response={"body": {"format": "xml"}})])
    assert site.get().status == 400
    assert not site.upstream.received()


def test_response_body_format_in_expressions(site: Site) -> None:
    """Expressions follow paths through a table of XML."""
    site.callee.on("/a", Reply(200, XML))
    sees = "callouts.a.response.body.user['@id'] .. callouts.a.response.body.user.tag[2]"
    assert site.sees(sees, callouts=[callout("a", "/a", response={"body": {"format": "xml"}})]) == "7b"


@pytest.mark.parametrize(
    "body",
    [{"format": "raw"}, {"format": "yaml"}, {"content": "x"}, {"format": "raw", "content": "x", "custom": {"a": "1"}}],
    ids=json.dumps,
)
def test_request_body_formats_that_make_no_sense(site: Site, body: dict[str, Any]) -> None:
    """Raw needs content, and content raw; no other format exists."""
    declaration = site.declaration([site.plugin([callout("a", "/a", body=body)])])
    answer = site.gateway.post(declaration)
    if answer.status != 400:  # what Kong's schema can't say is found when the instance starts
        site.unusable([callout("a", "/a", body=body)])
