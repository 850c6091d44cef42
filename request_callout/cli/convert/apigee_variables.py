"""Apigee's flow variables as Lua: what a name means at a place in the flow, and texts with ``{name}`` in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from request_callout.cli.convert.lua_text import Step, expression, indexed, quoted
from request_callout.config.template import literal

_VARIABLE = re.compile(r"\{([A-Za-z_][\w.\-]*)\}")
_MESSAGE_PARTS = re.compile(r"(header|queryparam|formparam)\.([^.]+)(?:\.values?(?:\.string)?)?\Z")

_REQUEST = {
    "request.verb": "kong.request.get_method()",
    "request.content": "kong.request.get_raw_body()",
    "request.path": "kong.request.get_path()",
    "request.uri": "kong.request.get_path_with_query()",
    "request.querystring": "kong.request.get_raw_query()",
    "proxy.url": "kong.request.get_path_with_query()",
    "client.ip": "kong.client.get_ip()",
    "client.host": "kong.client.get_ip()",
    "client.scheme": "kong.request.get_scheme()",
    "virtualhost.name": "kong.request.get_host()",
    "system.timestamp": "ngx.now() * 1000",
}


class Unknown(Exception):
    """A variable that can't be said in Lua; the message is its name."""


@dataclass(slots=True)
class Variables:
    """What is known at a place in the flow.

    ``values`` are Lua expressions by the names of variables; ``responses`` are callouts by the variables that hold what
    they answered; ``decoded`` are the callouts whose body is decoded.
    """

    values: dict[str, str] = field(default_factory=dict)
    responses: dict[str, str] = field(default_factory=dict)
    decoded: set[str] = field(default_factory=set)

    def lua(self, name: str) -> str:
        """The Lua expression of a variable; raises Unknown."""
        if name in self.values:
            return self.values[name]
        if name in _REQUEST:
            return _REQUEST[name]
        message, _, rest = name.partition(".")
        if message in self.responses:
            return self._of_response(self.responses[message], rest, name)
        part = _MESSAGE_PARTS.match(rest) if message == "request" else None
        if part is not None and part[1] == "header":
            return indexed("headers", (part[2],))
        if part is not None and part[1] == "queryparam":
            return indexed("query_params", (part[2],))
        if part is not None:
            return indexed("kong.request.get_body()", (part[2],))
        raise Unknown(name)

    def _of_response(self, callout: str, rest: str, name: str) -> str:
        response = ("callouts", (callout, "response"))
        part = _MESSAGE_PARTS.match(rest)
        if rest == "status.code":
            return indexed(response[0], (*response[1], "status"))
        if rest == "content":
            if callout in self.decoded:
                return f"require('cjson').encode({self.body(callout)})"
            return self.body(callout)
        if part is not None and part[1] == "header":
            return indexed(response[0], (*response[1], "headers", part[2].lower()))
        raise Unknown(name)

    def body(self, callout: str, path: tuple[Step, ...] = ()) -> str:
        """A place in the body of a callout's response."""
        return indexed("callouts", (callout, "response", "body", *path))

    def template(self, text: str, prefix: str = "{", suffix: str = "}") -> str:
        """A configured value for a text of Apigee's; raises Unknown for the first variable that is."""
        pattern = _VARIABLE
        if (prefix, suffix) != ("{", "}"):
            pattern = re.compile(rf"{re.escape(prefix)}([A-Za-z_][\w.\-]*){re.escape(suffix)}")
        pieces: list[str] = []
        end = 0
        for found in pattern.finditer(text):
            pieces += [literal(text[end : found.start()]) if end == 0 else _escaped(text[end : found.start()])]
            pieces.append(expression(self.lua(found[1])))
            end = found.end()
        rest = text[end:]
        return "".join([*pieces, literal(rest) if end == 0 else _escaped(rest)])


def _escaped(text: str) -> str:
    """Literal text that does not begin a value, so that a # may stand first."""
    return literal(f" {text}")[1:]


_STEP = re.compile(r"\.([A-Za-z_][\w\-]*)|\[(\d+)\]|\['([^'\]]+)'\]|\[\"([^\"\]]+)\"\]")


def json_path(path: str) -> tuple[Step, ...] | None:
    """The steps of a JSONPath that names one value, such as ``$.items[0].id``; None for any other."""
    path = path.strip()
    if not path.startswith("$"):
        return None
    steps: list[Step] = []
    position = 1
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None:
            return None
        name = found[1] or found[3] or found[4]
        steps.append(name if name is not None else int(found[2]) + 1)
        position = found.end()
    return tuple(steps)


_TOKEN = re.compile(
    r"\s*(?:(?P<text>\"[^\"]*\")|(?P<number>-?\d+(?:\.\d+)?)(?![\w.])|(?P<op>!=|==|=|<=|>=|<|>|&&|\|\||!|\(|\))"
    r"|(?P<word>[A-Za-z_][\w.\-]*))"
)
_COMPARISONS = {
    "=": "==",
    "==": "==",
    "equals": "==",
    "is": "==",
    "!=": "~=",
    "notequals": "~=",
    "isnot": "~=",
    "<": "<",
    ">": ">",
    "<=": "<=",
    ">=": ">=",
    "lesserthan": "<",
    "greaterthan": ">",
    "lesserthanorequals": "<=",
    "greaterthanorequals": ">=",
}
_JOINTS = {"and": "and", "&&": "and", "or": "or", "||": "or"}


def condition(text: str, variables: Variables) -> str:
    """The Lua of a condition that compares variables with constants; raises Unknown with what can't be said."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise Unknown(text[position:].strip())
        tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    pieces: list[str] = []
    number = 0
    while number < len(tokens):
        kind, token = tokens[number]
        lower = token.lower()
        if lower in _JOINTS:
            pieces.append(_JOINTS[lower])
        elif token in ("(", ")"):
            pieces.append(token)
        elif lower in ("!", "not"):
            pieces.append("not")
        elif kind == "word":
            compared = tokens[number + 1][1].lower() if number + 1 < len(tokens) else ""
            if compared not in _COMPARISONS or number + 2 >= len(tokens):
                raise Unknown(f"{token} {compared}".strip())
            pieces.append(_comparison(variables.lua(token), _COMPARISONS[compared], tokens[number + 2], variables))
            number += 2
        else:
            raise Unknown(token)
        number += 1
    return " ".join(pieces)


def _comparison(left: str, operator: str, right: tuple[str, str], variables: Variables) -> str:
    kind, token = right
    if kind == "text":
        return f"{left} {operator} {quoted(token[1:-1])}"
    if kind == "number":
        return f"tonumber({left}) {operator} {token}"
    if token.lower() == "null":
        return f"{left} {operator} nil"
    if token.lower() in ("true", "false"):
        return f"tostring({left}) {operator} {quoted(token.lower())}"
    if kind == "word":
        return f"{left} {operator} {variables.lua(token)}"
    raise Unknown(token)
