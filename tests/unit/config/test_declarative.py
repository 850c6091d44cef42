from __future__ import annotations

import json

import pytest

from request_callout.config import Problem
from request_callout.config.declarative import Unreadable, file_problems, nulls, plugin_configurations, read

NESTED = """
_format_version: "3.0"
_info: {defaults: {}}
plugins:
- name: key-auth
- name: request-callout
  config: {callouts: [], upstream: {by_lua: "top"}}
services:
- name: one
- name: two
  plugins:
  - {name: request-callout, config: {upstream: {by_lua: "service"}}}
  routes:
  - name: r
    plugins:
    - {name: cors}
    - {name: request-callout, config: {upstream: {by_lua: "nested route"}}}
routes:
- plugins:
  - {name: request-callout, config: {upstream: {by_lua: "route"}}}
consumers:
- plugins:
  - {name: request-callout, config: {upstream: {by_lua: "consumer"}}}
consumer_groups:
- plugins:
  - {name: request-callout, config: {upstream: {by_lua: "group"}}}
"""


def test_configurations_are_found_wherever_they_may_stand() -> None:
    """Each configuration of the plugin comes with its place; other plugins are left out."""
    found = [(one.path, one.raw["upstream"]["by_lua"]) for one in plugin_configurations(read(NESTED))]
    assert found == [
        ("plugins[2].config", "top"),
        ("services[2].plugins[1].config", "service"),
        ("services[2].routes[1].plugins[2].config", "nested route"),
        ("routes[1].plugins[1].config", "route"),
        ("consumers[1].plugins[1].config", "consumer"),
        ("consumer_groups[1].plugins[1].config", "group"),
    ]


def test_json_is_read_as_well() -> None:
    """A declarative file may be JSON, with tabs for indentation too."""
    document = {"_format_version": "3.0", "plugins": [{"name": "request-callout", "config": {"callouts": []}}]}
    text = json.dumps(document, indent="\t")
    assert [one.raw for one in plugin_configurations(read(text))] == [{"callouts": []}]


def test_a_lone_plugin_is_read() -> None:
    """What one posts to the Admin API is a file of one configuration."""
    document = read('{"name": "request-callout", "config": {"callouts": []}}')
    assert [(one.path, one.raw) for one in plugin_configurations(document)] == [("config", {"callouts": []})]
    assert file_problems(document) == []


def test_shared_configurations_stand_below_the_plugins_own() -> None:
    """DecK's _plugin_configs give the fields that the plugin itself does not give."""
    document = read(
        """
        _format_version: "3.0"
        _plugin_configs:
          base: {callouts: [], cache: {strategy: memory}}
        plugins:
        - {name: request-callout, _config: base}
        - {name: request-callout, _config: base, config: {cache: {cache_ttl: 5}}}
        """
    )
    assert [one.raw for one in plugin_configurations(document)] == [
        {"callouts": [], "cache": {"strategy": "memory"}},
        {"callouts": [], "cache": {"cache_ttl": 5}},
    ]


def test_a_shared_configuration_that_is_not_there_is_a_problem() -> None:
    """A _config that names nothing is told with its place."""
    document = read(
        '{_format_version: "3.0", services: [{routes: [{plugins: [{name: request-callout, _config: nope}]}]}]}'
    )
    (only,) = file_problems(document)
    assert only.path == "services[1].routes[1].plugins[1]._config"
    assert "'nope'" in only.message


@pytest.mark.parametrize("text", ["plugins: []", "_format_version: 3.0"])
def test_the_version_is_required_in_quotes(text: str) -> None:
    """A file without _format_version, or with a number for it, is one that Kong refuses."""
    (only,) = file_problems(read(text))
    assert only.path == "_format_version"
    assert '"3.0" (in quotes)' in only.message


def test_a_version_that_kong_does_not_know_is_told() -> None:
    """Kong takes three versions of the format; another one is told with those."""
    (only,) = file_problems(read('_format_version: "9.9"'))
    assert (only.path, only.message) == ("_format_version", "expected one of: 1.1, 2.1, 3.0")


@pytest.mark.parametrize("name", ["services", "routes", "consumers", "consumer_groups", "plugins"])
def test_entities_that_are_no_list_are_told(name: str) -> None:
    """Without the hyphens nothing would be found below, and the file would look as if it had no configuration."""
    (only,) = file_problems(read(f'_format_version: "3.0"\n{name}:\n  name: s\n'))
    assert only.path == name
    assert "expected a list" in only.message


def test_a_plugin_without_config_has_an_empty_one() -> None:
    """A plugin entry that gives no config is read as one that gives nothing."""
    (only,) = plugin_configurations(read("plugins: [{name: request-callout}]"))
    assert only.raw == {}


def test_a_problem_is_placed_in_the_file() -> None:
    """The path of a configuration's problem goes on from where the configuration stands."""
    (only,) = plugin_configurations(read("plugins: [{name: request-callout}]"))
    placed = only.placed(Problem("config.callouts[1].request.by_lua", "wrong", 3))
    assert str(placed) == "plugins[1].config.callouts[1].request.by_lua (line 3): wrong"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: b\nc: [1, 2\n", 3, 1),
        ("a: 'x\n", 2, 1),
        ("a: b: c\n", 1, 5),
        ("plugins:\n\t- x\n", 2, 1),
        ("a: *nowhere\n", 1, 4),
        ("a: !odd x\n", 1, 4),
        ("--- {}\n--- {}\n", 2, 1),
        ("a: b\nc: \x01\n", 2, 4),
        ("a: b\n[c]: {[a]: b}", 2, 1),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    """A text that can't be read has an error with line and column."""
    with pytest.raises(Unreadable) as caught:
        read(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize("text", ["", "- a\n", "text", "5", "[" * 5000])
def test_what_has_no_names_at_its_top_is_refused(text: str) -> None:
    """A document that is empty, a list or a text, or nested without end, is an error and no crash."""
    with pytest.raises(Unreadable):
        read(text)


def test_a_date_is_a_text() -> None:
    """YAML's dates are texts, as in Kong."""
    assert read("a: 2024-01-02") == {"a": "2024-01-02"}


def test_odd_entries_are_passed_over() -> None:
    """Lists and entities of the wrong shape are Kong's to refuse."""
    assert (
        list(plugin_configurations(read("{plugins: {a: b}, services: [1, {routes: x, plugins: [request-callout]}]}")))
        == []
    )


def test_nulls_that_kong_refuses_are_told_with_the_remedy() -> None:
    """A null in a map is for remove, one for a record is to be left out; others are as good as absent."""
    raw = {
        "callouts": [
            {
                "name": "a",
                "request": {
                    "url": "http://x",
                    "headers": {"custom": {"X-A": None, "X-B": "b"}},
                    "query": None,
                    "by_lua": None,
                    "http_opts": {"timeouts": None, "proxy": None},
                },
            }
        ],
        "upstream": {"body": {"custom": {"f": None}}},
    }
    assert {problem.path: problem.message.split("; ")[1] for problem in nulls(raw)} == {
        "config.callouts[1].request.headers.custom.X-A": ("to remove it, list 'X-A' in remove beside custom"),
        "config.callouts[1].request.query": "leave it out",
        "config.upstream.body.custom.f": "to remove it, list 'f' in remove beside custom",
    }
    assert nulls({"callouts": []}) == nulls([None]) == nulls(None) == []
