"""The command ``explain``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console

from request_callout.cli.explain.explanation import Explanation
from request_callout.config.settings import Settings


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A text for people, or one JSON document for programs.",
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with the plan's picture here."
)
@click.option(
    "--deadline-ms",
    type=click.IntRange(min=1),
    default=Settings().deadline_ms,
    show_default=True,
    help="As serve has it: where a configuration has no deadline_ms of its own.",
)
@click.option("--strict", is_flag=True, help="End with status 1 if there is any warning; advice does not count.")
def explain(file: str, output: str, html: Path | None, deadline_ms: int, strict: bool) -> None:
    """Tell what every request-callout configuration in FILE will do, before it does it.

    FILE is what validate takes; - is the standard input. Shown are the plan (what runs side by side, what waits for
    what and why), what is read from the client, sent, decoded and cached, the longest times, what happens on errors,
    and warnings with their remedies. Nothing is called, and secrets are not shown.

    A FILE that is not valid gives validate's messages, and status 1.
    """
    from request_callout.cli.explain.files import explained

    explanations = explained(file, Settings(deadline_ms=deadline_ms))
    if html is not None:
        from request_callout.cli.explain.page import page

        _write(html, page("standard input" if file == "-" else Path(file).name, explanations))
    if output == "json":
        sys.stdout.buffer.write(orjson.dumps(_as_json(file, explanations), option=orjson.OPT_INDENT_2) + b"\n")
    elif html is not None:
        click.echo(f"{html}: {_count(explanations)}")
    else:
        from request_callout.cli.explain.terminal import show

        show(explanations, Console(highlight=False))
    if strict and any(warning.level == "warning" for one in explanations for warning in one.warnings):
        sys.exit(1)


def _as_json(file: str, explanations: Sequence[Explanation]) -> dict[str, Any]:
    return {"file": file, "configurations": [asdict(one) for one in explanations]}


def _count(explanations: Sequence[Explanation]) -> str:
    found = [warning for one in explanations for warning in one.warnings]
    warnings = sum(one.level == "warning" for one in found)
    counts = ((len(explanations), "configuration"), (warnings, "warning"), (len(found) - warnings, "piece"))
    return ", ".join(f"{count} {what}{'s' if count != 1 else ''}" for count, what in counts) + " of advice"


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{file} can't be written: {error.strerror or error}") from None
