"""The policies of one flow, in their order, as a configuration of the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from request_callout.cli.convert.apigee_callout import callout_name, extract_variables, service_callout
from request_callout.cli.convert.apigee_message import Message, answer_body, apply, tell_unknown
from request_callout.cli.convert.apigee_variables import Unknown, Variables, condition
from request_callout.cli.convert.lua_text import quoted
from request_callout.cli.convert.report import Report
from request_callout.cli.convert.xml_source import Element

_CURRENT = ("", "request", "message")

_INSTEAD = {
    "VerifyAPIKey": "use Kong's key-auth plugin",
    "OAuthV2": "use Kong's oauth2 or jwt plugin",
    "VerifyJWT": "use Kong's jwt plugin",
    "BasicAuthentication": "use Kong's basic-auth plugin, or request.auth for a callout",
    "AccessControl": "use Kong's ip-restriction plugin",
    "CORS": "use Kong's cors plugin",
    "Quota": "use Kong's rate-limiting plugin",
    "SpikeArrest": "use Kong's rate-limiting plugin",
    "ResponseCache": "use Kong's proxy-cache plugin, or cache for a callout",
    "LookupCache": "use cache: a callout's response is kept by itself",
    "PopulateCache": "use cache: a callout's response is kept by itself",
    "KeyValueMapOperations": "write the value as {vault://...}",
    "RaiseFault": "use upstream.respond with when",
    "Javascript": "rewrite the script in Lua: request.by_lua, response.by_lua or upstream.by_lua",
    "Script": "rewrite the script in Lua: request.by_lua, response.by_lua or upstream.by_lua",
    "JavaCallout": "rewrite it in Lua: request.by_lua, response.by_lua or upstream.by_lua",
    "FlowCallout": "convert the shared flow's policies, and add its callouts",
    "XMLToJSON": "use response.body.format xml",
    "MessageLogging": "use one of Kong's logging plugins",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a flow: a policy by its name, run if the condition holds; ``element`` is where it stands."""

    policy: str
    condition: str | None
    element: Element


def plugin_config(
    requests: Sequence[Step],
    responses: Sequence[Step],
    policies: Mapping[str, Element],
    *,
    has_target: bool,
    report: Report,
) -> dict[str, Any]:
    """The configuration for a route's steps; what can't be in it is reported."""
    flow = _Flow(policies, report)
    for step in (*requests, *responses):
        flow.note_decoded(step)
    for step in requests:
        flow.request_step(step)
    for step in responses:
        flow.response_step(step, has_target)
    return flow.config(has_target)


