from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from request_callout.cli.validate import validate

GOOD = """_format_version: "3.0"
services:
- name: s
  url: http://upstream
  plugins:
  - name: request-callout
    config:
      callouts:
      - {name: auth, request: {url: "{vault://env/url}", query: {custom: {a: "$(headers.host)"}}}}
"""
BAD = """_format_version: "3.0"
plugins:
- name: request-callout
  config:
    callouts:
    - name: a
      depends_on: [b]
      request: {url: nonsense, headers: {custom: {X-Gone: null}}, by_lua: "local x =\\n= 1"}
    - {name: b, depends_on: [a], request: {url: "http://b/$(1 +)"}}
- name: request-callout
  config: {}
"""


def run(*files: Path | str, text: str | bytes | None = None) -> Result:
    """The command, which never ends in a traceback."""
    result = CliRunner().invoke(validate, [str(file) for file in files], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yml"
    path.write_text(BAD)
    return path


def test_a_good_file_is_ok(good: Path) -> None:
    """A file without problems is one line and status 0."""
    result = run(good)
    assert (result.output, result.exit_code) == (f"{good}: ok\n", 0)


def test_every_problem_is_a_line_with_file_and_path(bad: Path) -> None:
    """Each problem of each plugin is FILE:LINE:COLUMN: PATH: message [rule]; the status is 1."""
    result = run(bad)
    assert result.exit_code == 1
    *found, summary = result.output.splitlines()
    first = "plugins[1].config.callouts"
    assert [line.removeprefix(f"{bad}:").rsplit(": ", 1)[0].split(": ")[:2] for line in found] == [
        ["7:19", f"{first}[1].depends_on"],
        ["8:22", f"{first}[1].request.url"],
        ["8:59", f"{first}[1].request.headers.custom.X-Gone"],
        ["8:87", f"{first}[1].request.by_lua"],
        ["9:61", f"{first}[2].request.url"],
        ["11:11", "plugins[2].config.callouts"],
    ]
    assert summary == "6 problems in 1 file"
    assert "a -> b -> a" in result.output


def test_all_files_are_checked(good: Path, bad: Path, tmp_path: Path) -> None:
    """A file that is bad or can't be read does not keep the others from being checked."""
    result = run(tmp_path / "none.yml", tmp_path / "\0", bad, good)
    lines = result.output.splitlines()
    assert lines[0] == f"{tmp_path / 'none.yml'}: can't be read: No such file or directory [syntax]"
    assert lines[1].startswith(f"{tmp_path}/\\x00: can't be read: ")
    assert lines[-2:] == [f"{good}: ok", "8 problems in 3 files"]
    assert result.exit_code == 1


def test_a_directory_is_its_files(good: Path, tmp_path: Path) -> None:
    """A directory stands for the YAML and JSON files in it and below; one without any is a problem."""
    folder, hidden, empty = tmp_path / "kong" / "eu", tmp_path / "kong" / ".git", tmp_path / "empty"
    for one in (folder, hidden, empty):
        one.mkdir(parents=True)
    for one in (folder / "b.yaml", folder / "a.json", hidden / "c.yml", folder / ".d.yml", folder / "e.txt"):
        one.write_text("{}" if one.name == "a.json" else good.read_text())
    nothing = "no request-callout configuration in it"
    assert run(tmp_path / "kong").output.splitlines() == [f"{folder}/a.json: {nothing}", f"{folder}/b.yaml: ok"]
    result = run(empty)
    assert result.output.splitlines()[0] == f"{empty}/*.yml: can't be read: No such file or directory [syntax]"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "\n".join(" " * n + "a:" for n in range(2000))]
)
def test_what_is_nested_very_deep_is_told(text: str) -> None:
    """Nothing that is nested ends the process."""
    result = run("-", text=text)
    assert (result.exit_code, result.exception.__class__) == (1, SystemExit)


def test_a_tab_after_a_colon_is_read_as_kong_reads_it() -> None:
    """What libyaml takes is no problem here, since Kong and decK read with it."""
    text = '_format_version: "3.0"\nplugins:\n- name:\trequest-callout\n  config: {callouts: []}\n'
    assert run("-", text=text).output == "-: ok\n"


def test_the_place_of_a_yaml_error_is_told() -> None:
    """A file that is no YAML is one problem with its line and column."""
    result = run("-", text="a: b\nc: [1\n")
    assert result.output.startswith("-:3:1: ")
    assert result.exit_code == 1


def test_a_file_that_is_no_text_is_told() -> None:
    """Bytes that are no UTF-8 are one problem."""
    result = run("-", text=b"a: \xff\n")
    assert result.output.startswith("-:1:4: is no UTF-8 text (byte 4)")
    assert result.exit_code == 1


def test_the_standard_input_may_be_checked() -> None:
    """The file - is what comes on the standard input."""
    assert run("-", text=GOOD).output == "-: ok\n"


def test_a_file_is_required() -> None:
    """Without a file the command says how it is used."""
    result = run()
    assert result.exit_code == 2
    assert "FILE..." in result.output


OURS = """_format_version: "3.0"
_plugin_configs:
  shared: {deadline_ms: 900}
plugins:
- name: request-callout
  _config: shared
  config:
    callouts:
    - {name: b, request: {url: "http://b", headers: {custom: {when: "1"}}}}
    - name: a
      when: $(true)
      for_each: {items: "$({1})", max_items: 5}
      request:
        url: http://a
        body: {typed: false}
        error: {retry_after: null}
"""


def test_fields_that_enterprise_does_not_have_are_told() -> None:
    """With --portable each field of ours is a line with its path, a record of ours is one, and the status is 1."""
    result = run("--portable", "-", text=OURS)
    ours = [f"callouts[2].{name}" for name in ("when", "for_each", "request.body.typed", "request.error.retry_after")]
    assert [line.split(": ")[1] for line in result.output.splitlines()[:-1]] == [
        f"plugins[1].config.{name}" for name in ("deadline_ms", *ours)
    ]
    assert "is not in Kong Enterprise's plugin; remove it" in result.output
    assert result.exit_code == 1
    assert run("-", text=OURS).output == "-: ok\n"


def test_a_file_without_fields_of_ours_is_portable(good: Path) -> None:
    """What has only the fields of Enterprise is told to be portable, and the status is 0."""
    result = run("--portable", good)
    assert (result.output, result.exit_code) == (f"{good}: portable\n", 0)


def test_portable_tells_of_problems_too(bad: Path) -> None:
    """A file with problems is not portable, even if all its fields are Enterprise's."""
    assert run("--portable", bad).output == run(bad).output


EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/kong.yml"))


def test_every_example_is_ok() -> None:
    """The examples have no problems."""
    assert EXAMPLES
    result = run(*EXAMPLES)
    assert result.output.splitlines() == [f"{path}: ok" for path in EXAMPLES]


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "0b" + "1" * 50_000, "1:" * 3000 + "1", "9" * 5000])
def test_a_number_of_thousands_of_digits_is_told(tmp_path: Path, number: str) -> None:
    """However a number is written that no computer's has room for: it is told with its place."""
    file = tmp_path / "kong.yml"
    file.write_text(f"callouts: []\ndeadline_ms: {number}\n")
    result = run(file)
    assert (result.exit_code, result.output.splitlines()[0]) == (1, f"{file}:2:14: can't be read as int [syntax]")
