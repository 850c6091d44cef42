"""The findings as text, JSON, SARIF 2.1.0 and annotations of GitHub's workflows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from request_callout import __version__
from request_callout.cli.validate.checking import Checked, Finding
from request_callout.cli.validate.rules import RULES
from request_callout.values import printable

_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_GITHUB_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}
_NOTHING = "no request-callout configuration in it"


@dataclass(frozen=True, slots=True)
class Style:
    """How the text is: with a line for files without problems (not ``quiet``), and which word that line has."""

    quiet: bool = False
    good: str = "ok"


def as_text(results: Sequence[Checked], style: Style) -> str:
    """A line for each finding, ``FILE:LINE:COLUMN: PATH: message [rule]``, and how many there are."""
    lines: list[str] = []
    for result in results:
        lines += [_line(finding) for finding in result.findings]
        if not (style.quiet or result.count("error", "warning") or (result.findings and not result.configurations)):
            word = style.good if result.configurations else _NOTHING
            lines.append(f"{printable(result.file)}: {word}")
    summary = _summary(results)
    return "".join(f"{line}\n" for line in [*lines, *([summary] if summary else [])])


def as_json(results: Sequence[Checked], style: Style) -> str:
    """One document with every file and every finding."""
    document = {
        "problems": [
            {
                "file": finding.file,
                "line": finding.place.line if finding.place else None,
                "column": finding.place.column if finding.place else None,
                "path": finding.problem.path,
                "level": finding.problem.level,
                "rule": finding.problem.rule,
                "message": finding.problem.message,
            }
            for finding in _findings(results)
        ],
        "files": [{"file": result.file, "configurations": len(result.configurations)} for result in results],
    }
    return json.dumps(document, indent=2) + "\n"


def as_sarif(results: Sequence[Checked], style: Style) -> str:
    """A log of one run, by the standard of OASIS."""
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in RULES.items()]
    driver = {"name": "request-callout", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True}],
        "results": [_sarif_result(finding) for finding in _findings(results)],
    }
    return json.dumps({"version": "2.1.0", "$schema": _SARIF_SCHEMA, "runs": [run]}, indent=2) + "\n"


def as_github(results: Sequence[Checked], style: Style) -> str:
    """A workflow command for each finding; GitHub shows them at their lines."""
    lines = []
    for finding in _findings(results):
        properties = {"file": finding.file}
        if finding.place is not None:
            properties |= {"line": str(finding.place.line), "col": str(finding.place.column)}
        properties["title"] = f"request-callout {finding.problem.rule}"
        listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        told = "\n".join(map(printable, _told(finding).split("\n")))
        level = _GITHUB_LEVELS[finding.problem.level]
        lines.append(f"::{level} {listed}::{_escaped(told)}\n")
    return "".join(lines)


FORMATS: dict[str, Callable[[Sequence[Checked], Style], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
}


def _findings(results: Sequence[Checked]) -> Iterator[Finding]:
    return (finding for result in results for finding in result.findings)


def _told(finding: Finding) -> str:
    problem = finding.problem
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


def _line(finding: Finding) -> str:
    place = f":{finding.place.line}:{finding.place.column}" if finding.place else ""
    level = "" if finding.problem.level == "error" else f"{finding.problem.level}: "
    return printable(f"{finding.file}{place}: {level}{_told(finding)} [{finding.problem.rule}]")


def _summary(results: Sequence[Checked]) -> str:
    concerned = [result for result in results if result.count("error", "warning")]
    counts = []
    for level, word in (("error", "problem"), ("warning", "warning")):
        number = sum(result.count(level) for result in concerned)
        if number:
            counts.append(f"{number} {word}{'s' if number > 1 else ''}")
    files = f"{len(concerned)} file{'s' if len(concerned) > 1 else ''}"
    return f"{' and '.join(counts)} in {files}" if counts else ""


def _sarif_result(finding: Finding) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(finding.file)}}}
    if finding.place is not None:
        region = {"startLine": finding.place.line, "startColumn": finding.place.column}
        location["physicalLocation"]["region"] = region
    if finding.problem.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.problem.path}]
    return {
        "ruleId": finding.problem.rule,
        "ruleIndex": list(RULES).index(finding.problem.rule),
        "level": finding.problem.level,
        "message": {"text": _told(finding)},
        "locations": [location],
    }


def _uri(file: str) -> str:
    """A relative path stays one, as GitHub's code scanning wants it; an absolute one becomes a file: URI."""
    if os.path.isabs(file):
        try:
            return quote(os.fsencode(str(Path(file).relative_to(Path.cwd()))))
        except ValueError:
            return "file://" + quote(os.fsencode(file))
    return quote(os.fsencode(os.path.normpath(file)))


def _escaped(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()  # the name of a file may be no UTF-8
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
