"""The body of a callout as a form, as multipart and as raw text."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pytest_httpserver import HTTPServer

from request_callout.engine.bodies.response import MAX_FIELDS
from request_callout.values import raw, text
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble

FORM = "application/x-www-form-urlencoded"
PARAMS = "kong.ctx.shared.callouts.a.request.params"


@pytest.fixture
def url(httpserver: HTTPServer) -> str:
    httpserver.expect_request("/").respond_with_data("ok")
    return httpserver.url_for("/")


@pytest.fixture
def sent(access: Access, url: str, httpserver: HTTPServer) -> Any:
    """Runs a callout with this body and gives the request that the callee got."""

    def run(body: dict[str, Any], client: bytes = b"", content_type: str | None = None, **request: Any) -> Any:
        headers = {"x-h": "a & b"} | ({"content-type": content_type} if content_type else {})
        kong = KongDouble(
            kong__request__get_raw_body=client,
            kong__request__get_headers=headers,
            kong__request__get_header=headers.get,
        )
        config = {"url": url, "method": "POST", "body": body, **request}
        kong = access({"callouts": [{"name": "a", "request": config}]}, kong)
        if kong.answer is not None:
            return kong.answer
        (got, _) = httpserver.log[-1]
        return got

    return run


def parts(got: Any) -> list[tuple[str, str]]:
    """Names and values of a multipart body, as a parser of mail reads them."""
    head = b"Content-Type: " + got.headers["Content-Type"].encode() + b"\r\n\r\n"
    message: Any = message_from_bytes(head + got.data, policy=HTTP)
    assert message.is_multipart()
    return [
        (text(raw(part.get_param("name", header="content-disposition"))), part.get_payload(decode=True).decode())
        for part in message.get_payload()
    ]


def test_form(sent: Any) -> None:
    """Format form: custom as an urlencoded form, with the Content-Type that belongs to it."""
    got = sent({"format": "form", "custom": {"a": "$(headers.x_h)", "b c": "ü=", "gone": "$(nil)"}})
    assert got.headers.getlist("Content-Type") == [FORM]
    assert parse_qsl(got.data.decode(), keep_blank_values=True) == [("a", "a & b"), ("b c", "ü="), ("gone", "")]


def test_typed_values_in_a_form(sent: Any) -> None:
    """With typed a list gives several fields, null none, a boolean its name and a table JSON."""
    custom = {"l": "$({1, 'x'})", "n": "$(nil)", "t": "$(1 == 1)", "o": "$({k = 1})", "f": "$(1.5)"}
    got = sent({"format": "form", "typed": True, "custom": custom})
    assert parse_qsl(got.data.decode()) == [("l", "1"), ("l", "x"), ("t", "true"), ("o", '{"k":1}'), ("f", "1.5")]


def test_forwarded_form_is_merged(sent: Any) -> None:
    """A forwarded form keeps every byte of what is neither set nor removed."""
    body = {"format": "form", "forward": True, "decode": True, "custom": {"a": "9"}, "remove": ["z"]}
    got = sent(body, b"a=1&flag&k=%41+x&z=1&k=2", FORM)
    assert got.data == b"flag&k=%41+x&k=2&a=9"


def test_forwarded_form_is_replaced_without_decode(sent: Any) -> None:
    """Without decode the client's form is not merged."""
    got = sent({"format": "form", "forward": True, "custom": {"a": "9"}}, b"k=1", FORM)
    assert got.data == b"a=9"


def test_forwarded_form_without_changes(sent: Any) -> None:
    """Without custom and remove a forwarded body goes on as it came, whatever it is."""
    got = sent({"format": "form", "forward": True, "decode": True}, b"<x/>", "text/xml")
    assert (got.data, got.headers["Content-Type"]) == (b"<x/>", "text/xml")


