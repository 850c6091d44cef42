"""``request-callout convert``: reads a source, picks its format, writes the result and the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from request_callout.cli.convert.output import Format, written
from request_callout.cli.convert.report import Report, Unconvertible
from request_callout.cli.convert.source import FORMATS, SourceFormat, opened

LEFT_OUT = 3
"""Status when something of the source is not in the result."""


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--from", "source_format", type=click.Choice(FORMATS), help="What SOURCE is, if not what its content tells."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the result goes, in place of the standard output.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the report as JSON too.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json"]),
    help="How the result is written; YAML if not given, JSON for an Enterprise configuration in JSON.",
)
def convert(
    source: str, source_format: SourceFormat | None, output: Path | None, report_file: Path | None, form: Format | None
) -> None:
    """Convert SOURCE into a declarative file for open-source Kong with this plugin.

    \b
    enterprise  a declarative file of Kong Enterprise's or decK's (YAML or JSON),
                or what its Admin API answers (JSON)
    krakend     a KrakenD configuration (JSON)
    apigee      a proxy bundle (directory or zip), or a ServiceCallout policy (XML)

    SOURCE is a file, a directory, or - for the standard input. What can't be converted is told on the standard error,
    a line each: FILE: PLACE: what, why, and what to do instead. The result is always one that request-callout validate
    accepts.

    The status is 0 if all was converted, 3 if something was left out, 1 if there is no result.
    """  # noqa: D301  (click reads the character)
    try:
        read = opened(source, source_format)
        report = Report()
        document = read.converted(report)
        _check(document)
        text = written(document, form or ("json" if read.is_json else "yaml"))
    except Unconvertible as error:
        raise click.ClickException(f"{source}: {error}") from None
    for line in report.lines():
        click.echo(f"{source}: {line}", err=True)
    if report_file is not None:
        _write(report_file, report.as_json(source, read.format))
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    if not report.is_complete:
        sys.exit(LEFT_OUT)


def _check(document: dict[str, Any]) -> None:
    """Raise Unconvertible if the result is not one that Kong and the plugin take: so is the source, then."""
    from request_callout.cli.validate import document_problems
    from request_callout.lua import Lua

    problems = list(document_problems(document, Lua().check))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise Unconvertible("", f"the result would not be valid, {count}:" + "".join(f"\n  {one}" for one in problems))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise click.ClickException(f"{file}: can't be written: {error.strerror or error}") from None
