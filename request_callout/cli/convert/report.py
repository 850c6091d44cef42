"""What a conversion could not take over: the place in the source, what it is, why, and what to do instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal["left_out", "differs"]


class Unconvertible(Exception):
    """A source that can't be converted at all; ``place`` is where in it, empty for the whole."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of the source.

    ``left_out``: it is not in the result. ``differs``: it is, but behaves differently in a case that ``why`` names.
    """

    kind: Kind
    place: str
    what: str
    why: str
    instead: str

    def __str__(self) -> str:
        verdict = "left out" if self.kind == "left_out" else "differs"
        what = "" if self.what == self.place else f"{self.what}: "
        return f"{self.place}: {what}{verdict}: {self.why}; {self.instead}"


class Report:
    """The entries of one conversion, in the order in which they were found, each once."""

    def __init__(self) -> None:
        self._entries: dict[Entry, None] = {}

    def left_out(self, place: str, what: str, why: str, instead: str) -> None:
        """Something that is not in the result."""
        self._entries[Entry("left_out", place, what, why, instead)] = None

    def differs(self, place: str, what: str, why: str, instead: str) -> None:
        """Something that is in the result, and is not quite the same."""
        self._entries[Entry("differs", place, what, why, instead)] = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out."""
        return all(entry.kind != "left_out" for entry in self._entries)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from map(str, self._entries)

    def as_json(self, source: str, source_format: str) -> str:
        """For programs."""
        entries = [asdict(entry) for entry in self._entries]
        told = {"source": source, "format": source_format, "complete": self.is_complete, "entries": entries}
        return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
