"""Responses in Redis, shared by all processes that use it; what goes wrong with it is a miss."""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable
from functools import partial

import gevent
from redis.exceptions import NoPermissionError

from request_callout.cache.redis.circuit import Circuit
from request_callout.cache.redis.clients import RedisClient
from request_callout.cache.redis.encoding import decode, encode
from request_callout.cache.redis.failures import Effect, effect_of
from request_callout.cache.redis.names import entry_name, lease_name
from request_callout.cache.redis.reports import Reports
from request_callout.cache.store import CachedResponse, Lease, OwnLease

MAX_VALUE_BYTES = 10 << 20
"""As large as the body of a callout's answer may be by default. While a value is on its way no other command of its
connection is, and Redis holds it in its buffers beside its memory."""
WRITE_PAUSE_S = 1.0
_LONGEST_TTL_MS = 10 * 365 * 86_400_000  # what can be added to Redis's clock in any case
_FIRST_PAUSE_S = 0.1
_TOKEN_BYTES = 16
_GIVEN_AT = struct.Struct(">d")
"""What a token begins with: when the lease was given, by the clock of its holder."""


class RedisStore:
    """A store in the Redis behind a client. No error leaves it; a greenlet may be ended in any of its calls."""

    shared = True

    def __init__(self, client: RedisClient, reports: Reports) -> None:
        self._client = client
        self._reports = reports
        # Nothing of the store itself: the greenlet that probes must not keep a store that nobody uses any more.
        self._circuit = Circuit(_probe_of(client), reports.down, reports.answers)
        self._writes_from = float("-inf")

    def get(self, key: str) -> CachedResponse | None:
        """See ``Store``; a miss in microseconds while the Redis can't be used."""
        if not self._circuit.closed:
            return None
        turn = self._circuit.turn
        try:
            value = self._client.get(entry_name(key))
        except Exception as error:
            self._failed(error, turn, writing=False)
            return None
        if value is None:
            return None
        response = decode(value)
        if response is None:
            self._reports.value("holds a value that can't be read, which counts as a miss")
        return response

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """See ``Store``; what is larger than ``MAX_VALUE_BYTES`` or can't be encoded is not kept."""
        if not self._may_write() or not ttl_s > 0:
            return
        value = self._value(response)
        if value is None:
            return
        turn = self._circuit.turn
        try:
            self._client.set(entry_name(key), value, _ms(ttl_s))
        except Exception as error:
            self._failed(error, turn, writing=True)
        else:
            self._reports.takes_writes()

    def lease(self, key: str, lease_s: float) -> Lease | None:
        """See ``Store``; one that nobody respects, at once, while the Redis can't be used or written.

        So is one whose holder got it before the Redis was gone for a while: most likely it could not be released, and
        what was fetched with it could not be stored.
        """
        if not self._may_write() or not lease_s > 0:
            return OwnLease()
        turn = self._circuit.turn
        lease = _RedisLease(self._client, self._circuit, lease_name(entry_name(key)), lease_s)
        try:
            won = self._client.acquire(lease.name, lease.token, _ms(lease_s))
            if not won and time.time() - self._circuit.mended_at < lease_s and self._is_left_over(lease.name):
                return OwnLease()
        except Exception as error:
            self._failed(error, turn, writing=True)
            return OwnLease()
        except BaseException:  # this greenlet is ended, but the lease may be its own by now
            lease.release()
            raise
        self._reports.takes_writes()
        return lease if won else None

    def close(self) -> None:
        """Close all connections; from now on nothing is kept or found."""
        self.ending()()

    def ending(self) -> Callable[[], None]:
        """What closes all connections; it does not hold the store."""
        return partial(_end, self._circuit, self._client, self._reports)

    def _is_left_over(self, name: str) -> bool:
        token = self._client.get(name)
        return token is not None and _given_at(token) < self._circuit.mended_at

    def _value(self, response: CachedResponse) -> bytes | None:
        value = None
        size_bytes = len(response.raw_body)
        if size_bytes <= MAX_VALUE_BYTES:
            try:
                value = encode(response)
            except ValueError:
                self._reports.value("was not given a response whose headers hold text that has no bytes")
                return None
            size_bytes = len(value)
        if size_bytes > MAX_VALUE_BYTES:
            message = "was not given a response of %d bytes (callout %s): more than %d are not kept"
            self._reports.value(message, size_bytes, response.callout or "?", MAX_VALUE_BYTES)
            return None
        return value

    def _may_write(self) -> bool:
        return self._circuit.closed and time.monotonic() >= self._writes_from

    def _failed(self, error: Exception, turn: int, *, writing: bool) -> None:
        effect = effect_of(error, writing=writing)
        if effect is Effect.OPEN:
            if self._circuit.open(turn):
                self._reports.down(error)
        elif effect is Effect.PAUSE_WRITES:
            self._writes_from = time.monotonic() + WRITE_PAUSE_S
            self._reports.refuses_writes(error)
        else:
            self._reports.command_failed(error)


class _RedisLease:
    """A lease for as long as its key holds this token."""

    def __init__(self, client: RedisClient, circuit: Circuit, name: str, lease_s: float) -> None:
        self.name = name
        self.token = _GIVEN_AT.pack(time.time()) + secrets.token_bytes(_TOKEN_BYTES)
        self._client = client
        self._circuit = circuit
        self._ends_at = time.monotonic() + lease_s
        self._released = False

    def release(self) -> None:
        """See ``Lease``; in a greenlet of its own, since the caller gains nothing by waiting and may be ended.

        Others wait for it: so it is tried again, as long as the lease lasts.
        """
        if not self._released:
            self._released = True
            gevent.spawn(self._release)

    def _release(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._is_released():
            if time.monotonic() + pause_s >= self._ends_at:
                return  # its time will end it
            gevent.sleep(pause_s, ref=False)
            pause_s *= 2

    def _is_released(self) -> bool:
        if not self._circuit.closed:
            return False
        try:
            self._client.release(self.name, self.token)
        except NoPermissionError:
            return True  # nor will it be the next time
        except Exception:
            return False
        return True


def _given_at(token: bytes) -> float:
    given_at: float = _GIVEN_AT.unpack_from(token)[0] if len(token) >= _GIVEN_AT.size else float("-inf")
    return given_at


def _end(circuit: Circuit, client: RedisClient, reports: Reports) -> None:
    circuit.stop()
    reports.forgotten()
    client.close()


def _probe_of(client: RedisClient) -> Callable[[], None]:
    def probe() -> None:
        try:
            client.ping()
        except NoPermissionError:
            return  # it answers, and the password is right

    return probe


def _ms(seconds: float) -> int:
    return max(1, int(min(seconds * 1000, _LONGEST_TTL_MS)))
