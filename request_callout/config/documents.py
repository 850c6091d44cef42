"""YAML and JSON texts as values and, beside them, as trees of nodes that know where in the text each value stands.

YAML is read as Kong reads it: by libyaml, and a date is a text. What it refuses PyYAML's own parser reads, which is
slow and says better what is wrong. JSON gives nodes of the same kind, since YAML would not take all that JSON allows (a
colon on the next line).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

try:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]
except ImportError:  # PyYAML can be built without libyaml
    CParser = None  # type: ignore[assignment, misc]

_MAX_DEPTH = 100
_MAX_VALUES = 1_000_000
_MAX_DIGITS = 300
_MAX_BITS = 1024
_JSON_SPACE = re.compile(r"[ \t\n\r]*")
_JSON_SCALAR = re.compile(r"[-+.\w]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REMEDIES = (
    ("character '\\t'", "indent with spaces instead of tabs"),
    ("mapping values are not allowed", "put a value that holds ': ' into quotes, or mend the indentation"),
    ("expected <block end>", "mend the indentation: the fields of a record begin in the same column"),
    ("could not find expected ':'", "write NAME: VALUE, with a blank after the colon"),
    ("could not determine a constructor for the tag", "leave the tag out: Kong knows none"),
    ("found undefined alias", "define it before with &NAME, or put a value that begins with * into quotes"),
    ("found character '@'", "put a value that begins with @ into quotes"),
    ("found character '`'", "put a value that begins with ` into quotes"),
    ("found unexpected end of stream", "close the quotes"),
    ("found character '%'", "put a value that begins with % into quotes"),
    ("found '<stream end>'", "close the bracket"),
    ("expected ',' or", "close the bracket, or put a value that holds one into quotes"),
)
"""What in the words of the YAML library tells which mistake it was, and what to do then."""

_HELM = re.compile(
    r"(?<!\$)\{\{-?\s*(?:[.$]|/\*|(?:if|else|end|range|with|include|template|define|block|tpl|toYaml)\b)"
)
_RENDER = "this is a template of Helm's: validate what it makes, by helm template CHART | request-callout validate -"
_JSON_REMEDIES = (
    ("//", "JSON has no comments: remove it"),
    ("/*", "JSON has no comments: remove it"),
    ("#", "JSON has no comments: remove it"),
    ("'", 'put names and texts into double quotes (")'),
)

_UNDECODED = {chr(0xDC00 + byte) for byte in range(0x80, 0x100)}
"""What ``surrogateescape`` makes of bytes that are no UTF-8."""

_JSON_TAGS = {bool: "bool", int: "int", float: "float", type(None): "null"}


class Unreadable(ValueError):
    """A text that is no YAML or JSON document; ``line`` and ``column`` count from 1, None where not known."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}, column {column}: {message}")
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its value, its node, the keys that stand twice in one record, and where in the text it starts."""

    value: Any
    node: yaml.Node
    start: int
    duplicates: tuple[Duplicate, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that its record has already; only the last one counts. ``index`` is where in the text it stands."""

    path: str
    index: int


class _Loader(yaml.SafeLoader):
    """YAML as Kong reads it: a date is a text; every error has a mark."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
            if isinstance(value, int) and value.bit_length() > _MAX_BITS:  # of hexadecimal or sexagesimal digits
                raise OverflowError
            return value
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            message = f"can't be read as {kind}"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None


class _FastLoader(_Loader):
    """The same by libyaml; nodes are made in Python, since its binding ends the process for one nested very deep."""

    def __init__(self, text: str) -> None:
        super().__init__("")
        parser = CParser(text)
        self.check_event = parser.check_event  # type: ignore[method-assign]
        self.peek_event = parser.peek_event  # type: ignore[method-assign]
        self.get_event = parser.get_event  # type: ignore[method-assign]


def read_documents(text: str, *, strict_json: bool = False) -> list[Document]:
    """Every document in a text that is not empty; raises Unreadable with the place of what is wrong.

    ``strict_json``: the text has to be JSON, as that of a file with this ending.
    """
    try:
        if strict_json or text.lstrip()[:1] in ("{", "["):
            try:
                return [_json(text)]
            except json.JSONDecodeError as error:
                if strict_json:
                    message, position = _wrong_json(error)
                    raise Unreadable(f"no valid JSON: {message}", *line_and_column(text, position)) from None
        try:
            return list(_yaml(text, _Loader if CParser is None else _FastLoader))
        except (yaml.YAMLError, UnicodeEncodeError):
            return list(_yaml(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part) or "no valid YAML"
        remedies = [_RENDER] if _HELM.search(text) else [remedy for words, remedy in _REMEDIES if words in message]
        message = "; ".join([message, *remedies[:1]])
        if mark is None:
            raise Unreadable(message) from None
        raise Unreadable(message, *line_and_column(text, mark.index)) from None
    except yaml.reader.ReaderError as error:
        message = "a character that YAML does not allow"
        if text[error.position : error.position + 1] in _UNDECODED:
            message = "is no UTF-8 text; save it as UTF-8"
        raise Unreadable(message, *line_and_column(text, error.position)) from None
    except RecursionError:
        raise Unreadable("nested too deep", 1, 1) from None


def _wrong_json(error: json.JSONDecodeError) -> tuple[str, int]:
    """What is wrong and where: a comma too many is told by every Python as it is from 3.13 on."""
    read = error.doc[: error.pos].rstrip()
    kind = {"}": "object", "]": "array"}.get(error.doc[error.pos : error.pos + 1])
    if kind is not None and read.endswith(","):
        return f"Illegal trailing comma before end of {kind}", len(read) - 1
    if error.msg == "Extra data":
        return "something follows after the document's end; a file holds one", error.pos
    remedy = next((remedy for mark, remedy in _JSON_REMEDIES if error.doc.startswith(mark, error.pos)), None)
    return error.msg if remedy is None else f"{error.msg}; {remedy}", error.pos


def line_and_column(text: str, index: int) -> tuple[int, int]:
    """Where a character stands, from 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _yaml(text: str, kind: type[_Loader]) -> Iterator[Document]:
    loader = kind(text)
    try:
        while loader.check_node():
            start = loader.peek_event().start_mark.index  # type: ignore[no-untyped-call]
            node = loader.get_node()
            if node is None:
                continue
            _refuse_expansion(node)
            duplicates = tuple(_duplicates(node, ""))
            value = loader.construct_document(node)
            if value is not None:
                yield Document(value, node, start, duplicates)
    finally:
        loader.dispose()


