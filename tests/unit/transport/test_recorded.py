"""Senders that record and replay."""

from __future__ import annotations

import orjson
import pytest

from request_callout.transport import IncomingResponse, OutgoingRequest, TransportError
from request_callout.transport.exchanges import Exchange, Failure, NoExchange, from_entry, to_entry
from request_callout.transport.recorded import Recording, Replaying


def outgoing(url: str, method: str = "GET") -> OutgoingRequest:
    return OutgoingRequest(method, url, [("A", "1")], b"\xff", 1.0, 1.0, 1.0)


def exchange(url: str, body: bytes = b"", *, failure: Failure | None = None) -> Exchange:
    status = 0 if failure else 200
    return Exchange("callee", "GET", url, (), b"", status, (("Content-Type", "text/plain"),), body, 0.0, 1.0, failure)


class Answering:
    """A sender that gives these outcomes."""

    def __init__(self, *outcomes: IncomingResponse | TransportError) -> None:
        self._outcomes = list(outcomes)
        self.closed = False

    def send(self, request: OutgoingRequest) -> IncomingResponse:
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome

    def close(self) -> None:
        self.closed = True


def test_what_is_recorded_is_replayed() -> None:
    """Answers and failures come back as they were, through the file's format, bytes that are no text too."""
    kept: list[Exchange] = []
    sender = Answering(IncomingResponse(201, [("x", "1")], b"\x00\xff"), TransportError("timeout", "too slow"))
    recording = Recording(sender, kept.append)
    assert recording.send(outgoing("http://a/1")).status == 201
    with pytest.raises(TransportError, match="too slow"):
        recording.send(outgoing("http://a/2"))
    recording.close()
    assert sender.closed
    entries = orjson.loads(orjson.dumps([to_entry(one) for one in kept]))
    replaying = Replaying([from_entry(one) for one in entries], lambda one: None)
    answer = replaying.send(outgoing("http://a/1"))
    assert (answer.status, answer.headers, answer.body) == (201, [("x", "1")], b"\x00\xff")
    with pytest.raises(TransportError, match="too slow") as caught:
        replaying.send(outgoing("http://a/2"))
    assert caught.value.kind == "timeout"


def test_order_among_equals() -> None:
    """Equal requests get the recorded answers in order, and the last one from then on."""
    replaying = Replaying([exchange("http://a/", b"1"), exchange("http://a/", b"2")], lambda one: None)
    assert [replaying.send(outgoing("http://a/")).body for _ in range(3)] == [b"1", b"2", b"2"]


def test_placeholders_stand_for_anything() -> None:
    """A placeholder in a recorded URL stands for one part of a path or query, and no more."""
    replaying = Replaying([exchange("http://a/redacted-1/x?key=redacted-2", b"1")], lambda one: None)
    assert replaying.send(outgoing("http://a/secret/x?key=k")).body == b"1"
    with pytest.raises(TransportError, match="not in the recording"):
        replaying.send(outgoing("http://a/secret/more/x?key=k"))


@pytest.mark.parametrize(
    ("url", "method", "says"),
    [
        ("http://a/x?b=1", "POST", "the method differs"),
        ("http://a/x?b=2", "GET", "the query (b) differs"),
        ("http://a/x?b=1&c=2", "GET", "the query (c) differs"),
        ("http://a/y?b=1", "GET", "the scheme, host or path differs"),
    ],
)
def test_unmatched(url: str, method: str, says: str) -> None:
    """A request that is not recorded is an error that says what differs from the nearest, without values of queries."""
    kept: list[Exchange] = []
    replaying = Replaying([exchange("http://a/x?b=1")], kept.append)
    with pytest.raises(TransportError) as caught:
        replaying.send(outgoing(url, method))
    assert says in str(caught.value)
    assert "=" not in str(caught.value)
    assert [one.unmatched for one in kept] == [True]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"request": {}, "response": {}},
        {"request": {"method": "GET", "url": "u"}, "response": {"status": "2"}},
    ],
)
def test_no_entry(entry: object) -> None:
    """What is no entry of a HAR log is refused."""
    with pytest.raises(NoExchange, match="entry"):
        from_entry(entry)
