"""The command and its options."""

from __future__ import annotations

import os
import sys

import click

_ENDINGS = (".yml", ".yaml", ".json")
FORMATS = ("text", "json", "sarif", "github")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--portable", is_flag=True, help="Tell of fields that Kong Enterprise's plugin does not have, too.")
@click.option("--strict", is_flag=True, help="Warnings give status 1 as problems do.")
@click.option("--allow-unset", is_flag=True, help="Variables of decK that are not set are no problem.")
@click.option("--quiet", is_flag=True, help="No line for a file without problems.")
@click.option(
    "--output",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="How findings are printed: lines, JSON, SARIF 2.1.0, or annotations of GitHub's workflows.",
)
def validate(files: tuple[str, ...], portable: bool, strict: bool, allow_unset: bool, quiet: bool, output: str) -> None:
    """Check every request-callout configuration in FILEs, without a Kong. A FILE of - is the standard input.

    A FILE is a declarative file of Kong or decK (templates of decK take the environment's variables), JSON of the Admin
    API, a manifest with KongPlugin or KongClusterPlugin, Terraform in JSON (or terraform show -json), or a
    configuration alone; or a directory, for all YAML and JSON files in it.

    Each finding is a line, FILE:LINE:COLUMN: PATH: what is wrong and what to do [rule]. Warnings are of what can be
    used and is surely not meant.

    With --portable each field that goes beyond Kong Enterprise's plugin is a problem too, and a file without any is
    told to be portable.

    The status is 0 if there is no problem, 1 if there is one, 2 if the command line is wrong.
    """
    from request_callout.cli.validate import outputs
    from request_callout.cli.validate.checking import Checks
    from request_callout.lua import Lua

    checks = Checks(Lua().check, os.environ, portable=portable, allow_unset=allow_unset)
    results = [checks.check(one) for file in files for one in _in(file)]
    style = outputs.Style(quiet=quiet, good="portable" if portable else "ok")
    click.echo(outputs.FORMATS[output](results, style), nl=False)
    failing = ("error", "warning") if strict else ("error",)
    if any(result.count(*failing) for result in results):
        sys.exit(1)


def _in(file: str) -> list[str]:
    """The files of a directory, those that are hidden left out; of anything else the name itself."""
    if file == "-" or not os.path.isdir(file):
        return [file]
    found = []
    for folder, below, names in os.walk(file):
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += [os.path.join(folder, name) for name in sorted(names) if name.endswith(_ENDINGS) and name[0] != "."]
    return found or [os.path.join(file, "*.yml")]