def _json(text: str) -> Document:
    value = json.loads(text, parse_int=_number)
    node = _JsonNodes(text).document()
    _refuse_expansion(node)
    return Document(value, node, 0, tuple(_duplicates(node, "")))


def _number(digits: str) -> int | float:
    """A whole number as Kong reads it: one of hundreds of digits is no longer a whole one."""
    return int(digits) if len(digits) < _MAX_DIGITS else float(digits)


class _JsonNodes:
    """The nodes of a text that is known to be JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> yaml.Node:
        return self._value()

    def _value(self) -> yaml.Node:
        start = self._next()
        character = self._text[start]
        if character == "{":
            pairs = []
            while self._more("}"):
                key = self._value()
                self._at = self._next() + 1  # the colon
                pairs.append((key, self._value()))
            return yaml.MappingNode("tag:yaml.org,2002:map", pairs, self._mark(start), self._mark(self._at))
        if character == "[":
            values = []
            while self._more("]"):
                values.append(self._value())
            return yaml.SequenceNode("tag:yaml.org,2002:seq", values, self._mark(start), self._mark(self._at))
        if character == '"':
            text, self._at = json.decoder.scanstring(self._text, start + 1)  # type: ignore[attr-defined]
            return self._scalar("str", text, start, '"')
        found = _JSON_SCALAR.match(self._text, start)
        word = "" if found is None else found.group()
        self._at = start + len(word)
        return self._scalar(_JSON_TAGS[type(json.loads(word, parse_int=_number))], word, start, None)

    def _scalar(self, kind: str, text: str, start: int, style: str | None) -> yaml.Node:
        return yaml.ScalarNode(f"tag:yaml.org,2002:{kind}", text, self._mark(start), self._mark(self._at), style=style)

    def _more(self, closing: str) -> bool:
        """Step over an opening bracket or a comma; False, and over the closing one, at the end."""
        start = self._next()
        if self._text[start] in "{[,":
            self._at = start + 1
            start = self._next()
        if self._text[start] == closing:
            self._at = start + 1
            return False
        return True

    def _next(self) -> int:
        found = _JSON_SPACE.match(self._text, self._at)
        return self._at if found is None else found.end()

    def _mark(self, index: int) -> yaml.Mark:
        return yaml.Mark("", index, 0, 0, None, 0)  # lines and columns are computed from the index


def _refuse_expansion(root: yaml.Node) -> None:
    """Raise for a document whose aliases make it endless or huge, or that is nested too deep."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def refuse(node: yaml.Node, message: str) -> NoReturn:
        raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)

    def size(node: yaml.Node, depth: int) -> int:
        if isinstance(node, yaml.ScalarNode):
            if _SURROGATE.search(node.value):
                refuse(node, "half a character: a surrogate (\\ud800 to \\udfff) without the other of its pair")
            return 1
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            refuse(node, "this value holds itself by an alias")
        if depth > _MAX_DEPTH:
            refuse(node, f"nested deeper than {_MAX_DEPTH} levels")
        open_nodes.add(id(node))
        children = node.value if isinstance(node, yaml.SequenceNode) else [one for pair in node.value for one in pair]
        total = 1 + sum(size(child, depth + 1) for child in children)
        if total > _MAX_VALUES:
            refuse(node, f"has more than {_MAX_VALUES} values, its aliases counted as often as they are used")
        open_nodes.discard(id(node))
        sizes[id(node)] = total
        return total

    size(root, 0)


def _duplicates(node: yaml.Node, path: str) -> Iterator[Duplicate]:
    seen: set[int] = set()
    stack = [(node, path)]
    while stack:
        node, path = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack += [(child, f"{path}[{place}]") for place, child in enumerate(node.value, 1)]
        elif isinstance(node, yaml.MappingNode):
            names: set[tuple[str, str]] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                name = f"{path}.{key.value}" if path else str(key.value)
                if (key.tag, key.value) in names:
                    yield Duplicate(name, key.start_mark.index)
                names.add((key.tag, key.value))
                stack.append((value, name))