class _Flow:
    def __init__(self, policies: Mapping[str, Element], report: Report) -> None:
        self._policies = policies
        self._report = report
        self._variables = Variables()
        self._messages: dict[str, Message] = {}
        self._callouts: dict[str, dict[str, Any]] = {}
        self._proxied = Message(forward={"headers", "query", "body"})
        self._answer: Message | None = None

    def note_decoded(self, step: Step) -> None:
        """Remember whose body is read as JSON, before the callout is made."""
        policy = self._policies[step.policy]
        if policy.name == "ExtractVariables" and policy.first("JSONPayload") is not None:
            self._variables.decoded.add(policy.said("Source"))

    def request_step(self, step: Step) -> None:
        policy = self._policies[step.policy]
        if not policy.is_true("enabled", True):
            return
        when = None
        if step.condition is not None:
            try:
                when = condition(step.condition, self._variables)
            except Unknown as unknown:
                tell_unknown(step.element, f"the step {step.policy} with a condition", str(unknown), self._report)
                return
        if policy.name == "ServiceCallout":
            self._call(policy, when)
        elif policy.name == "AssignMessage":
            self._assign(policy, step, when)
        elif policy.name == "ExtractVariables":
            extract_variables(policy, self._variables, self._report)
        else:
            self._leave_out(policy, step)

    def response_step(self, step: Step, has_target: bool) -> None:
        policy = self._policies[step.policy]
        if not policy.is_true("enabled", True):
            return
        if policy.name == "ExtractVariables" and policy.said("Source") in self._variables.responses:
            extract_variables(policy, self._variables, self._report)
        elif policy.name == "AssignMessage" and not has_target and step.condition is None:
            self._variables_of(policy)
            if policy.said("AssignTo") in ("", "response", "message"):
                self._answer = self._answer or Message()
                apply(policy, self._answer, self._variables, self._report)
        elif policy.name == "ServiceCallout":
            why = "callouts are made before the request is proxied"
            self._report.left_out(step.element.place, step.policy, why, "make it in the request flow, if it can be")
        else:
            why = "the upstream's response is not changed"
            instead = _INSTEAD.get(policy.name, "use Kong's response-transformer plugin")
            self._report.left_out(step.element.place, f"{step.policy} ({policy.name})", why, instead)

    def config(self, has_target: bool) -> dict[str, Any]:
        config: dict[str, Any] = {"callouts": list(self._callouts.values())}
        upstream: dict[str, Any] = {}
        if has_target:
            for part, values in (("headers", self._proxied.headers), ("query", self._proxied.query)):
                section = self._proxied.section(part, values)
                section.pop("forward", None)
                if section:
                    upstream[part] = section
        else:
            upstream["respond"] = self._respond()
        if upstream:
            config["upstream"] = upstream
        return config

    def _call(self, policy: Element, when: str | None) -> None:
        name = callout_name(policy.attributes.get("name", ""))
        if name in self._callouts:
            why = "the policy is in the flow twice, a callout has one place"
            self._report.left_out(policy.place, name, why, "copy the policy under another name")
            return
        made = service_callout(policy, self._messages, self._variables, when, self._report)
        if made is not None:
            self._callouts[made["name"]] = made

    def _assign(self, policy: Element, step: Step, when: str | None) -> None:
        target = policy.first("AssignTo")
        name = "" if target is None else target.text
        if when is not None:
            why = "a message is always put together"
            self._report.left_out(
                step.element.place,
                f"the condition of {step.policy}",
                why,
                "write it into the values, as $(a and b or c)",
            )
            return
        self._variables_of(policy)
        if target is not None and target.attributes.get("type") == "response":
            self._answer = Message()
            apply(policy, self._answer, self._variables, self._report)
        elif name in _CURRENT:
            apply(policy, self._proxied, self._variables, self._report)
            for part in ("Payload", "Verb", "Path", "FormParams"):
                for found in policy.all("Set", part):
                    why = "headers and query of the proxied request are set, no more"
                    instead = "see upstream.body and upstream.target, or use upstream.by_lua"
                    self._report.left_out(found.place, f"{part} of the request", why, instead)
        else:
            is_new = target is not None and target.is_true("createNew", False)
            message = self._messages.setdefault(name, Message())
            if is_new:
                self._messages[name] = message = Message()
            apply(policy, message, self._variables, self._report)

    def _variables_of(self, policy: Element) -> None:
        for one in policy.all("AssignVariable"):
            name = one.said("Name")
            try:
                if one.said("Ref"):
                    self._variables.values[name] = self._variables.lua(one.said("Ref"))
                elif one.first("Value") is not None:
                    self._variables.values[name] = quoted(one.said("Value"))
                else:
                    raise Unknown(one.said("Template"))
            except Unknown as unknown:
                tell_unknown(one, f"AssignVariable {name}", str(unknown), self._report)

    def _respond(self) -> dict[str, Any]:
        respond: dict[str, Any] = {}
        answer = self._answer
        if answer is None:
            return {"status": 200}
        if answer.status.isdecimal() and 200 <= int(answer.status) <= 599:
            respond["status"] = int(answer.status)
        if answer.headers:
            respond["headers"] = dict(answer.headers)
        if answer.payload is not None:
            body = answer_body(answer.payload)
            if body is None:
                place = next(iter(self._policies.values())).place
                why = "the answer's body is a JSON text"
                self._report.left_out(place, "the payload of the response", why, "answer in upstream.by_lua")
            else:
                respond["body"] = body
        return respond or {"status": 200}

    def _leave_out(self, policy: Element, step: Step) -> None:
        why = f"{policy.name} is not converted"
        instead = _INSTEAD.get(policy.name, "see Kong's plugins, or use upstream.by_lua")
        self._report.left_out(step.element.place, step.policy, why, instead)
