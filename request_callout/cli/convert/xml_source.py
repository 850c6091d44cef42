"""XML files that nobody has to trust, as small trees that know on which line each element begins.

Refused are document type declarations, and with them every entity of a document's own; elements nested deeper than
``MAX_DEPTH``; and more than ``MAX_ELEMENTS`` of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from request_callout.cli.convert.report import Unconvertible

MAX_DEPTH = 100
MAX_ELEMENTS = 50_000


@dataclass(slots=True)
class Element:
    """An element; ``text`` is all text directly in it, without the space around it."""

    name: str
    file: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    text: str = ""

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.file} line {self.line}".lstrip()

    def all(self, *path: str) -> Iterator[Element]:
        """Every element that a path of names leads to."""
        if not path:
            yield self
            return
        for child in self.children:
            if child.name == path[0]:
                yield from child.all(*path[1:])

    def first(self, *path: str) -> Element | None:
        """The first of these."""
        return next(self.all(*path), None)

    def said(self, *path: str) -> str:
        """The text of the first of these, empty if there is none."""
        found = self.first(*path)
        return "" if found is None else found.text

    def is_true(self, attribute: str, default: bool) -> bool:
        """An attribute that is true or false."""
        value = self.attributes.get(attribute, "").strip().lower()
        return value == "true" if value in ("true", "false") else default


def parsed(data: bytes, file: str) -> Element:
    """The root element of a file; raises Unconvertible with the place of what is wrong."""
    reader = _Reader(file)
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    reader.parser = parser
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        place = f"{file} line {error.lineno}".lstrip()
        raise Unconvertible(place, f"is no XML: {expat.errors.messages.get(error.code, error)}") from None
    except (LookupError, ValueError) as error:  # an encoding that there is not
        raise Unconvertible(file, f"is no XML that can be read: {error}") from None
    if reader.root is None:
        raise Unconvertible(file, "is no XML: it has no element")
    return reader.root


class _Reader:
    def __init__(self, file: str) -> None:
        self.root: Element | None = None
        self.parser: expat.XMLParserType
        self._file = file
        self._open: list[Element] = []
        self._count = 0

    def refuse_doctype(self, *_: object) -> None:
        raise Unconvertible(self._place(), "has a document type declaration (DOCTYPE), which is not read; remove it")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise Unconvertible(self._place(), f"more than {MAX_ELEMENTS} elements, or nested deeper than {MAX_DEPTH}")
        element = Element(name, self._file, self.parser.CurrentLineNumber, dict(attributes))
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def characters(self, text: str) -> None:
        self._open[-1].text += text

    def _place(self) -> str:
        return f"{self._file} line {self.parser.CurrentLineNumber}".lstrip()
