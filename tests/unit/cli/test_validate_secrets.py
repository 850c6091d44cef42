"""What decK's variables stand for is in no finding, whatever becomes of it in YAML and in Lua."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from request_callout.cli import main

FILE = """_format_version: "3.0"
plugins:
- name: request-callout
  config:
    callouts:
    - name: a
      request:
        url: http://h/
        %s
"""
TEMPLATE = '${{ env "DECK_S" }}'
FIELDS = [
    'method: "%s"',
    "method: '%s'",
    "method: %s",
    "method: {a: %s}",
    "headers: {custom: {%s: [1]}}",
    'headers: {custom: {"%s": [1]}}',
    'headers: {custom: {A: "$(%s +)"}}',
    'headers: {custom: {A: "$(callouts.%s.response)"}}',
    'headers: {custom: {"$(callouts.%s.x)": a}}',
    'error: {on_error: "%s"}',
    'by_lua: "%s ="',
    'destination: {allow_hosts: ["%s"]}',
    '"%s": 1',
    "%s: 1",
]
VALUES = [
    *("planted0", "planted seecret", "planted, seecret", "planted: seecret", "planted # seecret", "PLANTED\nSEECRET"),
    *(
        "pl\\x61nted",
        "plan''ted0",
        'plan"ted0',
        "planted\\tseecret",
        "*planted",
        "!planted x",
        "&planted x",
        "@planted",
    ),
    *("{planted", "planted]", "planted.x[1]", "planted-seecret.x", "- planted", "plan$(ted0", "  planted\n   seecret"),
]
PARTS = ("planted", "seecret", "ted0", "x61nted")


def told(folder: Path, text: str, output: str = "json", **environment: str) -> str:
    """What is printed of a file with this text."""
    file = folder / "kong.yml"
    file.write_text(text)
    done = CliRunner(env=environment).invoke(main, ["validate", str(file), "--output", output])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


@pytest.mark.parametrize("field", FIELDS)
def test_no_part_of_a_value_is_told(tmp_path: Path, field: str) -> None:
    """Not as it is, and not what YAML, an expression or a script makes of it."""
    found = {}
    for value in VALUES:
        output = told(tmp_path, FILE % field.replace("%s", TEMPLATE), DECK_S=value)
        if any(part in output.lower() for part in PARTS):
            found[value] = output
    assert found == {}


@pytest.mark.parametrize("output", ["text", "json", "sarif", "github"])
def test_the_name_of_the_variable_is_told_instead(tmp_path: Path, output: str) -> None:
    """In every output, in messages and in paths."""
    text = FILE % f'method: "{TEMPLATE} x"\n        "{TEMPLATE}": 1'
    said = told(tmp_path, text, output, DECK_S="pl'nted0")
    assert "request.(value of DECK_S)" in said
    assert "(value of DECK_S) x" in said.replace('\\"', '"')
    assert "nted0" not in said


def problems(folder: Path, text: str, **environment: str) -> list[str]:
    """The messages of the problems in a file."""
    return [one["message"] for one in json.loads(told(folder, text, **environment))["problems"]]


def test_a_value_within_another_gives_nothing_away(tmp_path: Path) -> None:
    """Of two variables, one of which begins like the other, the longer is hidden first."""
    text = FILE % 'method: "${{ env "DECK_LONG" }} "\n        error: {on_error: "${{ env "DECK_SHORT" }}"}'
    method, *_ = problems(tmp_path, text, DECK_LONG="planted<>seecret", DECK_SHORT="planted<>")
    assert method.startswith("'(value of DECK_LONG) ' is no HTTP method")


def test_values_of_three_characters_are_left(tmp_path: Path) -> None:
    """So short a value can't be told from other text: it is no secret, and messages stay readable."""
    (method,) = problems(tmp_path, FILE % f'method: "{TEMPLATE}"', DECK_S="P T")
    assert method == "'P T' is no HTTP method; use one like GET or POST"
    (method,) = problems(tmp_path, FILE % f'method: "{TEMPLATE}"', DECK_S="P TT")
    assert method == "'(value of DECK_S)' is no HTTP method; use one like GET or POST"


def test_a_value_that_is_wrong_nowhere_is_put_in(tmp_path: Path) -> None:
    """Without any problem of its own, too: what follows from it is found."""
    assert problems(tmp_path, FILE % f'method: "{TEMPLATE}"', DECK_S="PATCH") == []
    (said,) = problems(tmp_path, FILE % f"error: {{retries: {TEMPLATE}}}", DECK_S="-100000")
    assert "-100000" not in said


def test_findings_of_other_lines_keep_their_words(tmp_path: Path) -> None:
    """A word of a value is hidden only where the value was put in, and only in quotes."""
    text = FILE % f'method: "P ST"\n        body: {{format: "method"}}\n        query: {{custom: {{a: "{TEMPLATE}"}}}}'
    before = problems(tmp_path, text, DECK_S="nothing")
    assert problems(tmp_path, text, DECK_S="HTTP method GET json form") == before
    (said,) = problems(tmp_path, FILE % f'method: "{TEMPLATE}"', DECK_S="like method")
    assert said == "'(value of DECK_S)' is no HTTP method; use one like GET or POST"
