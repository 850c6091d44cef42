"""Apigee's proxy bundles and ServiceCallout policies into services, routes and callouts.

A proxy endpoint becomes a service; its base path a route, and each of its conditional flows one more. The policies of a
route's request flows are taken in their order: messages that are put together, callouts, and variables that are read
from what they answered. Where the endpoint has no target, the message of its response flow is the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from request_callout.cli.convert.apigee_callout import api_timeout_ms
from request_callout.cli.convert.apigee_flow import Step, plugin_config
from request_callout.cli.convert.report import Report, Unconvertible
from request_callout.cli.convert.xml_source import Element, parsed

_NO_POLICIES = frozenset({"ProxyEndpoint", "TargetEndpoint", "APIProxy", "Manifest", "SharedFlow", "SharedFlowBundle"})
_PATH = re.compile(r"proxy\.pathsuffix\s+(?:MatchesPath|~/)\s+\"([^\"]*)\"", re.IGNORECASE)
_PATH_EQUALS = re.compile(r"proxy\.pathsuffix\s*(?:==?|Equals)\s*\"([^\"]*)\"", re.IGNORECASE)
_VERB = re.compile(r"request\.verb\s*(?:==?|Equals)\s*\"([A-Za-z]+)\"", re.IGNORECASE)
_UNSAFE = re.compile(r"[\\.+?()|\[\]{}^$]")
NO_TARGET = "http://localhost"
"""Where a service leads that is never called."""


@dataclass(frozen=True, slots=True)
class _Condition:
    """What of a flow's condition a route has: paths are relative to the base path, None for all."""

    path: str | None
    verb: str | None


def convert(files: Mapping[str, bytes], report: Report) -> dict[str, Any]:
    """The declarative document; raises Unconvertible."""
    alone = len(files) == 1
    roots = [parsed(data, "" if alone else name) for name, data in files.items()]
    endpoints = [root for root in roots if root.name == "ProxyEndpoint"]
    targets = {root.attributes.get("name", ""): root for root in roots if root.name == "TargetEndpoint"}
    policies = {root.attributes.get("name", ""): root for root in roots if root.name not in _NO_POLICIES}
    if not any(root.name == "ServiceCallout" for root in policies.values()):
        raise Unconvertible("", "there is no ServiceCallout policy in it")
    if not endpoints:
        return _without_flows(policies, report)
    services = [_service(endpoint, targets, policies, report) for endpoint in endpoints]
    return {"_format_version": "3.0", "services": services}


def _without_flows(policies: Mapping[str, Element], report: Report) -> dict[str, Any]:
    order = {"AssignMessage": 0, "ServiceCallout": 1}
    named = sorted(policies.items(), key=lambda one: order.get(one[1].name, 2))
    steps = [Step(name, None, policy) for name, policy in named]
    config = plugin_config(steps, [], policies, has_target=True, report=report)
    if not config["callouts"]:
        raise Unconvertible("", "no policy can be converted:" + "".join(f"\n  {line}" for line in report.lines()))
    place = next(iter(policies.values()))
    what, why = "the plugin is for all requests", "a policy alone does not say for which it is"
    report.differs(place.place, what, why, "move it under its route, or convert the whole bundle")
    return {"_format_version": "3.0", "plugins": [{"name": "request-callout", "config": config}]}


def _service(
    endpoint: Element, targets: Mapping[str, Element], policies: Mapping[str, Element], report: Report
) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9]+", "-", endpoint.attributes.get("name", "proxy")).strip("-") or "proxy"
    base = "/" + endpoint.said("HTTPProxyConnection", "BasePath").strip("/")
    target, url = _target(endpoint, targets, report)
    for unused in ("FaultRules", "DefaultFaultRule", "PostClientFlow"):
        for found in endpoint.all(unused):
            report.left_out(found.place, unused, "a callout has one answer for errors", "see request.error")
    flows: list[tuple[str, Element | None, _Condition]] = [(name, None, _Condition(None, None))]
    for number, flow in enumerate(endpoint.all("Flows", "Flow"), 1):
        condition = _condition(flow.said("Condition"))
        flow_name = re.sub(r"[^A-Za-z0-9]+", "-", flow.attributes.get("name") or str(number)).strip("-")
        if condition is None:
            why = f"a route has no condition like {flow.said('Condition')}"
            instead = "write a route for it, or when for its callouts"
            report.left_out(flow.place, f"the flow {flow_name}", why, instead)
        elif condition == _Condition(None, None):
            flows[0] = (name, flow, condition)
            break  # the first flow whose condition holds is the only one that runs
        else:
            flows.append((f"{name}-{flow_name}", flow, condition))
    routes = [
        _route(route_name, base, flow, condition, endpoint, target, url, policies, report)
        for route_name, flow, condition in flows
    ]
    return {"name": name, "url": url or NO_TARGET, "routes": routes}


