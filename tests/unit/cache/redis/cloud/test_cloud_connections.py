"""Real connections to a real Redis, whose user's password is a token."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator

import gevent
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_httpserver import HTTPServer
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, RedisError
from werkzeug import Request, Response

from request_callout.cache.redis.clients import RedisClient, connect
from request_callout.cache.redis.cloud import credentials
from request_callout.cache.redis.cloud.tokens import Token, TokenCredentials
from request_callout.config import model
from tests.servers.redis_server import RedisServer, running

from .conftest import Settings


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


def allow(redis: RedisServer, user: str, token: str) -> None:
    """Let this user in with this token, and with no other."""
    redis.command("ACL", "SETUSER", user, "on", "resetpass", f">{token}", "~*", "+@all")


def users_of(redis: RedisServer) -> list[str]:
    """The names that the open connections logged in with, but for the one that asks."""
    lines = [line for line in redis.command("CLIENT", "LIST").splitlines() if "cmd=client" not in line]
    return [field.removeprefix("user=") for line in lines for field in line.split() if field.startswith("user=")]


def provider_of(settings: model.Redis) -> CredentialProvider:
    provider = credentials(settings)
    assert provider is not None
    return provider


def at(redis: RedisServer, settings: model.Redis, limit_ms: int = 10_000) -> model.Redis:
    """The same for this server, with the limit for all phases."""
    address = dataclasses.replace(settings, host="127.0.0.1", port=redis.port)
    return dataclasses.replace(address, connect_timeout_ms=limit_ms, send_timeout_ms=limit_ms, read_timeout_ms=limit_ms)


def used(client: RedisClient) -> bytes | None:
    client.set("request-callout:k", b"value", 60_000)
    return client.get("request-callout:k")


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    encoding, layout, no_password = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key.private_bytes(encoding, layout, no_password).decode()


@pytest.fixture
def gcp(settings: Settings, httpserver: HTTPServer, private_key: str) -> model.Redis:
    """A service account whose tokens come from ``/token`` of the test's server."""
    uri = httpserver.url_for("/token")
    account = {"type": "service_account", "client_email": "a@b", "private_key": private_key, "token_uri": uri}
    return settings("gcp", gcp_service_account_json=json.dumps(account))


def test_a_connection_logs_in_as_the_user_with_the_token(settings: Settings, redis: RedisServer) -> None:
    """A signed request of AWS is taken as the password, for all its length and characters."""
    key = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}
    chosen = at(redis, settings("aws", "app", aws_cache_name="sessions", aws_region="eu-central-1", **key))
    provider = provider_of(chosen)
    allow(redis, "app", provider.get_credentials()[-1])
    client = connect(chosen, provider)
    assert used(client) == b"value"
    assert users_of(redis) == ["app"]
    client.close()


def test_a_token_alone_is_the_password_of_the_default_user(
    gcp: model.Redis, httpserver: HTTPServer, redis: RedisServer
) -> None:
    """Without a username the default user logs in, as with Memorystore."""
    httpserver.expect_request("/token").respond_with_json({"access_token": "ya29.t", "expires_in": 3599})
    allow(redis, "default", "ya29.t")
    client = connect(at(redis, gcp), provider_of(gcp))
    assert used(client) == b"value"
    client.close()


def test_a_token_that_redis_does_not_take_is_an_error_without_it(
    gcp: model.Redis, httpserver: HTTPServer, redis: RedisServer
) -> None:
    """A wrong token fails the command, and the error does not repeat it."""
    httpserver.expect_request("/token").respond_with_json({"access_token": "ya29.wrong", "expires_in": 3599})
    allow(redis, "default", "ya29.t")
    client = connect(at(redis, gcp), provider_of(gcp))
    with pytest.raises(AuthenticationError) as caught:
        client.get("request-callout:k")
    assert "ya29" not in str(caught.value)


def test_after_the_end_of_a_token_a_new_connection_uses_the_next(settings: Settings, redis: RedisServer) -> None:
    """Redis drops the connections whose token ended; the client logs in again, with the one that is good then."""
    now = [1_000_000.0]
    given: list[str] = []

    def fetch() -> Token:
        given.append(f"token-{len(given) + 1}")
        return Token("app", given[-1], now[0] + 900)

    allow(redis, "app", "token-1")
    client = connect(at(redis, settings("gcp")), TokenCredentials("cloud", lambda: fetch, lambda: now[0]))
    assert used(client) == b"value"
    now[0] += 900
    assert used(client) == b"value"
    assert given == ["token-1"]  # a connection that is open stays as it is
    allow(redis, "app", "token-2")
    redis.command("CLIENT", "KILL", "USER", "app")
    assert used(client) == b"value"
    assert given == ["token-1", "token-2"]
    client.close()


def test_a_slow_token_server_holds_up_nobody_else(gcp: model.Redis, httpserver: HTTPServer, redis: RedisServer) -> None:
    """While a token is being got other greenlets run: the server answers only after one of them has."""
    asked, go_on = threading.Event(), threading.Event()

    def answer(_: Request) -> Response:
        asked.set()
        body = {"access_token": "ya29.t", "expires_in": 3599} if go_on.wait(10) else {}
        return Response(json.dumps(body), content_type="application/json")

    def other() -> None:
        assert gevent.get_hub().threadpool.apply(asked.wait, (10,))
        go_on.set()

    httpserver.expect_request("/token").respond_with_handler(answer)
    allow(redis, "default", "ya29.t")
    client = connect(at(redis, gcp, limit_ms=20_000), provider_of(gcp))
    waiting = [gevent.spawn(used, client) for _ in range(8)]
    beside = gevent.spawn(other)
    gevent.joinall(waiting, timeout=30, raise_error=True)
    beside.get(timeout=10)
    assert [one.value for one in waiting] == [b"value"] * 8
    assert len(httpserver.log) == 1
    client.close()


def test_a_command_waits_no_longer_than_its_time_for_a_token(
    gcp: model.Redis, httpserver: HTTPServer, redis: RedisServer
) -> None:
    """A command that runs out of time fails, and the token it asked for serves the next one."""
    go_on = threading.Event()

    def answer(_: Request) -> Response:
        assert go_on.wait(10)
        return Response(json.dumps({"access_token": "ya29.t", "expires_in": 3599}), content_type="application/json")

    httpserver.expect_request("/token").respond_with_handler(answer)
    allow(redis, "default", "ya29.t")
    provider = provider_of(gcp)
    client = connect(at(redis, gcp, limit_ms=50), provider)
    with pytest.raises(RedisError):
        client.get("request-callout:k")
    go_on.set()
    assert provider.get_credentials() == ("ya29.t",)
    patient = connect(at(redis, gcp), provider)
    assert used(patient) == b"value"
    assert len(httpserver.log) == 1
    client.close()
    patient.close()
