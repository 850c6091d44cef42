"""From a file to the explanations of what is in it, read and checked as ``validate`` does."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from request_callout.cli.explain.examining import examined
from request_callout.cli.explain.explanation import Explanation, Warning
from request_callout.cli.explain.subject import Subject, subject
from request_callout.cli.validate.checking import Checked, Checks
from request_callout.cli.validate.outputs import Style, as_text
from request_callout.config import InvalidConfiguration, load
from request_callout.config.files import File, Standing, read_file
from request_callout.config.problems import Problem
from request_callout.config.settings import Settings
from request_callout.lua import Lua

_PLACE = re.compile(r"(\w+)\[([0-9]+)\]\.")
_SCOPES = {"services": "service", "routes": "route", "consumers": "consumer", "consumer_groups": "consumer group"}


def explained(file: str, settings: Settings) -> list[Explanation]:
    """What every configuration in a file does; prints what is wrong and ends with status 1 if that can't be told."""
    lua = Lua()
    checks = Checks(lua.check, os.environ)
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, ValueError):
        found = File((), (), {})
        checked = checks.check(file)  # which says what is wrong
    else:
        found = read_file(text, os.environ, name=file)
        checked = checks.check_read(file, found)
    if checked.count("error"):
        click.echo(as_text([checked], Style(quiet=True)), nl=False)
        sys.exit(1)
    if not found.configurations:
        click.echo(f"{file}: there is no configuration of request-callout in it; give a file that has one")
        sys.exit(1)
    given = frozenset(found.secrets.values())
    document = found.top if isinstance(found.top, Mapping) else {}
    loaded = [
        configuration or _unseen(file, standing, lua)
        for standing, configuration in zip(found.configurations, checked.configurations, strict=True)
    ]
    return [
        _explained(standing, subject(one, lua, settings, given), checked, document)
        for standing, one in zip(found.configurations, loaded, strict=True)
    ]


def _unseen(file: str, standing: Standing, lua: Lua) -> NoReturn:
    """Say what the plugin would not take, in a configuration that it may take with what the file keeps elsewhere."""
    try:
        load(standing.configuration.raw, lua.check)
    except InvalidConfiguration as error:
        click.echo(f"{file}: {standing.configuration.placed(error.problems[0])} (its value can't be seen here)")
    sys.exit(1)


def _explained(standing: Standing, looked_at: Subject, checked: Checked, document: Mapping[str, Any]) -> Explanation:
    configuration, shown = standing.configuration, looked_at.shown
    one = examined(looked_at, configuration.path, shown.plain(place_of(document, configuration.path)))
    own = [replace(warning, line=_line(standing, warning, configuration.path)) for warning in one.warnings]
    validated = [
        replace(warning, message=shown.plain(warning.message), remedy=shown.plain(warning.remedy))
        for warning in _told(checked, configuration.path)
    ]
    told = sorted([*validated, *own], key=lambda warning: warning.level == "advice")
    return replace(one, warnings=tuple(told))


def _line(standing: Standing, warning: Warning, path: str) -> int:
    """The line of what a warning is about, or of the nearest that stands there."""
    return standing.place(Problem("config" + warning.path.removeprefix(path), "")).line


def _told(checked: Checked, path: str) -> Iterator[Warning]:
    """What ``validate`` warns of in one configuration."""
    for finding in checked.findings:
        problem = finding.problem
        if problem.level == "warning" and problem.path.startswith(path):
            message, _, remedy = problem.message.partition("; ")
            line = None if finding.place is None else finding.place.line
            yield Warning("warning", problem.rule, problem.path, message, remedy, line)


def place_of(document: Mapping[str, Any], path: str) -> str:
    """For which requests the configuration at a path of a file holds, by the names of what it is under."""
    entity: Any = document
    named: list[str] = []
    for kind, number in _PLACE.findall(path):
        found = entity.get(kind) if isinstance(entity, Mapping) else None
        entity = found[int(number) - 1] if isinstance(found, list) and len(found) >= int(number) else None
        if kind in _SCOPES and isinstance(entity, Mapping):
            named.insert(0, _named(_SCOPES[kind], entity))
    if named:
        return ", ".join(named)
    return "every request" if "_format_version" in document else path.removesuffix(".config") or "a configuration"


def _named(kind: str, entity: Mapping[str, Any]) -> str:
    name = entity.get("name") or entity.get("username") or entity.get("id")
    paths = entity.get("paths")
    text = f"{kind} {name}" if name else kind
    return f"{text} ({', '.join(map(str, paths))})" if isinstance(paths, list) and paths else text