def _route(
    name: str,
    base: str,
    flow: Element | None,
    condition: _Condition,
    endpoint: Element,
    target: Element | None,
    url: str | None,
    policies: Mapping[str, Element],
    report: Report,
) -> dict[str, Any]:
    requests = list(_steps(endpoint, flow, "Request", policies, report))
    responses = list(_steps(endpoint, flow, "Response", policies, report))
    if target is not None:
        requests += _steps(target, None, "Request", policies, report)
        responses = [*_steps(target, None, "Response", policies, report), *responses]
    config = plugin_config(requests, responses, policies, has_target=url is not None, report=report)
    deadline = api_timeout_ms(endpoint, report)
    if deadline is not None and config["callouts"]:
        config["deadline_ms"] = deadline
    route: dict[str, Any] = {"name": name}
    if condition.path is None:
        route["paths"] = [base]
    else:
        prefix = "" if base == "/" else _UNSAFE.sub(lambda special: "\\" + special[0], base)
        route["paths"] = [f"~{prefix}{condition.path}$"]
        if url is not None:  # such a path is stripped as a whole; the target gets what follows the base path
            service_path = re.sub(r"^https?://[^/]*", "", url).rstrip("/")
            rest = f"$(string.sub(kong.request.get_path(), {1 if base == '/' else len(base) + 1}))"
            config.setdefault("upstream", {})["target"] = {"path": f"{service_path}{rest}"}
    if condition.verb is not None:
        route["methods"] = [condition.verb]
    if config["callouts"] or "upstream" in config:
        route["plugins"] = [{"name": "request-callout", "config": config}]
    return route


def _steps(
    endpoint: Element, flow: Element | None, direction: str, policies: Mapping[str, Element], report: Report
) -> Iterator[Step]:
    """The steps of an endpoint's flows, in their order."""
    for part in (endpoint.first("PreFlow"), flow, endpoint.first("PostFlow")):
        for step in () if part is None else part.all(direction, "Step"):
            name = step.said("Name")
            if name in policies:
                yield Step(name, step.said("Condition") or None, step)
            else:
                report.left_out(
                    step.place, f"the step {name}", "its policy is not in the source", "convert the whole bundle"
                )


def _target(endpoint: Element, targets: Mapping[str, Element], report: Report) -> tuple[Element | None, str | None]:
    """The target endpoint and its URL, None where the proxy calls none."""
    chosen: Element | None = None
    for rule in endpoint.all("RouteRule"):
        if rule.said("Condition"):
            why = "Kong chooses the service by the route"
            report.left_out(rule.place, "a RouteRule with a condition", why, "write upstream.target, or a route for it")
        elif chosen is None:
            chosen = rule
    if chosen is None:
        return None, None
    url = chosen.said("URL")
    target = targets.get(chosen.said("TargetEndpoint"))
    if not url and target is not None:
        url = target.said("HTTPTargetConnection", "URL")
    if not url and chosen.said("TargetEndpoint"):
        why = "it has no URL of its own"
        report.left_out(chosen.place, f"the target {chosen.said('TargetEndpoint')}", why, "set the service's url")
        return target, NO_TARGET
    if "{" in url or (url and not re.match(r"https?://[^/\s]+", url)):
        why = "a service's URL is constant"
        report.left_out(chosen.place, f"the target {url}", why, "set the service's url, or upstream.target")
        return target, NO_TARGET
    return target, url or None


def _condition(text: str) -> _Condition | None:
    """The condition of a flow, None if a route can't have it."""
    if not text:
        return _Condition(None, None)
    path = verb = None
    for part in re.split(r"\s+and\s+|\s*&&\s*", text.strip(), flags=re.IGNORECASE):
        bare = part.strip()
        while bare.startswith("(") and bare.endswith(")"):
            bare = bare[1:-1].strip()
        found, equal, method = _PATH.fullmatch(bare), _PATH_EQUALS.fullmatch(bare), _VERB.fullmatch(bare)
        if found is not None and path is None:
            path = _expression(found[1])
        elif equal is not None and path is None:
            path = _UNSAFE.sub(lambda special: "\\" + special[0], equal[1])
        elif method is not None and verb is None:
            verb = method[1].upper()
        else:
            return None
    return _Condition(path, verb)


def _expression(pattern: str) -> str:
    """A pattern of MatchesPath: * is one segment, ** any number of them."""
    escaped = _UNSAFE.sub(lambda special: "\\" + special[0], pattern)
    return escaped.replace("**", "\0").replace("*", "[^/]*").replace("\0", ".*")
