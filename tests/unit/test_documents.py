"""What the files at the top level and the pages say of other programs is true; the pages run in tests/docs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from redis.exceptions import NoPermissionError, ResponseError

from request_callout.cache.redis.clients import RedisClient, connect
from request_callout.cli import main
from request_callout.config import load
from tests.servers.redis_server import HOST, running

ROOT = Path(__file__).parents[2]
CACHING = (ROOT / "docs" / "guides" / "caching.md").read_text(encoding="utf-8")
COMMAND = re.compile(
    r"(?:^|[\s/])request-callout ((?:serve|dump|health|validate|gateway|demo|cache|convert)\b[^\n#>|&]*)", re.MULTILINE
)


def commands_of(name: str) -> list[str]:
    """The command lines of ours that a file shows."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [found.strip() for found in COMMAND.findall(text)]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        pytest.param(file, line, id=f"{file}: {line}")
        for file in ("kong.conf", "deploy/kong-started.conf")
        for line in commands_of(file)
    ],
)
def test_every_shown_command_is_one(file: str, line: str) -> None:
    """A command line that a document shows names a command of ours and options that it has."""
    name, *arguments = shlex.split(line)
    command = main.get_command(click.Context(main), name)
    if isinstance(command, click.Group):
        command = command.get_command(click.Context(command), arguments[0])
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument.partition("=")[0] for argument in arguments if argument.startswith("--")} <= known


def test_documents_show_commands() -> None:
    """The check above has something to look at."""
    assert commands_of("kong.conf")
    assert commands_of("deploy/kong-started.conf")


def test_the_shown_acl_rule_is_enough() -> None:
    """The cache works for a user of Redis with the rights that the page names, and needs each of them."""
    found = re.search(r"An ACL user needs `(\S+)` with\s+`([^`]+)`", CACHING)
    assert found is not None
    keys, commands = found[1], found[2].split()
    with running() as server:
        missing = {}
        for left_out in (None, *commands):
            server.command("FLUSHALL")
            server.command("ACL", "SETUSER", "user", "reset", "on", ">secret", keys, *commands)
            if left_out is not None:
                server.command("ACL", "SETUSER", "user", left_out.replace("+", "-"))
            redis = {"host": HOST, "port": server.port, "username": "user", "password": "secret"}
            client = connect(load({"callouts": [], "cache": {"redis": redis}}).cache.redis)
            missing[left_out] = denied(client)
            client.close()
    assert missing.pop(None) is False
    assert all(missing.values()), missing


def denied(client: RedisClient) -> bool:
    """Whether Redis refuses one of the commands of a cache without its operator's."""
    key, lock = "request-callout:k", "request-callout:lock:{request-callout:k}"
    try:
        client.ping()
        client.set(key, b"value", 60_000)
        assert client.get(key) == b"value"
        assert client.acquire(lock, b"token", 60_000)
        client.release(lock, b"token")
        assert client.get(lock) is None
        client.delete(key)
    except NoPermissionError:
        return True
    except ResponseError:  # from within the script
        return True
    return False


def test_every_command_explains_itself() -> None:
    """``--help`` of every command says what it does."""
    context = click.Context(main)
    for name in main.list_commands(context):
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert "Usage" in result.output
