"""XML to tables, from callees that nobody has to trust.

An element is a table: its attributes under ``@name``, its children under their names (a list where a name is
repeated), its text under ``#text``. An element with nothing but text is that text, an empty one the empty string.
Names keep their prefixes, all values are strings, and the white space around text is left out. The document is a table
with the one element it has.

What XML can do beyond that is refused: a document type declaration, and with it every entity of its own (defusedxml);
elements nested deeper than ``MAX_DEPTH``; more than ``MAX_NODES`` elements and attributes, since each costs many times
its size in memory. How long a document may be is the transport's business.
"""

from __future__ import annotations

import re
from io import StringIO
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, InputSource

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from request_callout.engine.bodies.charset import CharsetError, decode_charset, is_known, marked_charset
from request_callout.values import Value

MAX_DEPTH = 40
"""Elements in each other: each may be a table in a list, and Lua holds 100 levels."""
MAX_NODES = 100_000

_SPACE = " \t\r\n"
_DECLARED = re.compile(rb"""\s*<\?xml\s[^>]{0,200}?\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


class NotXmlError(ValueError):
    """Bytes that are no XML document, or one that uses what is refused."""


def decode_xml(data: bytes, charset: str | None) -> dict[str, Value]:
    """The table of a document; raises NotXmlError.

    ``charset``, from the ``Content-Type``, wins over what the document says of itself, but for a byte order mark
    (RFC 7303, section 3).
    """
    text = _text(data, charset)
    handler = _Tables()
    # All in one piece: expat goes over a long token again for each piece of it.
    parser = DefusedExpatParser(bufsize=len(text) + 1, forbid_dtd=True)
    parser.setContentHandler(handler)
    source = InputSource()
    source.setCharacterStream(StringIO(text))
    try:
        parser.parse(source)
    except DefusedXmlException:
        raise NotXmlError("it has a document type declaration, which is refused") from None
    except SAXException as error:
        raise NotXmlError(error.getMessage()) from None
    return handler.document


def _text(data: bytes, charset: str | None) -> str:
    declared = _DECLARED.match(data[:300])
    said = charset or (declared.group(1).decode("ascii").lower() if declared else "utf-8")
    name = marked_charset(data) or said
    if not is_known(name):
        raise NotXmlError(f"its charset {name!r} is not known")
    try:
        return decode_charset(data, name)
    except CharsetError as error:
        raise NotXmlError(str(error)) from None


class _Tables(ContentHandler):
    """Builds the table from the parser's events."""

    def __init__(self) -> None:
        super().__init__()
        self.document: dict[str, Value] = {}
        self._tables: list[dict[str, Value]] = [self.document]
        self._texts: list[list[str]] = [[]]
        self._nodes = 0

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802 (the interface of SAX)
        self._nodes += 1 + len(attrs)
        if self._nodes > MAX_NODES:
            raise SAXException(f"it has more than {MAX_NODES} elements and attributes")
        if len(self._tables) > MAX_DEPTH:
            raise SAXException(f"it nests deeper than {MAX_DEPTH} elements")
        self._tables.append({f"@{attribute}": value for attribute, value in attrs.items()})
        self._texts.append([])

    def characters(self, content: str) -> None:
        self._texts[-1].append(content)

    def endElement(self, name: str) -> None:  # noqa: N802
        table = self._tables.pop()
        content = "".join(self._texts.pop()).strip(_SPACE)
        if table and content:
            table["#text"] = content
        value: Value = table or content
        parent = self._tables[-1]
        there = parent.get(name)
        if there is None:
            parent[name] = value
        elif isinstance(there, list):
            there.append(value)
        else:
            parent[name] = [there, value]
