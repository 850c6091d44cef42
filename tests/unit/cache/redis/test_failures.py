from __future__ import annotations

import pytest
from redis import exceptions

from request_callout.cache.redis.failures import Effect, effect_of, reason_of


@pytest.mark.parametrize("code", ["OOM", "MISCONF", "NOREPLICAS", "READONLY", "NOPERM"])
def test_what_only_stops_writes(code: str) -> None:
    """A refusal to write says nothing of reads; the same reply to a read means that it can't be used."""
    error = exceptions.ResponseError(f"{code} some text")
    assert effect_of(error, writing=True) is Effect.PAUSE_WRITES
    assert effect_of(error, writing=False) is Effect.OPEN


@pytest.mark.parametrize(
    "error",
    [
        exceptions.OutOfMemoryError("command not allowed"),
        exceptions.ReadOnlyError("You can't write against a read only replica."),
        exceptions.NoPermissionError("this user has no permissions"),
    ],
)
def test_the_client_s_own_classes_of_refusals(error: Exception) -> None:
    """A refusal is known by its class where the client has taken the code off the text."""
    assert effect_of(error, writing=True) is Effect.PAUSE_WRITES


@pytest.mark.parametrize("writing", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("refused"),
        exceptions.TimeoutError("late"),
        exceptions.AuthenticationError("who?"),
        exceptions.BusyLoadingError("loading"),
        exceptions.ClusterDownError("down"),
        exceptions.MasterDownError("down"),
        exceptions.InvalidResponse("what?"),
        exceptions.RedisClusterException("no slots"),
        exceptions.ResponseError("BUSY a script is running"),
        exceptions.ResponseError("ERR unknown command"),
        OSError("broken"),
        ValueError("nonsense"),
    ],
)
def test_what_opens_the_circuit(error: Exception, writing: bool) -> None:
    """Every other failure, of a known kind or not, means that the Redis can't be used."""
    assert effect_of(error, writing=writing) is Effect.OPEN


@pytest.mark.parametrize("writing", [True, False])
@pytest.mark.parametrize(
    "error", [exceptions.MaxConnectionsError("all in use"), exceptions.ResponseError("WRONGTYPE Operation against")]
)
def test_what_concerns_one_command(error: Exception, writing: bool) -> None:
    """A value of another type and a pool without a free connection say nothing of the Redis."""
    assert effect_of(error, writing=writing) is Effect.NONE


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ResponseError("unknown command 'GET', with args beginning with: 'my-key'"),
        exceptions.ResponseError("ERR my-key"),
        exceptions.NoPermissionError("no permission for my-key"),
        exceptions.InvalidResponse("Protocol Error: b'my-key'"),
        ValueError("my-key"),
    ],
)
def test_replies_are_not_repeated(error: Exception) -> None:
    """The text of a reply, which may repeat keys and values, is not told."""
    reason = reason_of(error)
    assert reason
    assert "my-key" not in reason


def test_secrets_are_not_told() -> None:
    """A secret in a text is hidden, and a long text is cut."""
    reason = reason_of(exceptions.ConnectionError("token s3cret was refused" + "!" * 1000), ["s3cret"])
    assert reason.startswith("token *** was refused")
    assert len(reason) < 250


def test_an_error_without_a_text_has_a_reason() -> None:
    """An error that says nothing is told by its class."""
    assert reason_of(OSError()) == "OSError"
    assert reason_of(exceptions.ResponseError("")) == "an error reply"
