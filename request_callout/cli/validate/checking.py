"""From the text of a file to its findings: problems with the file's name, lines and columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from request_callout.cli.validate.advice import advice
from request_callout.cli.validate.documents import loaded
from request_callout.cli.validate.substituted import without_values
from request_callout.config.deck_templates import is_unknown
from request_callout.config.documents import line_and_column
from request_callout.config.files import File, Found, read_file
from request_callout.config.parts import items
from request_callout.config.places import Place
from request_callout.config.portable import beyond_enterprise
from request_callout.config.problems import Problem

if TYPE_CHECKING:
    from request_callout.config import SourceCheck
    from request_callout.config.model import Configuration


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a file; ``place`` is None only if the file can't be read at all."""

    file: str
    problem: Problem
    place: Place | None


@dataclass(frozen=True, slots=True)
class Checked:
    """A file after the checks: its configurations, None for one that the plugin does not take, and what is wrong."""

    file: str
    configurations: tuple[Configuration | None, ...]
    findings: tuple[Finding, ...]

    def count(self, *levels: str) -> int:
        """How many findings of these levels there are."""
        return sum(finding.problem.level in levels for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Checks:
    """What to check; ``check_source`` finds syntax errors in Lua, ``environment`` is for ``read_file``."""

    check_source: SourceCheck
    environment: Mapping[str, str] | None
    portable: bool = False
    allow_unset: bool = False

    def check(self, file: str) -> Checked:
        """Check one file, ``-`` for the standard input."""
        try:
            data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            return Checked(file, (), (Finding(file, Problem("", f"can't be read: {reason}", rule="syntax"), None),))
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8", "replace")
            problem = Problem("", f"is no UTF-8 text (byte {error.start + 1}); save it as UTF-8", rule="syntax")
            place = Place(*line_and_column(before, len(before)))
            return Checked(file, (), (Finding(file, problem, place),))
        return self.check_text(file, text.replace("\r\n", "\n"))

    def check_text(self, file: str, text: str) -> Checked:
        """Check the text of a file."""
        if file.endswith(".tf"):
            message = "Terraform's HCL can't be read here; validate a plan: terraform show -json PLAN"
            return Checked(file, (), (Finding(file, Problem("", message, rule="syntax"), Place(1, 1)),))
        return self.check_read(file, read_file(text, self.environment, name=file))

    def check_read(self, file: str, read: File) -> Checked:
        """Check what a file holds, as it was read with the same environment."""
        found = [one for one in read.found if not (self.allow_unset and one.problem.rule == "unset")]
        configurations = []
        explained = set(_explained(found))
        for standing in read.configurations:
            configuration, problems = self._of(standing.configuration.raw)
            configurations.append(configuration)
            placed = [Found(standing.configuration.placed(one), standing.place(one)) for one in problems]
            found += [one for one in placed if one.problem.path not in explained]
        findings = {
            (one.place, one.problem.path, one.problem.message): Finding(
                file, without_values(one.problem, read.secrets, read.put_into(one.place.line)), one.place
            )
            for one in sorted(found, key=lambda one: one.place)
        }
        return Checked(file, tuple(configurations), tuple(findings.values()))

    def _of(self, raw: Any) -> tuple[Configuration | None, list[Problem]]:
        """A configuration, and all that is wrong with it and can be seen."""
        configuration: Configuration | None = None
        try:
            configuration, problems = loaded(raw, self.check_source)
            problems += _beside(problems, advice(raw))
        except RecursionError:
            problems = [Problem("config", "nested too deep", rule="schema")]
        if self.portable:
            message = "is not in Kong Enterprise's plugin; remove it to be portable"
            problems += [Problem(path, message, rule="portable") for path in beyond_enterprise(raw)]
        return configuration, [problem for problem in problems if not _unseen(problem, raw)]


def _explained(found: Sequence[Found]) -> Iterator[str]:
    """The fields that are missing only because of what is wrong around the configurations."""
    for one in found:
        plugin, _, name = one.problem.path.rpartition(".")
        if one.problem.rule == "unknown-field":
            yield f"{plugin}.config.{name}"
        elif name == "_config":
            yield f"{plugin}.config.callouts"


def _beside(problems: Sequence[Problem], warnings: Sequence[Problem]) -> list[Problem]:
    """The warnings but those at places that have errors, from which they may follow."""
    wrong = {problem.path for problem in problems}
    return [warning for warning in warnings if warning.path not in wrong]


def _unseen(problem: Problem, raw: Any) -> bool:
    """Whether a problem may come from a value that can't be seen."""
    if is_unknown(problem.path):
        return True
    if problem.rule in ("unknown-field", "portable"):
        return False
    if problem.rule in ("dependency", "name") and isinstance(raw, Mapping):
        return any(isinstance(one, Mapping) and is_unknown(one.get("name")) for one in items(raw, "callouts"))
    return is_unknown(_at(raw, problem.path.removeprefix("config")))


def _at(value: Any, path: str) -> Any:
    """The value that a path leads to, None if there is none."""
    while path:
        if path.startswith("[") and isinstance(value, list):
            number, _, path = path[1:].partition("]")
            if not (number.isdecimal() and 1 <= int(number) <= len(value)):
                return None
            value = value[int(number) - 1]
            continue
        if not isinstance(value, Mapping):
            return None
        names = [name for name in value if path.startswith(f".{name}")]
        name = max(
            (name for name in names if path[len(f".{name}") :][:1] in ("", ".", "[")),
            key=lambda name: len(str(name)),
            default=None,
        )
        if name is None:
            return None
        value, path = value[name], path[len(f".{name}") :]
    return value