@pytest.mark.parametrize("body_format", ["form", "multipart"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data"])
def test_a_client_body_without_fields(sent: Any, body_format: str, content_type: str) -> None:
    """A client's body that is no form where it has to be merged is the client's mistake: 400."""
    body = {"format": body_format, "forward": True, "decode": True, "custom": {"a": "1"}}
    status, _, _ = sent(body, b'{"a": 1}', content_type)
    assert status == 400


@pytest.mark.parametrize("body_format", ["form", "multipart"])
def test_a_client_form_of_too_many_fields(sent: Any, body_format: str) -> None:
    """A form whose fields would cost many times its size is the client's mistake."""
    body = {"format": body_format, "forward": True, "decode": True, "custom": {"a": "1"}}
    status, _, _ = sent(body, b"&" * MAX_FIELDS, FORM)
    assert status == 400


@pytest.mark.parametrize("body_format", ["form", "multipart"])
def test_no_client_body_counts_as_no_fields(sent: Any, body_format: str) -> None:
    """An empty client body is merged as a form without fields, whatever its type is said to be."""
    body = {"format": body_format, "forward": True, "decode": True, "custom": {"a": "1"}}
    got = sent(body, b"", "application/json")
    assert (got.data == b"a=1") if body_format == "form" else (parts(got) == [("a", "1")])


def test_multipart(sent: Any) -> None:
    """Format multipart: one part for a field, under a Content-Type that names the boundary."""
    custom = {"a": "$(headers.x_h)", 'quote"': "line\r\n--x--", "ü": "ü"}
    got = sent({"format": "multipart", "custom": custom})
    assert parts(got) == [("a", "a & b"), ("quote%22", "line\r\n--x--"), ("ü", "ü")]
    assert got.headers["Content-Type"].startswith("multipart/form-data; boundary=")


def test_multipart_names_its_own_boundary(sent: Any) -> None:
    """A Content-Type from the configuration or the client gives way to the one that the body needs."""
    headers = {"forward": True, "custom": {"content-type": "multipart/form-data; boundary=mine"}}
    got = sent({"format": "multipart", "custom": {"a": "1"}}, b"", "text/plain", headers=headers)
    assert len(got.headers.getlist("Content-Type")) == 1
    assert parts(got) == [("a", "1")]


def test_the_boundary_belongs_to_the_fields(sent: Any) -> None:
    """Equal fields give equal bytes, so that a cache finds them again; others have another boundary."""
    first, second, other = (sent({"format": "multipart", "custom": {"a": value}}) for value in ("1", "1", "2"))
    assert (first.data, first.headers["Content-Type"]) == (second.data, second.headers["Content-Type"])
    assert first.headers["Content-Type"] != other.headers["Content-Type"]


def test_forwarded_multipart_is_merged(sent: Any) -> None:
    """A forwarded form, of either kind, is merged into either kind."""
    multipart = (
        b'--x\r\nContent-Disposition: form-data; name="k"\r\n\r\n1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nold\r\n'
        b'--x\r\nContent-Disposition: form-data; name="k"\r\n\r\n2 &\r\n--x--\r\n'
    )
    body = {"forward": True, "decode": True, "custom": {"a": "9"}}
    merged = [("k", "1"), ("k", "2 &"), ("a", "9")]
    got = sent({"format": "multipart", **body}, multipart, "multipart/form-data; boundary=x")
    assert parts(got) == merged
    got = sent({"format": "form", **body}, multipart, "multipart/form-data; boundary=x")
    assert parse_qsl(got.data.decode()) == merged
    got = sent({"format": "multipart", **body}, b"k=1&k=2+%26&a=old&flag", FORM)
    assert parts(got) == [("k", "1"), ("k", "2 &"), ("flag", ""), ("a", "9")]


def test_raw(sent: Any) -> None:
    """Format raw: the content with its expressions, as plain text, whatever the client sent."""
    body = {"format": "raw", "forward": True, "content": "<h>$(headers.x_h)</h>"}
    got = sent(body, b"client", "application/json", headers={"forward": True})
    assert got.data == b"<h>a & b</h>"
    assert got.headers.getlist("Content-Type") == ["text/plain; charset=utf-8"]


@pytest.mark.parametrize(
    "body", [{"format": "raw", "content": "a=1"}, {"format": "form", "custom": {"a": "1"}}], ids=["raw", "form"]
)
def test_a_content_type_of_ones_own(sent: Any, body: dict[str, Any]) -> None:
    """A Content-Type in headers.custom is the one that is sent."""
    got = sent(body, headers={"custom": {"content-type": "text/mine"}})
    assert got.headers.getlist("Content-Type") == ["text/mine"]
    assert got.data == b"a=1"


@pytest.mark.parametrize("body_format", ["form", "multipart", "raw"])
def test_scripts_see_the_text_and_may_replace_it(sent: Any, body_format: str) -> None:
    """In request.by_lua the body is the text that would be sent; a table in its place is sent as JSON."""
    body: dict[str, Any] = {"format": body_format, "custom": {"a": "1"}}
    if body_format == "raw":
        body = {"format": "raw", "content": "a"}
    script = f"local p = {PARAMS}; p.headers['X-Type'] = type(p.body); p.body = {{1}}; p.headers['Content-Type'] = nil"
    got = sent(body, by_lua=script.replace("'Content-Type'", '"Content-Type"'))
    assert (got.headers["X-Type"], got.data) == ("string", b"[1]")
    assert got.headers["Content-Type"] == "application/json"


def test_reads_of_the_client(access: Access, url: str) -> None:
    """The client's body and its type are read with everything else where a form is merged, and for raw not at all."""
    custom = {"custom": {"a": "1"}, "forward": True, "decode": True}
    for body, reads in (
        ({"format": "form", **custom}, ["kong.request.get_raw_body", "kong.request.get_header"]),
        ({"format": "multipart", **custom}, ["kong.request.get_raw_body", "kong.request.get_header"]),
        ({"format": "form", "custom": {"a": "1"}}, []),
        ({"format": "raw", "content": "x", "forward": True}, []),
    ):
        kong = access({"callouts": [{"name": "a", "request": {"url": url, "method": "POST", "body": body}}]})
        assert [name for name, _ in kong.log if name.startswith("kong.request.")] == reads
        assert kong.exchanges == bool(reads)
