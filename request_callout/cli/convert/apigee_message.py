"""A message that Apigee's policies put together (AssignMessage, Request of a ServiceCallout), as fields of ours."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from request_callout.cli.convert.apigee_variables import Unknown, Variables
from request_callout.cli.convert.lua_text import expression, indexed
from request_callout.cli.convert.report import Report
from request_callout.cli.convert.xml_source import Element

_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_PARTS = {"Headers": "Header", "QueryParams": "QueryParam", "FormParams": "FormParam"}


@dataclass(slots=True)
class Message:
    """A message so far; values are texts as they are configured here, with ``$(...)``."""

    verb: str = ""
    path: str = ""
    status: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    payload: str | None = None
    content_type: str = ""
    forward: set[str] = field(default_factory=set)
    removed: dict[str, list[str]] = field(default_factory=dict)

    def clone(self) -> Message:
        """One that may be changed on its own."""
        return copy.deepcopy(self)

    def request(self) -> dict[str, Any]:
        """The fields of ``callouts[].request`` but for the URL."""
        made: dict[str, Any] = {}
        if self.verb and self.verb != "GET":
            made["method"] = self.verb
        for part, values in (("query", self.query), ("headers", self.headers)):
            section = self.section(part, values)
            if section:
                made[part] = section
        body = self._body()
        if body:
            made["body"] = body
            if self.payload is not None and "headers" not in made:
                made["headers"] = {"custom": {"Content-Type": self.content_type or "text/plain"}}
            elif self.payload is not None and not any(name.lower() == "content-type" for name in self.headers):
                made["headers"].setdefault("custom", {})["Content-Type"] = self.content_type or "text/plain"
        return made

    def section(self, part: str, values: dict[str, str]) -> dict[str, Any]:
        """``forward``, ``remove`` and ``custom`` of headers or a query."""
        section: dict[str, Any] = {}
        if part in self.forward:
            section["forward"] = True
        if self.removed.get(part):
            section["remove"] = list(self.removed[part])
        if values:
            section["custom"] = dict(values)
        return section

    def _body(self) -> dict[str, Any]:
        if self.form:
            return {"format": "form", "custom": dict(self.form)}
        if self.payload:
            return {"format": "raw", "content": self.payload}
        if "body" in self.forward and self.verb not in _WITHOUT_BODY:
            return {"forward": True}
        return {}


def apply(policy: Element, message: Message, variables: Variables, report: Report) -> None:
    """What the children of an AssignMessage or Request do to a message, in their order."""
    for action in policy.children:
        if action.name in ("Set", "Add"):
            _set(action, message, variables, report)
        elif action.name == "Copy":
            _copy(action, message, report)
        elif action.name == "Remove":
            _remove(action, message)


def _set(action: Element, message: Message, variables: Variables, report: Report) -> None:
    sections = {"Headers": message.headers, "QueryParams": message.query, "FormParams": message.form}
    for part in action.children:
        if part.name in sections:
            for one in part.all(_PARTS[part.name]):
                value = _template(one, variables, report)
                if value is not None:
                    sections[part.name][one.attributes.get("name", "")] = value
        elif part.name == "Payload":
            _payload(part, message, variables, report)
        elif part.name in ("Verb", "Path", "StatusCode"):
            value = _template(part, variables, report)
            if part.name == "Verb" and value and "$(" in value:
                report.left_out(
                    part.place, f"Verb {part.text}", "a method is constant", "write a callout for each method"
                )
            elif value is not None and part.name == "Verb":
                message.verb = value.upper()
            elif value is not None and part.name == "Path":
                message.path = value
            elif value is not None:
                message.status = value
        elif part.name not in ("ReasonPhrase", "Version"):
            report.left_out(part.place, part.name, "there is nothing like it", "use request.by_lua")


def _payload(part: Element, message: Message, variables: Variables, report: Report) -> None:
    if part.children:
        report.left_out(part.place, "Payload", "it is XML elements", "write it as a text into request.body.content")
        return
    prefix, suffix = part.attributes.get("variablePrefix", "{"), part.attributes.get("variableSuffix", "}")
    message.content_type = part.attributes.get("contentType", "")
    value = _template(part, variables, report, prefix, suffix)
    if value is not None:
        message.payload = value


def _copy(action: Element, message: Message, report: Report) -> None:
    source = action.attributes.get("source", "request")
    if source != "request":
        why = "only the client's request can be copied"
        instead = "write the values as expressions, such as $(callouts.NAME.response.headers['x'])"
        report.left_out(action.place, f"Copy of {source}", why, instead)
        return
    for part in action.children:
        if part.name in ("Headers", "QueryParams"):
            section, shortcut = ("headers", "headers") if part.name == "Headers" else ("query", "query_params")
            values = message.headers if section == "headers" else message.query
            names = [one.attributes.get("name", "") for one in part.children]
            if not names:
                message.forward.add(section)
            for name in names:
                values[name] = expression(indexed(shortcut, (name,)))
                why = "Apigee copies nothing where the client sent none, here its value is then empty"
                report.differs(part.place, f"Copy of {name}", why, "set it in request.by_lua if that matters")
        elif part.name == "Payload" and part.text != "false":
            message.forward.add("body")
        elif part.name == "Verb" and part.text != "false":
            why = "a callout's method is constant"
            report.left_out(part.place, "Copy of Verb", why, "write a callout for each method, with when")
        elif part.text != "false":
            report.left_out(part.place, f"Copy of {part.name}", "there is nothing like it", "use request.by_lua")


def _remove(action: Element, message: Message) -> None:
    for part, section, values in (
        ("Headers", "headers", message.headers),
        ("QueryParams", "query", message.query),
        ("FormParams", "form", message.form),
    ):
        for container in action.all(part):
            names = [one.attributes.get("name", "") for one in container.children]
            if not names:
                values.clear()
                message.forward.discard(section)
            for name in names:
                values.pop(name, None)
                if section in message.forward:
                    message.removed.setdefault(section, []).append(name)
    if action.first("Payload") is not None:
        message.payload = None
        message.forward.discard("body")


def _template(
    element: Element, variables: Variables, report: Report, prefix: str = "{", suffix: str = "}"
) -> str | None:
    """An element's text as a configured value, None where it can't be said: that is reported."""
    try:
        return variables.template(element.text, prefix, suffix)
    except Unknown as unknown:
        tell_unknown(element, element.attributes.get("name") or element.name, str(unknown), report)
        return None


def tell_unknown(element: Element, what: str, name: str, report: Report) -> None:
    """Report a variable that has no Lua."""
    why = f"the variable {name} is not known here"
    report.left_out(element.place, what, why, "write the value as an expression, or set it in request.by_lua")


def answer_body(payload: str) -> str | None:
    """A JSON payload with expressions as a JSON text whose strings hold them; None if it is no JSON.

    An expression outside of a string keeps the type that it gives.
    """
    pieces: list[str] = []
    in_string = False
    for is_expression, piece in _split(payload):
        if is_expression:
            escaped = json.dumps(piece, ensure_ascii=False)
            pieces.append(escaped[1:-1] if in_string else escaped)
        else:
            pieces.append(piece)
            in_string ^= piece.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1
    text = "".join(pieces)
    try:
        json.loads(text)
    except ValueError:
        return None
    return text


def _split(text: str) -> Iterator[tuple[bool, str]]:
    from request_callout.config.template import parse

    for part in parse(text).parts:
        if isinstance(part, str):
            yield False, part
        else:
            yield True, expression(part.source)
