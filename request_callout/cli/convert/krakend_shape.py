"""What KrakenD makes of a backend's response: encoding, then target, allow or deny, mapping, and at last group.

Where no more is asked for than a choice of known fields, the answer's template names them; anything else is a script of
the callout's response, after which its body is what KrakenD would merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from request_callout.cli.convert.lua_text import indexed, key
from request_callout.cli.convert.report import Report, Unconvertible

_WRAPPERS = {"string": "content", "collection": "collection"}
_JSON = ("json", "fast-json", "")


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of a backend; ``wrapper`` is the one that KrakenD puts a text or a list into."""

    format: Literal["json", "xml", "text"]
    wrapper: str | None
    is_safe: bool
    group: str | None
    target: Sequence[str]
    allow: Sequence[str]
    deny: Sequence[str]
    mapping: Mapping[str, str]

    @property
    def scripted(self) -> bool:
        """Whether a script makes the body."""
        nested = any("." in name for name in self.allow)
        renames = bool(self.mapping) and not self.allow and self.wrapper is None
        filtered_wrapper = self.wrapper is not None and bool(self.allow)
        return bool(self.target or self.deny or self.is_safe or nested or renames or filtered_wrapper)

    @property
    def known(self) -> dict[str, tuple[str, ...]] | None:
        """Each field that comes out and its path in the callout's body, before ``group``; None if only a run tells."""
        if self.scripted:
            return None
        if self.wrapper is not None:
            return {self.mapping.get(self.wrapper, self.wrapper): ()}
        if self.allow:
            return {self.mapping.get(name, name): (name,) for name in self.allow}
        return None

    def raw_path(self, path: Sequence[str]) -> tuple[str, ...] | None:
        """Where in the callout's body a field of KrakenD's answer is, None where KrakenD has none."""
        if self.group is not None:
            if not path or path[0] != self.group:
                return None
            path = path[1:]
        known = self.known
        if known is None:
            return tuple(path)
        if not path or path[0] not in known:
            return None
        return (*known[path[0]], *path[1:])


def read_shape(backend: Mapping[str, Any], name: str, place: str, report: Report) -> Shape:
    """The shape of a backend's response; raises Unconvertible."""
    encoding = str(backend.get("encoding") or "json").lower()
    wrapper = _WRAPPERS["collection"] if backend.get("is_collection") is True else None
    kind: Literal["json", "xml", "text"] = "json"
    if encoding == "string":
        kind, wrapper = "text", _WRAPPERS["string"]
    elif encoding == "xml":
        kind = "xml"
        why = "attributes have names with @ in place of KrakenD's -, and all values are texts"
        report.differs(f"{place}.encoding", "encoding xml", why, "read them by these names")
    elif encoding == "safejson":
        wrapper = None
    elif encoding not in _JSON:
        why = "a callout reads JSON, XML and text; it is read as JSON"
        report.left_out(f"{place}.encoding", f"encoding {encoding}", why, "let the service answer in one of these")
    group = backend.get("group")
    target = backend.get("target")
    mapping = backend.get("mapping") or {}
    if not isinstance(mapping, Mapping):
        raise Unconvertible(f"{place}.mapping", "expected an object")
    allow = _names(backend, "allow", place)
    return Shape(
        format=kind,
        wrapper=wrapper,
        is_safe=encoding == "safejson",
        group=group if isinstance(group, str) and group else None,
        target=target.split(".") if isinstance(target, str) and target else (),
        allow=allow,
        deny=() if allow else _names(backend, "deny", place),
        mapping={str(old): str(new).partition(".")[0] for old, new in mapping.items()},
    )


def shaping_script(shape: Shape, name: str) -> str | None:
    """The script of the callout's response, None where none is needed."""
    if not shape.scripted:
        return None
    return "".join(f"{line}\n" for line in _lines(shape, name))


def _lines(shape: Shape, name: str) -> Iterator[str]:
    yield f"local response = {indexed('kong.ctx.shared.callouts', (name, 'response'))}"
    yield "local body = response.body"
    if shape.is_safe:
        yield "if type(body) ~= 'table' then"
        yield "  body = { content = body }"
        yield "elseif body[1] ~= nil then"
        yield "  body = { collection = body }"
        yield "end"
    elif shape.wrapper is not None:
        yield f"body = {{ {key(shape.wrapper)} = body }}"
    for step in shape.target:
        yield f"body = type(body) == 'table' and {indexed('body', (step,))} or {{}}"
    yield "if type(body) ~= 'table' then"
    yield "  body = {}"
    yield "end"
    if shape.allow:
        yield from _only(shape.allow)
    elif shape.deny:
        yield from _without(shape.deny)
    for old, new in shape.mapping.items():
        before, after = indexed("body", (old,)), indexed("body", (new,))
        if before != after:
            yield f"if {before} ~= nil then"
            yield f"  {after}, {before} = {before}, nil"
            yield "end"
    yield "response.body = body"


def _only(names: Sequence[str]) -> Iterator[str]:
    yield "local function only(value, names)"
    yield "  local kept = {}"
    yield "  for name, below in pairs(names) do"
    yield "    local member = value[name]"
    yield "    if below == true then"
    yield "      kept[name] = member"
    yield "    elseif type(member) == 'table' then"
    yield "      local part = only(member, below)"
    yield "      kept[name] = next(part) ~= nil and part or nil"
    yield "    end"
    yield "  end"
    yield "  return kept"
    yield "end"
    yield f"body = only(body, {_tree(names)})"


def _without(names: Sequence[str]) -> Iterator[str]:
    yield "local function without(value, names)"
    yield "  for name, below in pairs(names) do"
    yield "    if below == true then"
    yield "      value[name] = nil"
    yield "    elseif type(value[name]) == 'table' then"
    yield "      without(value[name], below)"
    yield "    end"
    yield "  end"
    yield "end"
    yield f"without(body, {_tree(names)})"


def _tree(names: Sequence[str]) -> str:
    """Names with dots as nested tables; a name that is meant as a whole wins over one below it."""
    tree: dict[str, Any] = {}
    for name in names:
        *steps, last = name.split(".")
        at = tree
        for step in steps:
            below = at.setdefault(step, {})
            if below is True:
                break
            at = below
        else:
            at[last] = True
    return _table(tree)


def _table(tree: Mapping[str, Any]) -> str:
    members = (f"{key(name)} = {'true' if below is True else _table(below)}" for name, below in tree.items())
    return f"{{ {', '.join(members)} }}"


def _names(backend: Mapping[str, Any], field: str, place: str) -> Sequence[str]:
    value = backend.get(field) or []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise Unconvertible(f"{place}.{field}", "expected a list of names")
    return tuple(value)
