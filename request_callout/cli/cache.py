"""``request-callout cache``: what a Redis cache holds, and how to clear it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from request_callout.cli.cache_entries import HEADINGS, lines, row, summary, whole
from request_callout.cli.redis_address import URL_VARIABLE, from_file, from_url
from request_callout.values import printable

if TYPE_CHECKING:
    from request_callout.cache.redis.clients import RedisClient
    from request_callout.cache.redis.entries import Wanted
    from request_callout.cache.store import CachedResponse
    from request_callout.config import model

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _redis_options(command: _Command) -> _Command:
    for option in (
        click.option(
            "--ca-file",
            type=click.Path(exists=True, dir_okay=False),
            envvar="REQUEST_CALLOUT_CA_FILE",
            show_envvar=True,
            help="Certificates (PEM) to verify Redis with, instead of the system's.",
        ),
        click.option(
            "--config",
            "file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="A declarative file whose request-callout plugin has cache.redis.",
        ),
        click.option(
            "--redis",
            "url",
            envvar=URL_VARIABLE,
            show_envvar=True,
            metavar="URL",
            help="redis://user:password@host:port/database, or rediss:// for TLS.",
        ),
    ):
        command = option(command)
    return command


def _filter_options(command: _Command) -> _Command:
    command = click.option("--plugin", "plugin_id", metavar="ID", help="Only those of the plugin with this id.")(
        command
    )
    return click.option("--callout", metavar="NAME", help="Only those of callouts of this name.")(command)


_json_option = click.option("--json", "as_json", is_flag=True, help="JSON, for scripts.")


@click.group()
def cache() -> None:
    """Look into the responses that are kept in Redis, and clear them.

    Where Redis is: --redis URL, or better the variable REQUEST_CALLOUT_REDIS_URL, since others can see a command line;
    or --config FILE with the plugin's configuration, also for Sentinel and Cluster.
    """


@cache.command("ls")
@_redis_options
@_filter_options
@_json_option
def list_entries(
    url: str | None, file: Path | None, ca_file: str | None, callout: str | None, plugin_id: str | None, as_json: bool
) -> None:
    """List what is kept, in no order; with --json a JSON object a line."""
    wanted = _wanted(callout, plugin_id)
    with _redis(url, file, ca_file) as found:
        from request_callout.cache.redis.entries import entries

        headed = as_json
        for entry in entries(found.client):
            if wanted is None or (entry.response is not None and wanted(entry.response)):
                if not headed:
                    headed = True
                    click.echo(HEADINGS)
                click.echo(json.dumps(summary(entry)) if as_json else row(entry))


@cache.command()
@click.argument("key")
@_redis_options
@_json_option
def get(key: str, url: str | None, file: Path | None, ca_file: str | None, as_json: bool) -> None:
    """Show the response that is kept under KEY."""
    with _redis(url, file, ca_file) as found:
        from request_callout.cache.redis.entries import find

        entry = find(found.client, key.removeprefix("request-callout:"))
        if entry is None:
            raise click.ClickException(f"nothing is kept under {printable(key)} in the Redis at {found.address}")
        if as_json:
            click.echo(json.dumps(whole(entry)))
        else:
            for line in lines(entry):
                click.echo(line)


@cache.command()
@_redis_options
@_filter_options
@click.option("--yes", is_flag=True, help="Delete everything without asking.")
def purge(
    url: str | None, file: Path | None, ca_file: str | None, callout: str | None, plugin_id: str | None, yes: bool
) -> None:
    """Delete what is kept: that of a callout, of a plugin, or all of it."""
    wanted = _wanted(callout, plugin_id)
    with _redis(url, file, ca_file) as found:
        from request_callout.cache.redis.entries import purge as purged

        if wanted is None and not yes:
            click.confirm(f"Delete everything that is cached in the Redis at {found.address}? (--yes)", abort=True)
        count = sum(purged(found.client, wanted))
        click.echo(f"{count} {'entry' if count == 1 else 'entries'} deleted")


@dataclass(frozen=True, slots=True)
class _Found:
    client: RedisClient
    address: str


@contextmanager
def _redis(url: str | None, file: Path | None, ca_file: str | None) -> Iterator[_Found]:
    """The Redis that the options say; its errors become one line and status 1."""
    option, settings = _settings(url, file)
    from redis.exceptions import RedisClusterException, RedisError

    from request_callout.cache.redis.clients import connect
    from request_callout.cache.redis.cloud import MissingExtra, credentials
    from request_callout.cache.redis.entries import CONCURRENCY
    from request_callout.cache.redis.failures import reason_of
    from request_callout.cache.redis.stores import address, secrets_of

    # As many connections as are used here.
    settings = replace(settings, keepalive_pool_size=CONCURRENCY, keepalive_backlog=None)
    try:
        client = connect(settings, credentials(settings), ca_file)
    except MissingExtra as error:
        raise click.ClickException(f"--config: {error}") from None
    except OSError as error:
        raise click.ClickException(f"--ca-file: can't be used: {reason_of(error)}; give certificates as PEM") from None
    try:
        yield _Found(client, address(settings))
    except BrokenPipeError:  # of our own output
        raise
    except (RedisError, RedisClusterException, OSError) as error:
        reason = reason_of(error, secrets_of(settings))
        raise click.ClickException(
            f"the Redis at {address(settings)} failed: {reason}; check the address, user and password of {option}"
        ) from None
    finally:
        client.close()


def _settings(url: str | None, file: Path | None) -> tuple[str, model.Redis]:
    """The option that says where Redis is, and what it says."""
    source = click.get_current_context().get_parameter_source("url")
    if file is not None:
        if url is not None and source is ParameterSource.COMMANDLINE:
            raise click.ClickException("--redis and --config both say where Redis is; leave one out")
        return "--config", from_file(file)
    if not url:
        raise click.ClickException(f"where is Redis? Give --redis URL, set {URL_VARIABLE}, or give --config FILE")
    option = "--redis" if source is ParameterSource.COMMANDLINE else URL_VARIABLE
    return option, from_url(url, option)


def _wanted(callout: str | None, plugin_id: str | None) -> Wanted | None:
    """Which entries the filters let through, None without any; what can't be read is nobody's."""
    if callout is None and plugin_id is None:
        return None

    def wanted(response: CachedResponse) -> bool:
        return callout in (None, response.callout) and plugin_id in (None, response.plugin_id)

    return wanted
