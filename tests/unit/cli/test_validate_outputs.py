from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from request_callout.cli import main
from request_callout.cli.validate.rules import RULES

ROOT = Path(__file__).parents[3]
WRONG = Path(__file__).parent / "wrong"

# Of the standard's schema what a reader of these logs goes by (SARIF 2.1.0, sections 3.13 to 3.49).
SARIF = {
    "type": "object",
    "required": ["version", "$schema", "runs"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": "2.1.0"},
        "$schema": {"type": "string", "format": "uri"},
        "runs": {
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "columnKind": {"enum": ["unicodeCodePoints", "utf16CodeUnits"]},
                    "invocations": {"items": {"required": ["executionSuccessful"]}},
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name", "version", "rules"],
                                "properties": {
                                    "rules": {
                                        "uniqueItems": True,
                                        "items": {
                                            "required": ["id", "shortDescription"],
                                            "properties": {"shortDescription": {"required": ["text"]}},
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "results": {
                        "items": {
                            "required": ["ruleId", "ruleIndex", "level", "message", "locations"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"enum": list(RULES)},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": {"required": ["text"], "properties": {"text": {"minLength": 1}}},
                                "locations": {
                                    "minItems": 1,
                                    "items": {
                                        "required": ["physicalLocation"],
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": {
                                                        "required": ["uri"],
                                                        "properties": {"uri": {"pattern": "^[!-~]+$"}},
                                                    },
                                                    "region": {
                                                        "required": ["startLine", "startColumn"],
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                        },
                                                    },
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        }
                    },
                },
            },
        },
    },
}

WARNED = """_format_version: "3.0"
plugins:
- name: request-callout
  config: {callouts: [{name: a, request: {url: "http://a", destination: {}}}]}
"""
UNSET = """_format_version: "3.0"
plugins:
- name: request-callout
  config:
    deadline_ms: ${{ env "DECK_DEADLINE" | toInt }}
    callouts:
    - name: ${{ env "DECK_NAME" }}
      request:
        url: http://${{ env "DECK_HOST" }}/path  # from ${{- env "DECK_HOST" -}} it is
        by_lua: |
          ${{ env "DECK_SCRIPT" | indent 10 }}
        method: G E T
"""


def run(*arguments: str | Path, text: str = "", environment: dict[str, str | None] | None = None) -> Result:
    """The command, which never ends in a traceback."""
    result = CliRunner().invoke(main, ["validate", *map(str, arguments)], input=text, env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def wrong() -> list[str]:
    return sorted(path.name for path in WRONG.glob("[0-9]*"))


def test_json_has_every_finding_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON has the same findings as the text."""
    monkeypatch.chdir(WRONG)
    document = json.loads(run("--output", "json", *wrong()).output)
    lines = [
        f"{one['file']}:{one['line']}:{one['column']}: "
        + ("" if one["level"] == "error" else f"{one['level']}: ")
        + (f"{one['path']}: " if one["path"] else "")
        + f"{one['message']} [{one['rule']}]"
        for one in document["problems"]
    ]
    told = [line for line in run(*wrong()).output.splitlines() if line.endswith("]")]
    assert lines == told
    assert {one["file"] for one in document["files"]} == set(wrong())


def test_sarif_is_as_the_standard_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has every finding under its rule, with a relative URI and a place."""
    monkeypatch.chdir(WRONG)
    result = run("--output", "sarif", *wrong(), WRONG / "51-warnings.yml", "/no such/file")
    log: dict[str, Any] = json.loads(result.output)
    jsonschema.Draft202012Validator(SARIF).validate(log)
    (made,) = log["runs"]
    rules = [rule["id"] for rule in made["tool"]["driver"]["rules"]]
    assert all(rules[one["ruleIndex"]] == one["ruleId"] for one in made["results"])
    assert {one["level"] for one in made["results"]} == {"error", "warning", "note"}
    uris = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in made["results"]]
    assert set(uris) - set(wrong()) == {"file:///no%20such/file"}


def test_a_good_file_has_a_log_without_results() -> None:
    """A run without findings is told as one, which is how code scanning closes alerts."""
    result = run("--output", "sarif", ROOT / "examples" / "retry" / "kong.yml")
    assert json.loads(result.output)["runs"][0]["results"] == []
    assert result.exit_code == 0


def test_annotations_are_escaped_as_github_reads_them(tmp_path: Path) -> None:
    """Percent signs are escaped, in properties colons and commas too; each finding is one line."""
    path = tmp_path / "a,b:c.yml"
    path.write_text(
        'name: request-callout\nconfig: {callouts: [{name: a, request: {url: "http://a", "x%\\n\\e[1m": 1}}]}\n'
    )
    (line,) = run("--output", "github", path).output.splitlines()
    found = re.fullmatch(r"::error file=(.*),line=2,col=58,title=request-callout unknown-field::(.*)", line)
    assert found is not None
    assert found[1].endswith("a%2Cb%3Ac.yml")
    assert found[2].startswith("config.callouts[1].request.x%25%0A\\x1b[1m: unknown field")


def test_warnings_are_no_failure_unless_strict() -> None:
    """A warning is told with its level; the status is 0, with --strict it is 1."""
    result = run("-", text=WARNED)
    assert "-:4:73: warning: plugins[1].config.callouts[1].request.destination: restricts nothing" in result.output
    assert result.output.endswith("1 warning in 1 file\n")
    assert result.exit_code == 0
    assert run("--strict", "-", text=WARNED).exit_code == 1


def test_quiet_leaves_out_good_files() -> None:
    """With --quiet a good file is no line."""
    assert run("--quiet", ROOT / "examples" / "retry" / "kong.yml").output == ""


def test_an_unknown_output_is_an_error_of_usage() -> None:
    """The status of a wrong command line is 2."""
    assert run("--output", "xml", "-").exit_code == 2


def test_variables_that_are_not_set_are_told_and_nothing_that_depends_on_them() -> None:
    """Each use of an unset variable is a problem at its place, and their values are not checked."""
    environment: dict[str, str | None] = dict.fromkeys(("DECK_DEADLINE", "DECK_NAME", "DECK_HOST", "DECK_SCRIPT"), None)
    found = run("-", text=UNSET, environment=environment).output.splitlines()
    assert [line.partition(": ")[0] for line in found[:-1]] == [
        f"-:{at}" for at in ("5:18", "7:13", "9:21", "9:57", "11:11", "12:17")
    ]
    assert "DECK_DEADLINE is not set [unset]" in found[0]
    (only, _) = run("--allow-unset", "-", text=UNSET, environment=environment).output.splitlines()
    assert only.startswith("-:12:17: ")


def test_variables_that_are_set_are_checked_and_not_shown() -> None:
    """Values from the environment are checked as if they stood there; messages and paths do not hold them."""
    environment: dict[str, str | None] = {
        "DECK_DEADLINE": "12x",
        "DECK_NAME": "first",
        "DECK_HOST": "secret-host bad",
        "DECK_SCRIPT": "local a = 1\nlocal = secretvalue",
    }
    result = run("-", text=UNSET, environment=environment)
    assert "-:5:18: the value of DECK_DEADLINE is no whole number, as toInt asks [template]" in result.output
    assert "-:9:14: plugins[1].config.callouts[1].request.url: is no valid URL" in result.output
    assert "-:11:11: plugins[1].config.callouts[1].request.by_lua: '<name>' expected near '='" in result.output
    assert not re.search("secret|12x", result.output)


def test_the_hook_for_pre_commit_names_a_command_of_ours() -> None:
    """The hook's entry runs on a file as pre-commit runs it, and its pattern takes the files that it is for."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert {"id", "name", "entry", "language", "files", "types_or"} <= set(hook)
    program, *arguments = hook["entry"].split()
    assert (program, hook["language"]) == ("request-callout", "python")
    good, bad = ROOT / "examples" / "retry" / "kong.yml", WRONG / "13-missing-url.yml"
    assert CliRunner().invoke(main, [*arguments, str(good)]).exit_code == 0
    assert CliRunner().invoke(main, [*arguments, str(bad)]).exit_code == 1
    taken = (
        "kong.yml",
        "deploy/kong.yaml",
        "deck-prod.yml",
        "kong/services.yml",
        "x/manifests/plugin.yaml",
        "a.tf.json",
    )
    left = ("docker-compose.yml", "src/app.json", "konga.txt", "package.json")
    assert [name for name in (*taken, *left) if re.search(hook["files"], name)] == list(taken)


SECRET_OF_KUBERNETES = """apiVersion: configuration.konghq.com/v1
kind: KongPlugin
metadata: {name: a}
plugin: request-callout
configFrom: {secretKeyRef: {name: s, key: k}}
"""


def test_a_configuration_that_is_elsewhere_is_not_missing(tmp_path: Path) -> None:
    """Where a note says that the configuration can't be seen, no line says that there is none; nor with --quiet."""
    (tmp_path / "a.yml").write_text(SECRET_OF_KUBERNETES)
    (tmp_path / "b.yml").write_text('_format_version: "3.0"')
    output = run(tmp_path / "a.yml", tmp_path / "b.yml").output
    assert [line.partition(": ")[2] for line in output.splitlines()] == [
        "note: configFrom: the configuration is in a Secret and can't be seen here; validate the text that the Secret "
        "holds [unseen]",
        "no request-callout configuration in it",
    ]
    assert "no request-callout configuration" not in run("--quiet", tmp_path / "a.yml", tmp_path / "b.yml").output


@pytest.mark.parametrize(("files", "summary"), [(1, "1 problem in 1 file"), (2, "2 problems in 2 files")])
def test_the_summary_counts(tmp_path: Path, files: int, summary: str) -> None:
    """Problems and files, in the singular and the plural."""
    for number in range(files):
        (tmp_path / f"{number}.yml").write_text('_format_version: "3.0"\nplugins: [{name: request-callout}]')
    (tmp_path / "fine.yml").write_text('_format_version: "3.0"')
    assert run(*sorted(tmp_path.iterdir())).output.splitlines()[-1] == summary
