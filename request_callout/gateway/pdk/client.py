"""``kong.client``."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from request_callout.gateway.exchange import Exchange
from request_callout.gateway.model import Consumer, Credential
from request_callout.gateway.pdk.arguments import Failure, PdkFailure, Surroundings, shown, string
from request_callout.values import Value


def _authenticate(x: Exchange, around: Surroundings, consumer: Value = None, credential: Value = None) -> None:
    if consumer is None and credential is None:
        raise PdkFailure("either credential or consumer must be provided")
    if consumer is not None:
        known = next((one for one in around.consumers if one.id == consumer.get("id")), None)
        x.consumer = known or Consumer(
            consumer.get("id", ""), consumer.get("username"), consumer.get("custom_id"), consumer
        )
    if credential is not None and x.consumer is not None:
        x.credential = Credential(credential.get("id", ""), credential.get("key", ""), x.consumer, credential)


def _load_consumer(x: Exchange, around: Surroundings, identity: Value = None, by_name: Value = None) -> Value:
    wanted = string(identity, "consumer_id")
    if not by_name and not _is_uuid(wanted):
        raise PdkFailure("cannot load a consumer with an id that is not a uuid")
    for consumer in around.consumers:
        if consumer.id == wanted or (by_name and consumer.username == wanted):
            return shown(consumer.entity)
    return None


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _protocol(x: Exchange, around: Surroundings, allow_terminated: Value = None) -> Value:
    if x.match is None:
        return Failure("No active route found")
    protocols = x.match.route.protocols
    return protocols[0] if len(protocols) == 1 else x.client.scheme


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "kong.client.authenticate": _authenticate,
    "kong.client.get_consumer": lambda x, _around, *_args: None if x.consumer is None else shown(x.consumer.entity),
    "kong.client.get_consumer_groups": lambda x, _around, *_args: None,
    "kong.client.get_credential": lambda x, _around, *_args: (
        None if x.credential is None else shown(x.credential.entity)
    ),
    "kong.client.get_forwarded_ip": lambda x, _around, *_args: x.client.remote_addr,
    "kong.client.get_forwarded_port": lambda x, _around, *_args: x.client.remote_port,
    "kong.client.get_ip": lambda x, _around, *_args: x.client.remote_addr,
    "kong.client.get_port": lambda x, _around, *_args: x.client.remote_port,
    "kong.client.get_protocol": _protocol,
    "kong.client.load_consumer": _load_consumer,
}
