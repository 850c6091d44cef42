"""Damage to recorded bytes: what hypothesis and a plain random generator do alike."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple

Kind = Literal["flip", "put", "cut", "insert", "repeat", "swap"]
KINDS: tuple[Kind, ...] = ("flip", "put", "cut", "insert", "repeat", "swap")
TELLING = (
    *(b"\x00", b"\x7f", b"\x80", b"\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00"),
    *(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc0"),
)
"""Bytes that mean something to lengths, varints and MessagePack's types."""


class Change(NamedTuple):
    """One change at a place, which is a part of the length from 0 to 1."""

    kind: Kind
    place: float
    content: bytes


def changed(data: bytes, changes: Sequence[Change]) -> bytes:
    """The data with all changes made, one after another."""
    for kind, place, content in changes:
        at = int(place * len(data))
        if kind == "flip":
            data = data[:at] + bytes([data[at] ^ 1 << len(content) % 8]) + data[at + 1 :] if data else b""
        elif kind == "put":
            data = data[:at] + content + data[at + len(content) :]
        elif kind == "cut":
            data = data[:at] + data[at + max(1, len(content)) :]
        elif kind == "insert":
            data = data[:at] + content + data[at:]
        elif kind == "repeat":
            data = data[: at + 1] + data[at:]
        else:
            data = data[at:] + data[:at]
    return data


def random_changes(random: Random) -> list[Change]:
    """Mostly one or two, often none: a conversation goes far only if most of it is right."""
    number = random.choice((0, 0, 0, 1, 1, 2, 5))
    return [Change(random.choice(KINDS), random.random(), random_content(random)) for _ in range(number)]


def random_content(random: Random) -> bytes:
    """A few telling bytes, or any."""
    return random.choice(TELLING) if random.random() < 0.5 else random.randbytes(random.randrange(1, 9))
