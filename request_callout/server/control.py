"""What a worker and its supervisor say to each other, over a socket pair: one JSON array a line.

Both ends hold the same code, so there are no versions. The worker asks (``Start``, ``Find``) with a number of its own,
and the answer (``Found``, ``Missing``) has the same number.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass

from request_callout.server.registry import Registered


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker: it accepts connections."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker: it can't start, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Beat:
    """Worker: its loop turns."""


@dataclass(frozen=True, slots=True)
class Used:
    """Worker: ids, and how many seconds ago they were last used."""

    ids: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Start:
    """Worker: Kong starts this configuration (its bytes as Latin-1)."""

    number: int
    config: str


@dataclass(frozen=True, slots=True)
class Find:
    """Worker: it asks which configuration has this id."""

    number: int
    instance_id: int


@dataclass(frozen=True, slots=True)
class Close:
    """Worker: a worker of Kong is done with this id."""

    instance_id: int


@dataclass(frozen=True, slots=True)
class Found:
    """Supervisor: a configuration; see ``Registered``, with the configuration's bytes as Latin-1."""

    number: int
    instance_id: int
    digest: str
    started_at: int
    config: str

    @classmethod
    def of(cls, number: int, registered: Registered) -> Found:
        """The answer that tells of a registered configuration."""
        config = registered.config.decode("latin-1")
        return cls(number, registered.instance_id, registered.digest, registered.started_at, config)

    @property
    def registered(self) -> Registered:
        """The configuration it tells of."""
        return Registered(self.instance_id, self.digest, self.started_at, self.config.encode("latin-1"))


@dataclass(frozen=True, slots=True)
class Missing:
    """Supervisor: there is no such id."""

    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Supervisor: these ids were not used for long, and are dropped."""

    ids: list[int]


@dataclass(frozen=True, slots=True)
class Stop:
    """Supervisor: accept what waits, finish what is in flight, then end.

    Idle connections of Kong are kept open for ``linger_s`` seconds, to be closed after their next answer.
    """

    grace_s: float
    linger_s: float


@dataclass(frozen=True, slots=True)
class Level:
    """Supervisor: log from this level on."""

    level: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Supervisor: accept on the socket that comes with this, and no more on the one before, whose file was removed."""


Message = Ready | Failed | Beat | Used | Start | Find | Close | Found | Missing | Ended | Stop | Level | Listen
_KINDS = {
    kind.__name__: kind
    for kind in (Ready, Failed, Beat, Used, Start, Find, Close, Found, Missing, Ended, Stop, Level, Listen)
}


def encode(message: Message) -> bytes:
    """A message as it goes over the socket pair."""
    return json.dumps([type(message).__name__, *astuple(message)]).encode() + b"\n"


class Decoder:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with this."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._pieces, lines[0]])
            self._pieces = []
        if rest:
            self._pieces.append(rest)
        return [_decode(line) for line in lines]


def _decode(line: bytes) -> Message:
    name, *fields = json.loads(line)
    message: Message = _KINDS[name](*fields)
    return message
