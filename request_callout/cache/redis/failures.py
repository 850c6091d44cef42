"""What an error of a Redis command means for the commands after it, and how it is told without secrets.

Error replies begin with a code in capitals (https://redis.io/docs/latest/develop/reference/protocol-spec/); redis-py
takes the codes that it knows off the text and makes classes of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from redis import exceptions

_MAX_TEXT = 200
_NO_CODE = "an error reply"

# Replies to a write that say nothing about reads: the memory is full, the disk can't be written, a replica.
_WRITE_CODES = frozenset({"OOM", "MISCONF", "NOREPLICAS", "READONLY", "NOPERM"})

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.MaxConnectionsError, "all connections of the pool are in use"),
    (exceptions.TimeoutError, "no answer in time"),
    (TimeoutError, "no answer in time"),
    (exceptions.BusyLoadingError, "LOADING: it is reading its data from disk"),
    (exceptions.MasterDownError, "MASTERDOWN: a replica has lost its master"),
    (exceptions.ClusterDownError, "CLUSTERDOWN: the cluster does not serve"),
    (exceptions.NoPermissionError, "NOPERM: the user has not the permission"),
    (exceptions.OutOfMemoryError, "OOM: its memory is full (maxmemory)"),
    (exceptions.ReadOnlyError, "READONLY: it is a replica"),
    (exceptions.InvalidResponse, "an answer that is not of Redis's protocol"),
)


class Effect(Enum):
    """What to do after an error."""

    OPEN = auto()
    """The Redis can't be used: ask it no more until it answers."""
    PAUSE_WRITES = auto()
    """It can be read but takes no values."""
    NONE = auto()
    """This one command failed."""


def effect_of(error: Exception, *, writing: bool) -> Effect:
    """What follows from an error of a command; an error of an unknown kind is one that opens the circuit."""
    if isinstance(error, exceptions.MaxConnectionsError):
        return Effect.NONE  # more commands at once than connections: those that have one say how the Redis is
    code = _code(error)
    if code == "WRONGTYPE":
        return Effect.NONE
    if writing and code in _WRITE_CODES:
        return Effect.PAUSE_WRITES
    return Effect.OPEN


def reason_of(error: Exception, secrets: Iterable[str] = ()) -> str:
    """Why a command failed, as a short text for the log; replies are told by their code: they may repeat arguments."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    if isinstance(error, exceptions.ResponseError):
        return _code(error) or _NO_CODE
    if not isinstance(error, (exceptions.RedisError, exceptions.RedisClusterException, OSError)):
        return type(error).__name__
    text = str(error).removesuffix(".")
    for secret in secrets:
        text = text.replace(secret, "***")
    return (text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "...") or type(error).__name__


def _code(error: Exception) -> str:
    """The code of an error reply, empty if there is none."""
    if isinstance(error, exceptions.ReadOnlyError):
        return "READONLY"
    if isinstance(error, exceptions.OutOfMemoryError):
        return "OOM"
    if isinstance(error, exceptions.NoPermissionError):
        return "NOPERM"
    if not isinstance(error, exceptions.ResponseError):
        return ""
    word = str(error).partition(" ")[0]
    return word if word.isascii() and word.isalpha() and word.isupper() and len(word) <= 20 else ""
