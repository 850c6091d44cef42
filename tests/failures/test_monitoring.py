"""The dashboard and the alerts in ``examples/monitoring`` ask for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml

from request_callout.engine.observing import Result
from request_callout.telemetry.families import FAMILIES
from tests.failures.stage import ROOT

MONITORING = ROOT / "examples/monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yml").read_text())
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""


def labels_by_sample() -> dict[str, set[str]]:
    """What each sample's labels are, by its name; ``test_metrics`` checks that a scrape has just these families."""
    found: dict[str, set[str]] = {}
    for family in FAMILIES.values():
        labels = {*family.labels, *SCRAPED}
        if family.kind == "histogram":
            found |= {f"{family.name}_bucket": {*labels, "le"}, f"{family.name}_sum": labels}
            found[f"{family.name}_count"] = labels
        else:
            found[family.name] = labels
    return found


SAMPLES = labels_by_sample()


def expressions() -> Iterator[tuple[str, str]]:
    """All queries, with where they stand."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_metrics_and_labels_of_a_query_exist(where: str, expression: str) -> None:
    """Each name is a sample of a scrape; what it selects by, groups by and shows are labels that it has."""
    names = re.findall(r"\brequest_callout_\w+", expression)
    assert names
    assert [name for name in names if name not in SAMPLES] == []
    for name, selector in re.findall(r"\b(request_callout_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) <= SAMPLES[name]
    shared = set.intersection(*(SAMPLES[name] for name in names))
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {one.strip() for one in grouped.split(",")} <= shared
    for label in re.findall(r"label_values\([^)]*?, (\w+)\)", expression):
        assert label in shared
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


def test_every_kind_of_metric_is_on_the_dashboard() -> None:
    """No family is left out: what is counted can be seen."""
    text = " ".join(expression for _, expression in EXPRESSIONS)
    missing = {name for name in FAMILIES if name not in text}
    assert missing == set()


def test_legends_show_labels_that_the_query_keeps() -> None:
    """What a legend shows is grouped by, or nothing is summed up."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            kept = {one.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for one in group.split(",")}
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            if "sum" in target["expr"]:
                assert shown <= kept, panel["title"]


def test_the_dashboard_is_whole() -> None:
    """Its panels have ids of their own, do not overlap, name the data source variable, and use variables it has."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= mine
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = {name for _, text in EXPRESSIONS for name in re.findall(r"\$(?!__|labels|value)(\w+)", text)}
    assert used <= variables


def test_alerts_tell_what_is_wrong() -> None:
    """Each alert has a severity, a summary and a description; labels in its texts are those of its query."""
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning")
            grouped = {one.strip() for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for one in by.split(",")}
            for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
                assert text
                assert set(re.findall(r"\$labels\.(\w+)", text)) <= grouped


def expression(alert: str) -> str:
    return str(next(rule["expr"] for one in ALERTS["groups"] for rule in one["rules"] if rule["alert"] == alert))


def test_an_operator_finds_what_to_do_at_each_alert() -> None:
    """Each alert has one row in the table of the page on operations, and no other has."""
    page = (ROOT / "docs/operations.md").read_text().partition("## Alerts")[2].partition("\n## ")[0]
    names = [rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]]
    assert sorted(re.findall(r"^\| `(RequestCallout\w+)`", page, re.MULTILINE)) == sorted(names)


def test_an_instance_that_is_gone_is_told_though_others_run() -> None:
    """No series is absent then, and those of the one that is gone are not 0: only Prometheus' own series tells."""
    assert re.match(r"up\{[^}]*\} == 0 or", expression("RequestCalloutDown"))


def test_no_events_at_all_since_a_restart_are_none_too() -> None:
    """A server that got no event has no series for them, which is not equal to 0."""
    assert "== 0" not in expression("RequestCalloutNoEvents")
    assert "unless" in expression("RequestCalloutNoEvents")


@pytest.mark.parametrize("alert", ["RequestCalloutMisconfigured", "RequestCalloutScriptErrors"])
def test_the_first_error_of_its_kind_is_told(alert: str) -> None:
    """Its series begins with 1, in which ``increase`` sees nothing: what was not there before counts as well."""
    (name,) = set(re.findall(r"request_callout_\w+(?:\{[^}]*\})?", expression(alert)))
    assert f"increase({name}[5m])" in expression(alert)
    assert f"({name} unless {name} offset 5m) > 0" in expression(alert)


def test_every_result_without_a_usable_response_raises_an_alert() -> None:
    """What is none of these words for success, or for nobody's fault, is told by one alert or another."""
    told = re.findall(r'result=~"([^"]*)"', expression("RequestCalloutFailing"))
    fine = {"ok", "skipped", "exit", "cancelled"}
    assert set(told[0].split("|")) | {"script_error"} == set(get_args(Result)) - fine


def test_the_scrape_configuration_names_the_alerts() -> None:
    """Prometheus' own file loads the alerts beside it and scrapes one job."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["request-callout"]
