"""XML to tables: the mapping, and what a hostile document comes to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from request_callout.engine.bodies.charset import _CODECS, decode_charset
from request_callout.engine.bodies.xml import MAX_DEPTH, MAX_NODES, NotXmlError, decode_xml


@pytest.mark.parametrize(
    ("document", "table"),
    [
        ("<a/>", {"a": ""}),
        ("<a>text</a>", {"a": "text"}),
        ("<a>\n  <b>1</b>\n</a>", {"a": {"b": "1"}}),
        ("<a> padded\n</a>", {"a": "padded"}),
        ("<a>non-breaking\u00a0</a>", {"a": "non-breaking\u00a0"}),
        ('<a id="7"/>', {"a": {"@id": "7"}}),
        ('<a id="7">text</a>', {"a": {"@id": "7", "#text": "text"}}),
        ("<a><b>1</b><c/><b>2</b><b/></a>", {"a": {"b": ["1", "2", ""], "c": ""}}),
        ("<a><b><c/></b><b><c>x</c></b></a>", {"a": {"b": [{"c": ""}, {"c": "x"}]}}),
        ("<a>one <b>two</b> three</a>", {"a": {"b": "two", "#text": "one  three"}}),
        ("<a><![CDATA[<b>&amp;</b>]]></a>", {"a": "<b>&amp;</b>"}),
        ("<a>&lt;&#65;&#x42;&amp;</a>", {"a": "<AB&"}),
        ("<?xml version='1.0'?><!-- c --><a><?p i?>x<!-- c -->y</a>", {"a": "xy"}),
        ('<s:E xmlns:s="urn:s"><s:B/></s:E>', {"s:E": {"@xmlns:s": "urn:s", "s:B": ""}}),
        ('<a x="1"><x>2</x></a>', {"a": {"@x": "1", "x": "2"}}),
    ],
)
def test_the_mapping(document: str, table: Any) -> None:
    """Attributes stand under @name, text under #text or for the element itself, repeated children are lists."""
    assert decode_xml(document.encode(), None) == table


@pytest.mark.parametrize(
    ("document", "charset"),
    [
        ("<a>ü€</a>".encode(), None),
        ("<a>ü€</a>".encode("utf-8-sig"), None),
        ("<a>ü€</a>".encode("utf-16"), None),
        ("<a>ü€</a>".encode("utf-8-sig"), "iso-8859-1"),
        ("<?xml version='1.0' encoding='Windows-1252'?><a>ü€</a>".encode("cp1252"), None),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><a>ü€</a>".encode(), "utf-8"),
        ("<a>ü€</a>".encode("iso-8859-15"), "iso-8859-15"),
        ("<?xml version='1.0' encoding='utf-16'?><a>ü€</a>".encode("utf-16"), None),
    ],
)
def test_the_charset(document: bytes, charset: str | None) -> None:
    """The byte order mark tells the charset, else the Content-Type, else the document, else it is UTF-8."""
    assert decode_xml(document, charset) == {"a": "ü€"}


def test_every_charset_has_a_codec() -> None:
    """Text of every charset that is known to this can be read."""
    assert all(decode_charset("x".encode(codec), name) == "x" for name, codec in _CODECS.items())


def refused(document: bytes) -> str:
    with pytest.raises(NotXmlError) as error:
        decode_xml(document, None)
    return str(error.value)


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b" ", b"text", b"{}", b"<a>", b"</a>", b"<a/><b/>", b"<a></b>", b'<a x="1" x="2"/>', b"<a>&nbsp;</a>"),
        *(b"<a>\xff</a>", b"<a>\x00</a>", b"<a b=c/>", b"<a>&#0;</a>", b"\xff\xfe<\x00a\x00/\x00>"),
    ],
)
def test_what_is_no_xml(document: bytes) -> None:
    """Anything that is not one well-formed document is an error."""
    assert refused(document)


@pytest.mark.parametrize("charset", [b"zlib", b"unicode_escape", b"utf-7", b"idna", b"x-no-such", b"base64", b"hex"])
def test_other_charsets(charset: bytes) -> None:
    """A document can't name a codec of the host's language that is none of the web."""
    assert "charset" in refused(b"<?xml version='1.0' encoding='" + charset + b"'?><a/>")


def billion_laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><a>&l9;</a>'.encode()


@pytest.mark.parametrize(
    "document",
    [
        billion_laughs(),
        b'<!DOCTYPE a [<!ENTITY x "' + b"y" * 100_000 + b'">]><a>' + b"&x;" * 100_000 + b"</a>",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd">%x;]><a/>',
        b'<!DOCTYPE a PUBLIC "-//W3C//DTD XHTML 1.0//EN" "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ATTLIST a x CDATA "y">]><a/>',
        b"<!DOCTYPE html><html/>",
        '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'.encode("utf-16"),
    ],
)
def test_document_types_are_refused(document: bytes) -> None:
    """A document that declares a type is refused, so that it has no entities, of its own or from elsewhere."""
    assert "document type" in refused(document)


def test_nothing_is_fetched() -> None:
    """A document that names another one does not make anybody connect."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        for declared in (f'[<!ENTITY x SYSTEM "{url}">]', f'SYSTEM "{url}"', f'[<!ENTITY % x SYSTEM "{url}"> %x;]'):
            refused(f"<!DOCTYPE a {declared}><a>&x;</a>".encode())
        included = f'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{url}"/></a>'
        assert decode_xml(included.encode(), None)["a"]["xi:include"] == {"@href": url}
        with pytest.raises(BlockingIOError):
            server.accept()


def test_depth() -> None:
    """Elements may nest as deep as the limit and no deeper, and a table of that depth fits into Lua."""
    assert decode_xml(b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH, None)
    assert "deeper" in refused(b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1))
    assert "deeper" in refused(b"<a>" * 1_000_000)


def test_number_of_nodes() -> None:
    """Elements and attributes are counted together, up to the limit."""
    fits = MAX_NODES - 1
    assert len(decode_xml(b"<a>" + b"<b/>" * fits + b"</a>", None)["a"]["b"]) == fits
    assert "more than" in refused(b"<a>" + b"<b/>" * (fits + 1) + b"</a>")
    assert "more than" in refused(b"<a>" + b'<b x="1"/>' * fits + b"</a>")
    assert "more than" in refused(b"<a " + b" ".join(b'x%d=""' % number for number in range(MAX_NODES)) + b"/>")


@pytest.mark.parametrize(
    "document",
    [
        b'<a x="' + b"y" * 5_000_000 + b'"/>',
        b"<a>" + b"&lt;" * 1_000_000 + b"</a>",
        b"<a>" + b"\n" * 5_000_000 + b"</a>",
        b"<" + b"a" * 5_000_000 + b"/>",
        b"<a>" + b"<!---->" * 700_000 + b"</a>",
    ],
)
@pytest.mark.timeout(30)
def test_large_parts_take_no_more_than_their_size(document: bytes) -> None:
    """A huge attribute, name, text or number of comments is read in one go, however it is made."""
    assert len(decode_xml(document, None)) == 1
