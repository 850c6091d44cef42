"""Wrong configurations of all kinds: what is told of each, with line and column. The table is ``wrong/expected.txt``.

After a change that is meant, write the table anew: ``cd tests/unit/cli/wrong && env -i PATH="$PATH" LC_ALL=C
sh -c 'request-callout validate [0-9]*' > expected.txt``, and read the difference.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from request_callout.cli.validate.checking import Checked, Checks
from request_callout.cli.validate.outputs import Style, as_github, as_json, as_sarif, as_text
from request_callout.cli.validate.rules import RULES
from request_callout.lua import Lua

HERE = Path(__file__).parent / "wrong"
FILES = sorted(path.name for path in HERE.glob("[0-9]*"))
EXPECTED = (HERE / "expected.txt").read_text("utf-8").splitlines()
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/kong.yml"))
LINE = re.compile(
    r"(?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+): (?P<level>warning: |note: )?.* \[(?P<rule>[a-z-]+)\]"
)

CHECKS = Checks(Lua().check, {})


def of(name: str) -> list[str]:
    """What the table has for a file."""
    return [line for line in EXPECTED if line.startswith(f"{name}:")]


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_is_told_with_its_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong file has the findings of the table: place, path, message and rule."""
    monkeypatch.chdir(HERE)
    told = as_text([CHECKS.check(name)], Style()).splitlines()
    assert [line for line in told if line.startswith(name)] == of(name)
    assert of(name)


def test_the_table_shows_every_kind_of_finding() -> None:
    """There are more than forty wrong files, every rule occurs, and each place is one of the file."""
    assert len(FILES) > 40
    places = [found for line in EXPECTED if (found := LINE.fullmatch(line))]
    assert {found["rule"] for found in places} == set(RULES) - {"portable"}
    for found in places:
        lines = (HERE / found["file"]).read_text("utf-8").split("\n")
        assert 1 <= int(found["line"]) <= len(lines)
        assert 1 <= int(found["column"]) <= len(lines[int(found["line"]) - 1]) + 1


def test_only_files_without_a_finding_have_no_place() -> None:
    """Every line of the table is a finding with its place, says that there is nothing in a file, or counts."""
    other = [line for line in EXPECTED if not LINE.fullmatch(line)]
    assert [line.partition(": ")[2] for line in other[:-1]] == ["no request-callout configuration in it"] * 2
    assert re.fullmatch(r"\d+ problems and \d+ warnings in \d+ files", other[-1])


def looked_at(text: str, name: str) -> Checked:
    """The findings for a text, which can be printed in every way and have their places."""
    checked = CHECKS.check_text(name, text)
    lines = text.split("\n")
    for finding in checked.findings:
        assert finding.place is not None
        assert 1 <= finding.place.line <= len(lines)
        assert 1 <= finding.place.column <= len(lines[finding.place.line - 1]) + 1
        assert finding.problem.rule in RULES
    for output in (as_text, as_json, as_sarif, as_github):
        output([checked], Style()).encode("utf-8")
    return checked


VALUES = (
    "7",
    "true",
    "null",
    "[]",
    "{}",
    "[[1]]",
    "'text'",
    "-1e400",
    ".nan",
    "!!binary x",
    "&a",
    "*a",
    "$(",
    "2024-01-01",
)


def without_lines(text: str, choose: random.Random) -> str:
    lines = text.split("\n")
    for _ in range(choose.randint(1, 3)):
        del lines[choose.randrange(len(lines))]
    return "\n".join(lines)


def other_values(text: str, choose: random.Random) -> str:
    return re.sub(
        r"(?<=: )[^\n]+", lambda found: choose.choice(VALUES) if choose.random() < 0.15 else found.group(), text
    )


def cut(text: str, choose: random.Random) -> str:
    return text[: choose.randrange(len(text))]


def spoilt(text: str, choose: random.Random) -> str:
    characters = list(text)
    for _ in range(choose.randint(1, 8)):
        characters[choose.randrange(len(characters))] = choose.choice(
            "\x00\t\r\"'{}[]:|>&*!%@`#-\u2028\ufeff\ud800\U0001f600 "
        )
    return "".join(characters)


