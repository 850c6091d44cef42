"""``upstream.respond``: an answer to the client put together from what the callouts said, without a script.

Its body is a JSON text whose strings may hold expressions. It is read once, into the tree below; a request then only
fills in the leaves. A path of constant keys is followed in Python. Where it ends early, since a callout failed or was
skipped, its value is null: the answer of what there is is what ``on_error: continue`` is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from request_callout.config import model
from request_callout.config import template as templates
from request_callout.engine import json
from request_callout.engine.answer import INTERNAL_ERROR, JSON_TYPE, Answer, Ended
from request_callout.engine.expression import Text
from request_callout.lua import Lua, analyse
from request_callout.values import Value, raw

if TYPE_CHECKING:
    from request_callout.engine.context import Context
    from request_callout.engine.run import Run

COMPLETED = "X-Callouts-Completed"


class Leaf:
    """A string with expressions, each either a path or a matter for Lua; ``text`` is all of it."""

    __slots__ = ("_parts", "text")

    def __init__(self, source: str, where: str, lua: Lua) -> None:
        self.text = Text(source, where, lua)
        self._parts = [
            part if isinstance(part, str) else analyse(part.source, is_expression=True).path
            for part in templates.parse(source).parts
        ]

    def value(self, context: Context) -> Value:
        """The value, with its type where one expression stands alone; raises ScriptError."""
        alone = self._parts[0] if len(self._parts) == 1 else None
        return self.text.value(context) if alone is None or isinstance(alone, str) else context.find(alone)

    def render(self, context: Context) -> str:
        """The value as text; raises ScriptError."""
        pieces: list[str] = []
        for part in self._parts:
            piece = part if part is None or isinstance(part, str) else json.lua_text(context.find(part))
            if piece is None:
                return self.text.render(context)
            pieces.append(piece)
        return "".join(pieces)

    def mixed(self, context: Context) -> Value:
        """``value`` for one expression alone, else ``render``."""
        return self.value(context) if len(self._parts) == 1 else self.render(context)


@dataclass(frozen=True, slots=True)
class Constant:
    """A part of the body that no expression is in."""

    value: Value


@dataclass(frozen=True, slots=True)
class Members:
    """An object with an expression somewhere in it."""

    members: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Elements:
    """A list with an expression somewhere in it."""

    elements: tuple[Node, ...]


Node: TypeAlias = "Constant | Leaf | Members | Elements"


@dataclass(frozen=True, slots=True)
class CompiledRespond:
    """The answer, read and compiled."""

    status: int
    headers: tuple[tuple[str, Leaf], ...]
    body: Node | None
    when: Leaf | None
    texts: tuple[Text, ...]


def compile_respond(respond: model.Respond, lua: Lua) -> CompiledRespond:
    """Compile the answer; raises NotJsonError for a body that the configuration's checks let pass wrongly."""
    where = "config.upstream.respond"
    headers = tuple((name, Leaf(value, f"{where}.headers.{name}", lua)) for name, value in respond.headers.items())
    body = None if respond.body is None else _node(json.decode(raw(respond.body)), f"{where}.body", lua)
    when = None if respond.when is None else Leaf(respond.when, f"{where}.when", lua)
    leaves = [*(leaf for _, leaf in headers), *_leaves(body), *([when] if when else ())]
    return CompiledRespond(respond.status, headers, body, when, tuple(leaf.text for leaf in leaves))


def _node(value: Value, where: str, lua: Lua) -> Node:
    if isinstance(value, str):
        leaf = Leaf(value, where, lua)
        return leaf if leaf.text.constant is None else Constant(leaf.text.constant)
    if isinstance(value, dict):
        members = tuple((name, _node(one, f"{where}.{name}", lua)) for name, one in value.items())
        return Constant(value) if all(isinstance(one, Constant) for _, one in members) else Members(members)
    if isinstance(value, list):
        elements = tuple(_node(one, f"{where}[{place}]", lua) for place, one in enumerate(value, 1))
        return Constant(value) if all(isinstance(one, Constant) for one in elements) else Elements(elements)
    return Constant(value)


def _leaves(node: Node | None) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    elif isinstance(node, Members):
        for _, one in node.members:
            yield from _leaves(one)
    elif isinstance(node, Elements):
        for one in node.elements:
            yield from _leaves(one)


def answer(respond: CompiledRespond, run: Run) -> Answer | None:
    """The answer to the client, None where ``when`` lets the request go on; raises ScriptError, and Ended with 500."""
    context = run.context
    if respond.when is not None:
        condition = respond.when.mixed(context)
        if condition is None or condition is False:
            return None
    headers: dict[str, str | list[str]] = {}
    for name, leaf in respond.headers:
        value = leaf.render(context)
        if "\n" in value or "\r" in value or "\0" in value:
            reason = f"{leaf.text.where}: the result holds a line break or a NUL, which no header may"
            raise Ended(INTERNAL_ERROR, reason)
        headers[name] = value
    given = {name.lower() for name in headers}
    body = None if respond.body is None else json.encode(_value(respond.body, context))
    if body is not None and "content-type" not in given:
        headers["Content-Type"] = JSON_TYPE
    if COMPLETED.lower() not in given and _may_go_on(run):
        headers[COMPLETED] = "false" if any(call.failure is not None for call in run.calls) else "true"
    return Answer(respond.status, body, headers)


def _value(node: Node, context: Context) -> Value:
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Leaf):
        return node.mixed(context)
    if isinstance(node, Members):
        return {name: _value(one, context) for name, one in node.members}
    return [_value(one, context) for one in node.elements]


def _may_go_on(run: Run) -> bool:
    """Whether the client can get an answer although a callout has failed."""
    return any(step.callout.config.request.error.on_error == "continue" for step in run.instance.plan.steps)
