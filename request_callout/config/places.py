"""Where in a file a value stands, or a character within a text that the value is: its line and column.

A file's text may be made in steps: decK puts environment variables into it, and a value may be JSON itself. Each step
is a ``Source`` that knows where its characters are in the one before.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import yaml

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")  # of a YAML node: anchor and tag
_DIGITS = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column, both from 1; a column counts characters."""

    line: int
    column: int


class Source:
    """A text whose characters have places in a file: its own, or those that ``outward`` leads to in ``outer``."""

    def __init__(self, text: str, outer: Source | None = None, outward: Callable[[int], int] | None = None) -> None:
        self.text = text
        self._outer = outer
        self._outward = outward
        self._lines = [0] + [found.end() for found in re.finditer("\n", text)]

    def place(self, index: int) -> Place:
        """The place of a character."""
        if self._outer is not None and self._outward is not None:
            return self._outer.place(self._outward(index))
        line = bisect_right(self._lines, index)
        return Place(line, index - self._lines[line - 1] + 1)

    def index(self, line: int, column: int) -> int:
        """The character at a line and column of this text."""
        return min(self._lines[min(line, len(self._lines)) - 1] + column - 1, len(self.text))


@dataclass(frozen=True, slots=True)
class Located:
    """A node and the text that its marks are of."""

    node: yaml.Node
    source: Source

    def find(self, path: str, *, key: bool = False, offset: int | None = None) -> Place:
        """The place of what ``path`` leads to (as ``.callouts[1].request.url``), or of the last on the way to it.

        ``key``: of the field's name instead of its value. ``offset``: of this character of the text that it is.
        """
        node, name_node, rest = _walk(self.node, path)
        if key and name_node is not None and not rest:
            return self.source.place(name_node.start_mark.index)
        if offset is not None and not rest and isinstance(node, yaml.ScalarNode):
            return self.source.place(_indices(node, self.source.text, offset + 1)[offset])
        return self.source.place(node.start_mark.index)

    def has(self, path: str) -> bool:
        """Whether all of the path is there."""
        return not _walk(self.node, path)[2]

    def below(self, path: str) -> Located:
        """What the path leads to, or the last on the way."""
        return Located(_walk(self.node, path)[0], self.source)

    def embedded(self, text: str, node: yaml.ScalarNode) -> Source:
        """The source of the text that a scalar is."""
        indices = _indices(node, self.source.text, len(text) + 1)
        return Source(text, self.source, lambda index: indices[min(index, len(indices) - 1)])


def _walk(node: yaml.Node, path: str) -> tuple[yaml.Node, yaml.Node | None, str]:
    """The last node on a path, the node of the name that led to it, and what of the path is left."""
    name_node: yaml.Node | None = None
    while path:
        if isinstance(node, yaml.SequenceNode) and (found := re.match(r"\[([0-9]+)\]", path)):
            number = int(found[1])
            if not 1 <= number <= len(node.value):
                break
            node, name_node, path = node.value[number - 1], None, path[found.end() :]
            continue
        if not isinstance(node, yaml.MappingNode):
            break
        best = ""
        for key, value in reversed(node.value):  # the last one counts, and what is merged stands first
            for name in _names(key):
                if len(name) > len(best) and path.startswith(name) and path[len(name) :][:1] in ("", ".", "["):
                    best, following, following_name = name, value, key
        if not best:
            break
        node, name_node, path = following, following_name, path[len(best) :]
    return node, name_node, path


def _names(key: yaml.Node) -> tuple[str, ...]:
    if not isinstance(key, yaml.ScalarNode):
        return ()
    if key.tag == "tag:yaml.org,2002:bool":
        return (f".{str(key.value).lower() in ('true', 'yes', 'on')}", f".{key.value}")
    return (f".{key.value}",)


def _indices(node: yaml.ScalarNode, text: str, count: int) -> list[int]:
    """Where the first ``count`` characters of a scalar are in the text; blanks that YAML folds only nearly."""
    value = str(node.value)
    properties = _PROPERTIES.match(text, node.start_mark.index)
    at = node.start_mark.index if properties is None else properties.end()
    if node.style in ("|", ">"):
        at = text.find("\n", at) + 1
    elif node.style in ("'", '"'):
        at += 1
    end = len(text)
    indices: list[int] = []
    for character in value[:count]:
        while node.style == '"' and text.startswith("\\\n", at):
            at += 2
            while at < end and text[at] in " \t":
                at += 1
        if not character.isspace():
            while at < end and text[at].isspace():
                at += 1
        indices.append(min(at, end))
        if node.style == '"' and at < end and text[at] == "\\":
            at += _escape(text, at, character)
        elif node.style == "'" and text.startswith("''", at):
            at += 2
        elif at < end and (text[at] == character or not character.isspace()):
            at += 1
    while len(indices) < count:
        indices.append(min(at, end))
    return indices


def _escape(text: str, at: int, character: str) -> int:
    """The length of an escape; two of JSON's make one character beyond the basic plane."""
    length = 2 + _DIGITS.get(text[at + 1 : at + 2], 0)
    if ord(character) > 0xFFFF and length == 6:
        return 2 * length
    return length
