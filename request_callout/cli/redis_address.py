"""Which Redis a command works on: a URL, or the settings of the plugin in a declarative file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click

from request_callout.config import InvalidConfiguration, load, model, typed
from request_callout.config.declarative import Unreadable, plugin_configurations, read
from request_callout.config.normal import is_reference, normal
from request_callout.config.schema import schema_at
from request_callout.gateway.vault import resolver

URL_VARIABLE = "REQUEST_CALLOUT_REDIS_URL"

_DEFAULT_PORT = 6379
_FORM = "redis://user:password@host:port/database (rediss:// for TLS), with %23 for # and so on in a password"


def from_url(url: str, option: str) -> model.Redis:
    """The settings that a URL stands for; click.ClickException names the option, never the URL: it has a password."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        raise click.ClickException(f"{option}: is no URL; write {_FORM}") from None
    database = parts.path.strip("/") or "0"
    wrong = None
    if parts.scheme not in ("redis", "rediss"):
        wrong = "does not begin with redis:// or rediss://"
    elif not parts.hostname:
        wrong = "names no host"
    elif parts.query or parts.fragment:
        wrong = "has a ? or #"
    elif not (database.isascii() and database.isdigit()):
        wrong = "has a path that is no number of a database"
    if wrong is not None:
        raise click.ClickException(f"{option}: the URL {wrong}; write {_FORM}")
    fields: dict[str, Any] = {
        "host": parts.hostname,
        "port": port,
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "database": int(database),
        "ssl": parts.scheme == "rediss",
    }
    return _settings({name: value for name, value in fields.items() if value is not None})


def from_file(path: Path) -> model.Redis:
    """The settings in a declarative file, whose configurations with ``cache.strategy: redis`` must agree on them."""
    try:
        document = read(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise click.ClickException(f"--config: {path} can't be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise click.ClickException(f"--config: {path} is no UTF-8 text (byte {error.start + 1})") from None
    except Unreadable as error:
        raise click.ClickException(f"--config: {path}: {error}") from None
    found = []
    for configuration in plugin_configurations(document):
        try:
            cache = load(_resolved(configuration.raw, f"--config: {path}: {configuration.path}")).cache
        except InvalidConfiguration as error:
            problem = configuration.placed(error.problems[0])
            message = f"--config: {path}: {problem}; request-callout validate {path} tells of all problems"
            raise click.ClickException(message) from None
        if cache.strategy == "redis" and cache.redis not in found:
            found.append(cache.redis)
    if not found:
        message = f"--config: {path} has no request-callout plugin with cache.strategy redis; use --redis URL"
        raise click.ClickException(message)
    if len(found) > 1:
        message = f"--config: {path} has {len(found)} different caches in Redis; say which with --redis URL"
        raise click.ClickException(message)
    return found[0]


def _settings(redis: Mapping[str, Any]) -> model.Redis:
    return typed.cache(normal({"strategy": "redis", "redis": redis}, schema_at("cache"))).redis


def _resolved(raw: Any, place: str) -> Any:
    """The configuration with the references in its ``cache.redis`` resolved, those to the environment."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("cache"), Mapping):
        return raw
    cache = raw["cache"]
    if cache.get("strategy") != "redis":
        return raw
    return {**raw, "cache": {**cache, "redis": _without_references(cache.get("redis"), f"{place}.cache.redis")}}


def _without_references(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_references(one, f"{place}.{name}") for name, one in value.items()}
    if not is_reference(value):
        return value
    secret = resolver({})(value)
    if secret is None:
        message = f"{place}: {value} can't be resolved here; set its variable if it is one of vault env, or use --redis"
        raise click.ClickException(message)
    return secret
