"""``request-callout validate``: every problem of the plugin's configurations in declarative files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from request_callout.config.declarative import Unreadable, file_problems, nulls, plugin_configurations, read
from request_callout.config.portable import beyond_enterprise
from request_callout.config.problems import Problem

if TYPE_CHECKING:
    from request_callout.config import SourceCheck


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--portable", is_flag=True, help="Tell of fields that Kong Enterprise's plugin does not have, too.")
def validate(files: tuple[str, ...], portable: bool) -> None:
    """Check every request-callout configuration in FILEs: Kong's declarative files or decK's, YAML or JSON.

    Each problem is a line, FILE: PATH: what is wrong and what to do. The status is 1 if there is any. A FILE of - is
    the standard input.

    With --portable each field that goes beyond Kong Enterprise's plugin is such a line too, and a file without any is
    told to be portable.
    """
    from request_callout.lua import Lua

    check = Lua().check
    failed = False
    for file in files:
        told = list(_told(file, check, portable=portable))
        failed = failed or bool(told)
        for line in told or ["portable" if portable else "ok"]:
            click.echo(f"{file}: {line}")
    if failed:
        sys.exit(1)


def _told(file: str, check: SourceCheck, *, portable: bool) -> Iterator[str]:
    try:
        document = read(_text(file))
    except OSError as error:
        yield f"can't be read: {error.strerror or error}"
        return
    except UnicodeDecodeError as error:
        yield f"is no UTF-8 text (byte {error.start + 1})"
        return
    except Unreadable as error:
        yield str(error)
        return
    yield from document_problems(document, check)
    if portable:
        yield from _ours(document)


def _ours(document: Mapping[str, Any]) -> Iterator[str]:
    for configuration in plugin_configurations(document):
        for path in beyond_enterprise(configuration.raw):
            message = "is not in Kong Enterprise's plugin; remove it to be portable"
            yield str(configuration.placed(Problem(path, message)))


def document_problems(document: Mapping[str, Any], check: SourceCheck) -> Iterator[str]:
    """Every problem of the plugin's configurations in a declarative document, each with its path."""
    from request_callout.config import InvalidConfiguration, load

    for problem in file_problems(document):
        yield str(problem)
    for configuration in plugin_configurations(document):
        problems = nulls(configuration.raw)
        try:
            load(configuration.raw, check)
        except InvalidConfiguration as invalid:
            problems += invalid.problems
        for problem in problems:
            yield str(configuration.placed(problem))


def _text(file: str) -> str:
    return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8-sig")
