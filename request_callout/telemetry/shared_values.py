"""Numbers that a process counts and another one reads, in memory that both share; made before the fork.

One writes, any may read. What a worker counted stays when it dies, and who follows at its place counts on. To count is
one addition in memory: no lock, no file, no system call. The memory has a fixed size: how many series there are is
bounded, whatever names turn up. Room for all of them is set aside, and only taken as they come.
"""

from __future__ import annotations

import json
import logging
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of a histogram's buckets; the last, beyond them, has none."""
MOST_SERIES = 2000
"""Series with names of their own in one process; further ones are counted as ``OTHER``."""
OTHER = "other"

_log = logging.getLogger(__name__)

_MOST_OTHERS = 500
_CELLS = 1 << 16
_NAMES_BYTES = 8 << 20
_LONGEST_VALUE = 200
_COUNT = struct.Struct("=Q")
_LENGTH = struct.Struct("=I")
_CELL_BYTES = 8


@dataclass(frozen=True, slots=True)
class Family:
    """Series of one name. Values of the labels in ``open`` come from outside, so their number has no bound."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many cells one series has: a histogram's are its buckets, then the sum."""
        return len(BUCKETS_S) + 2 if self.kind == "histogram" else 1


@dataclass(frozen=True, slots=True)
class Series:
    """What one process has counted under one set of label values."""

    family: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


class SharedValues:
    """The values of one process. ``cells`` are what is added to, at the places that ``cell`` gives."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _CELL_BYTES * (1 + _CELLS) + _NAMES_BYTES)
        self.cells = memoryview(self._memory)[_CELL_BYTES : _CELL_BYTES * (1 + _CELLS)].cast("d")
        self._names = memoryview(self._memory)[_CELL_BYTES * (1 + _CELLS) :]
        self._places: dict[tuple[str, ...], int] = {}
        self._named = 0
        self._used_cells = 0
        self._used_bytes = 0
        self._told = False

    def take_over(self, families: dict[str, Family]) -> dict[str, float]:
        """Count on where the process before has stopped; its gauges, which begin at 0 again, are given back."""
        gauges: dict[str, float] = {}
        self._places, self._named, self._used_cells, self._used_bytes = {}, 0, 0, 0
        for key, size in self._entries():
            family = families[key[0]]
            place = self._used_cells
            self._places[key] = place
            self._named += OTHER not in key
            self._used_cells += family.width
            self._used_bytes += size
            if family.kind == "gauge":
                gauges[family.name] = gauges.get(family.name, 0.0) + self.cells[place]
                self.cells[place] = 0.0
        return gauges

    def cell(self, family: Family, *labels: str) -> int:
        """The place of a series; of a histogram that of its first bucket."""
        key = (family.name, *(value[:_LONGEST_VALUE] for value in labels))
        place = self._places.get(key)
        if place is not None:
            return place
        if family.open and self._named >= MOST_SERIES:
            self._tell()
            key = (
                family.name,
                *(OTHER if name in family.open else value for name, value in zip(family.labels, labels, strict=True)),
            )
            place = self._places.get(key)
        return self._add(key, family) if place is None else place

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "there are %d metrics in this process: new plugins, callouts and targets are counted as %r; "
                "a restart of the server begins anew",
                *(MOST_SERIES, OTHER),
            )

    def observe(self, place: int, seconds: float) -> None:
        """Count a time in the histogram at this place."""
        cells = self.cells
        bucket = place
        for bound in BUCKETS_S:
            if seconds <= bound:
                break
            bucket += 1
        cells[bucket] += 1.0
        cells[place + _SUM] += seconds

    def read(self, families: dict[str, Family]) -> Iterator[Series]:
        """What has been counted so far, in any process."""
        place = 0
        for key, _ in self._entries():
            width = families[key[0]].width
            yield Series(key[0], key[1:], tuple(self.cells[place : place + width]))
            place += width

    def _entries(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """The series there are, with the bytes that each name takes."""
        at = 0
        for _ in range(_COUNT.unpack_from(self._memory, 0)[0]):
            (length,) = _LENGTH.unpack_from(self._names, at)
            begin = at + _LENGTH.size
            at = begin + length
            yield tuple(json.loads(bytes(self._names[begin:at]))), _LENGTH.size + length

    def _add(self, key: tuple[str, ...], family: Family) -> int:
        name = json.dumps(key).encode()
        size = _LENGTH.size + len(name)
        place = self._used_cells
        full = self._used_bytes + size > _NAMES_BYTES or place + family.width > _CELLS - _WIDEST
        if full or len(self._places) >= MOST_SERIES + _MOST_OTHERS:
            return _CELLS - _WIDEST  # counted where nobody looks
        _LENGTH.pack_into(self._names, self._used_bytes, len(name))
        self._names[self._used_bytes + _LENGTH.size : self._used_bytes + size] = name
        self._used_bytes += size
        self._used_cells += family.width
        self._places[key] = place
        self._named += OTHER not in key
        # Last: from now on it is read, and a process that dies before this leaves nothing half done.
        _COUNT.pack_into(self._memory, 0, len(self._places))
        return place


_SUM = len(BUCKETS_S) + 1
_WIDEST = len(BUCKETS_S) + 2