def other_indentation(text: str, choose: random.Random) -> str:
    lines = text.split("\n")
    place = choose.randrange(len(lines))
    lines[place] = " " * choose.randint(0, 12) + lines[place].lstrip()
    return "\n".join(lines)


def as_json_with_other_types(text: str, choose: random.Random) -> str:
    def other(value: object) -> object:
        if choose.random() < 0.03:
            return choose.choice([None, 1, -2.5, "", "x", [], {}, [None], {"a": {}}, True, 10**40, "\ud83d"])
        if isinstance(value, dict):
            return {name: other(one) for name, one in value.items()}
        return [other(one) for one in value] if isinstance(value, list) else value

    return json.dumps(other(yaml.safe_load(text)), indent=choose.choice([None, "\t", 2]))


@pytest.mark.parametrize(
    "spoil", [without_lines, other_values, cut, spoilt, other_indentation, as_json_with_other_types]
)
def test_a_spoilt_file_never_ends_in_a_traceback(spoil: Callable[[str, random.Random], str]) -> None:
    """Whatever becomes of an example, there are findings with places or none, and they can be printed."""
    choose = random.Random(spoil.__name__)  # the same files in every run
    troubled = 0
    for path in EXAMPLES * 4:
        troubled += looked_at(spoil(path.read_text("utf-8"), choose), "x.yml").count("error") > 0
    assert troubled > 10


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
            for before, name in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "a: 0x" + "f" * 100_000,
        "a: " + "9" * 100_000,
        '{"a": ' + "9" * 100_000 + "}",
        "? [a]\n: b\n",
        "? {a: b}\n: b\n",
        "a: !!timestamp x\n",
        "a: !!set {x, y}\nplugins: !!omap [a: b]\n",
        "callouts: !!set {x, y}\n",
        "callouts: !!binary eA==\nupstream: !!timestamp 2024-01-01\n",
        "config: {callouts: [{name: a, request: {url: !!timestamp 2024-01-01}}]}",
        "callouts:\n- name: a\n  request: {url: !!binary /w==, body: {custom: {x: !!set {a}}}}\n",
        "--- a\n--- b\n...\n--- [c]\n",
        "%YAML 9.9\n--- {}\n",
        "${{",
        "${{ env `DECK_A` | indent 999 }}",
        "a: ${{ env }} ${{- /* x */ -}} b",
        '{"name": "request-callout", "config": {"callouts": [{"name": "\\ud800"}]}}',
        "{kind: KongPlugin, plugin: request-callout, config: 7, configPatches: [7, {path: 7}, {path: /a/b}]}",
        "kind: List\nitems: [7, {kind: List, items: [[]]}, {kind: KongPlugin, plugin: request-callout, config: [x]}]\n",
        "resource: [7, {a: 7, b_plugin: [{c: [7, {name: request-callout, config: 7}]}]}]\n",
        "planned_values: {root_module: {resources: [{type: 7, values: {}}], child_modules: 7}}\n",
        "_format_version: [1]\nplugins: {a: b}\nservices: [[], {plugins: [7, {name: request-callout, config: 7}]}]\n",
        "_format_version: '3.0'\n_plugin_configs: [x]\nplugins: [{name: request-callout, _config: [x]}]\n",
        "name: request-callout\nconfig: text\n",
        "data: [7, {name: request-callout, config: 7}]\n",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_made_to_hurt_is_told(text: str) -> None:
    """Texts that are deep, huge or odd are read in no time, or refused with a place."""
    looked_at(text, "x.yml")
    looked_at(text, "x.json")


def test_bytes_that_are_no_text_are_told_with_their_place(tmp_path: Path) -> None:
    """A binary file has one finding, at the first byte that is no UTF-8."""
    (tmp_path / "x.yml").write_bytes(b"a: b\nc: \xff\xfe\x00" + bytes(range(256)))
    (finding,) = CHECKS.check(str(tmp_path / "x.yml")).findings
    assert finding.place is not None
    assert (finding.place.line, finding.place.column, finding.problem.rule) == (2, 4, "syntax")
