"""Enterprise's configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from request_callout.cli.validate import validate
from tests.unit.cli.converting import convert, converted, entries, loaded

ENTERPRISE = """# a comment
_format_version: "3.0"
_plugin_configs:
  shared:
    callouts:
    - {name: s, request: {url: "http://s", query: {custom: {debug: null}}}}
services:
- name: shop
  url: http://shop.internal
  routes:
  - name: orders
    paths: [/orders]
    plugins:
    - name: request-callout
      enabled: true
      config:
        upstream:
          headers: {forward: true, custom: {X-Debug: null, X-User: "$(callouts.user.response.body.id)"}}
        callouts:
        - name: user
          request:
            url: http://users/$(query_params.user)
            http_opts: null
            headers: {custom: {Cookie: null, Accept: application/json}, forward: true}
            query: {forward: true, custom: {session: null}}
            body: {custom: {password: null, "on": "yes"}, decode: true, forward: true}
            by_lua: |
              local started = ngx.now()
              kong.ctx.shared.started = started
          response: {body: {decode: true}}
        cache: {strategy: memory, cache_ttl: 60}
- name: other
  url: http://other
  plugins:
  - {name: request-callout, _config: shared}
  - {name: request-transformer, config: {add: null}}
"""


def plugin(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["services"][0]["routes"][0]["plugins"][0]
    return found


def test_nulls_become_names_to_remove() -> None:
    """An explicit null in a map of values to set becomes a name in remove, in headers, query and body."""
    document = converted(ENTERPRISE)
    config = plugin(document)["config"]
    request = config["callouts"][0]["request"]
    assert request["headers"] == {"remove": ["Cookie"], "custom": {"Accept": "application/json"}, "forward": True}
    assert request["query"] == {"forward": True, "remove": ["session"]}
    assert request["body"] == {"remove": ["password"], "custom": {"on": "yes"}, "decode": True, "forward": True}
    assert config["upstream"]["headers"]["remove"] == ["X-Debug"]
    assert document["_plugin_configs"]["shared"]["callouts"][0]["request"]["query"] == {"remove": ["debug"]}
    assert len(loaded(document)) == 2


def test_a_null_for_a_record_goes() -> None:
    """Null for a record, which open-source Kong refuses, is left out."""
    assert "http_opts" not in plugin(converted(ENTERPRISE))["config"]["callouts"][0]["request"]


def test_all_else_stays_in_its_order() -> None:
    """What has no null is as it was, other plugins too, and so is the order of keys."""
    document = converted(ENTERPRISE)
    before = yaml.safe_load(ENTERPRISE)
    assert list(document) == list(before)
    assert document["services"][1] == before["services"][1]
    one, other = plugin(document), plugin(before)
    assert (list(one), list(one["config"])) == (list(other), list(other["config"]))
    assert one["config"]["callouts"][0]["request"]["by_lua"] == other["config"]["callouts"][0]["request"]["by_lua"]
    assert one["config"]["cache"] == other["config"]["cache"]


def test_what_is_converted_stays_when_converted_again() -> None:
    """A converted file has nothing more to convert."""
    text = convert("-", text=ENTERPRISE).stdout
    assert convert("-", text=text).stdout == text


def test_names_that_were_removed_before_stay() -> None:
    """Names in remove and those of nulls are one list, each once."""
    query = {"remove": ["a", "b"], "custom": {"b": None, "c": None}}
    config = {"callouts": [{"name": "x", "request": {"url": "http://x", "query": query}}]}
    document = converted({"name": "request-callout", "config": config})
    assert document["config"]["callouts"][0]["request"]["query"] == {"remove": ["a", "b", "c"]}


def test_json_stays_json(tmp_path: Path) -> None:
    """A plugin as the Admin API answers it comes out as JSON, without the nulls of whom it is for."""
    answer = {
        "id": "5c6f",
        "name": "request-callout",
        "route": None,
        "service": {"id": "77"},
        "config": {"callouts": [{"name": "a", "request": {"url": "http://a", "headers": {"custom": {"X": None}}}}]},
        "enabled": True,
    }
    source = tmp_path / "plugin.json"
    source.write_text(json.dumps(answer))
    result = convert(source)
    assert result.exit_code == 0
    made = json.loads(result.stdout)
    assert list(made) == ["id", "name", "service", "config", "enabled"]
    assert made["config"]["callouts"][0]["request"]["headers"] == {"remove": ["X"]}


def test_a_list_of_the_admin_api_becomes_a_file() -> None:
    """The plugins of an answer become a declarative file; whom they are for is not in it, which is reported."""
    config = {"callouts": [{"name": "a", "request": {"url": "http://a"}}]}
    listed = [
        {"name": "request-callout", "route": {"id": "r1"}, "consumer": None, "config": config},
        {"name": "cors", "config": {}},
    ]
    result = convert("-", text=json.dumps({"data": listed, "next": None}))
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document == {
        "_format_version": "3.0",
        "plugins": [{"name": "request-callout", "route": "r1", "config": config}],
    }
    assert [line.split(": ")[0] for line in entries(result)] == ["data[1].route"]


def test_partials_are_put_in() -> None:
    """A partial that the plugin names becomes fields of its cache.redis; what the plugin has itself wins."""
    document = {
        "_format_version": "3.0",
        "partials": [{"name": "r", "type": "redis-ee", "config": {"host": "redis.internal", "port": 6380}}],
        "plugins": [
            {
                "name": "request-callout",
                "partials": [{"name": "r"}],
                "config": {
                    "callouts": [{"name": "a", "request": {"url": "http://a"}}],
                    "cache": {"strategy": "redis", "redis": {"port": 7000, "password": None}},
                },
            }
        ],
    }
    made = converted(document)
    assert "partials" not in made
    [configuration] = loaded(made)
    assert (configuration.cache.redis.host, configuration.cache.redis.port) == ("redis.internal", 7000)


def test_what_only_enterprise_has_is_reported() -> None:
    """Workspaces, ordering and partials that are not there are left out, each with its place and a remedy."""
    document = yaml.safe_load(ENTERPRISE)
    document["_workspace"] = "default"
    plugin(document).update(ordering={"before": {"access": ["acl"]}}, partials=[{"name": "gone"}])
    result = convert("-", text=json.dumps(document))
    assert result.exit_code == 3
    made = json.loads(result.stdout)
    assert "_workspace" not in made
    assert "ordering" not in plugin(made)
    place = "services[1].routes[1].plugins[1]"
    assert [line.split(": ")[0] for line in entries(result)] == [
        f"{place}.ordering",
        f"{place}.partials[1]",
        "_workspace",
    ]


def test_report_and_output_are_files(tmp_path: Path) -> None:
    """--output has the result and --report a JSON document with source, format and every entry."""
    source, output, report = tmp_path / "kong.yml", tmp_path / "out.yml", tmp_path / "report.json"
    source.write_text(f"_workspace: w\n{ENTERPRISE}")
    result = convert(source, "--output", output, "--report", report)
    assert (result.exit_code, result.stdout) == (3, "")
    told = json.loads(report.read_text())
    assert (told["source"], told["format"], told["complete"]) == (str(source), "enterprise", False)
    assert [sorted(one) for one in told["entries"]] == [["instead", "kind", "place", "what", "why"]]
    from click.testing import CliRunner

    assert CliRunner().invoke(validate, [str(output)]).output == f"{output}: ok\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\n", "line 2, column 1: "),
        ("services: []\n", "there is no request-callout plugin in it"),
        (b"\xff\n", "is no UTF-8 text (byte 1)"),
        ("{{ .Values }}: [\n", "render a template first"),
        (
            '{"name": "request-callout", "config": {"callouts": [{"name": "a", "request": {"url": 7}}]}}',
            "config.callouts[1].request.url: expected a string",
        ),
    ],
)
def test_bad_sources_are_one_error(text: str | bytes, told: str) -> None:
    """What can't be converted ends with status 1, the file, the place and the reason, and no result."""
    result = convert("-", text=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: -: ")
    assert told in result.stderr


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    """A source that is not there and an output that can't be written are one error each."""
    missing = convert(tmp_path / "none.yml")
    assert (missing.exit_code, missing.stderr) == (
        1,
        f"Error: {tmp_path}/none.yml: can't be read: No such file or directory\n",
    )
    output = tmp_path / "none" / "out.yml"
    unwritable = convert("-", "--output", output, text=ENTERPRISE)
    assert unwritable.exit_code == 1
    assert f"{output}: can't be written" in unwritable.stderr
