"""KrakenD's answer, the merged fields of all backends, as ``upstream.respond``.

Where all fields are known, the body is a template that names them. Else the backends' bodies are merged by an
expression, the later ones over the earlier.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from request_callout.cli.convert.krakend_backend import Backend
from request_callout.cli.convert.lua_text import expression, indexed, key
from request_callout.cli.convert.report import Report

_MERGE = (
    "(function(...) local all = {} for i = 1, select('#', ...) do local part = select(i, ...) "
    "if type(part) == 'table' then for name, value in pairs(part) do all[name] = value end end end return all end)"
)


def answered(
    backends: Sequence[Backend], *, as_list: bool, sequential: bool, max_age_s: int, place: str, report: Report
) -> dict[str, Any]:
    """``upstream`` of the plugin."""
    respond: dict[str, Any] = {"body": _list(backends) if as_list else _object(backends, place, report)}
    can_fail = backends[1:] if sequential else backends if len(backends) > 1 else ()
    if max_age_s > 0:
        failed = " or ".join(one.failed for one in can_fail)
        age = f"public, max-age={max_age_s}"
        respond["headers"] = {"Cache-Control": expression(f"({failed}) and 'no-store' or '{age}'") if failed else age}
    upstream: dict[str, Any] = {"respond": respond}
    if can_fail and not sequential:
        failed = " and ".join(f"kong.ctx.shared.{one.failed}" for one in can_fail)
        upstream["by_lua"] = f"-- nothing to answer with\nif {failed} then\n  kong.response.exit(500)\nend\n"
    return upstream


def _list(backends: Sequence[Backend]) -> str:
    for one in reversed(backends):
        path = one.shape.raw_path(("collection",))
        if path is not None and (one.shape.wrapper == "collection" or one.shape.is_safe):
            return json.dumps(expression(indexed("callouts", (one.name, "response", "body", *path))))
    return "[]"


def _object(backends: Sequence[Backend], place: str, report: Report) -> str:
    template: dict[str, Any] = {}
    for one in backends:
        known = one.shape.known
        if known is None and one.shape.group is None:
            return json.dumps(expression(_merged(backends)))
        body = ("callouts", (one.name, "response", "body"))
        fields: Any = expression(indexed(*body))
        if known is not None:
            fields = {name: expression(indexed(body[0], (*body[1], *path))) for name, path in known.items()}
        if one.shape.group is not None:
            fields = {one.shape.group: fields}
        template.update(fields)
    if len(backends) > 1 or any(one.shape.allow for one in backends):
        why = "KrakenD leaves a field out that a backend does not have, here it is null"
        report.differs(f"{place}.backend", "fields without a value", why, "let clients read null as absent")
    return json.dumps(template, indent=2, ensure_ascii=False)


def _merged(backends: Sequence[Backend]) -> str:
    parts = [_part(one, may_be_skipped="when" in one.callout) for one in backends]
    return parts[0] if len(parts) == 1 else f"{_MERGE}({', '.join(parts)})"


def _part(backend: Backend, *, may_be_skipped: bool) -> str:
    body = indexed("callouts", (backend.name, "response", "body"))
    if may_be_skipped:
        body = f"({indexed('callouts', (backend.name, 'response'))} or {{}}).body"
    known = backend.shape.known
    part = body
    if known is not None:
        members = (
            f"{key(name)} = {indexed(f'({body} or {{}})', path) if path else body}" for name, path in known.items()
        )
        part = f"{{ {', '.join(members)} }}"
    return part if backend.shape.group is None else f"{{ {key(backend.shape.group)} = {part} }}"
