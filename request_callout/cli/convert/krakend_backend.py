"""One backend of a KrakenD endpoint as a callout, and where in its response the fields of KrakenD's answer are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from request_callout.cli.convert.krakend_extras import backend_extras
from request_callout.cli.convert.krakend_shape import Shape, read_shape, shaping_script
from request_callout.cli.convert.lua_text import expression, indexed, key, quoted
from request_callout.cli.convert.report import Report, Unconvertible
from request_callout.config.template import literal

_PLACEHOLDER = re.compile(r"\{([\w\-.:/]+)\}", re.ASCII)
_RESPONSE = re.compile(r"[Rr]esp(\d+)(?:_(.+))?\Z")
_MOST_REDIRECTS = 10
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_FIELDS = frozenset(
    {
        "host",
        "url_pattern",
        "method",
        "encoding",
        "allow",
        "deny",
        "mapping",
        "group",
        "target",
        "is_collection",
        "extra_config",
        "disable_host_sanitize",
        "input_headers",
        "input_query_strings",
        "sd",
        "sd_scheme",
    }
)


class Skipped(Exception):
    """An endpoint that is left out as a whole."""

    def __init__(self, place: str, what: str, why: str, instead: str) -> None:
        super().__init__(f"{place}: {what}: {why}")
        self.place = place
        self.what = what
        self.why = why
        self.instead = instead


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What an endpoint says of its backends.

    ``captures`` are the names in ``uri_captures`` by those of the path's placeholders; ``total_ms`` is what a backend
    may take.
    """

    method: str
    hosts: Any
    captures: Mapping[str, str]
    headers: Sequence[str]
    query: Sequence[str]
    total_ms: int
    sequential: bool
    count: int


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend that was read: its callout, and the shape of what it gives to the answer."""

    name: str
    host: str
    shape: Shape
    cached: bool
    callout: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> str:
        """Lua that tells whether the callout has failed."""
        return indexed("callouts", (self.name, "request", "error"))


def read_backend(
    backend: Any, settings: EndpointSettings, before: Sequence[Backend], place: str, report: Report
) -> Backend:
    """The callout of a backend; raises Skipped and Unconvertible."""
    if not isinstance(backend, Mapping):
        raise Unconvertible(place, "expected an object")
    for name in backend:
        if name not in _FIELDS and not name.startswith(("@", "$", "_")):
            report.left_out(f"{place}.{name}", name, "there is nothing like it", "remove it if nobody relies on it")
    pattern = backend.get("url_pattern")
    if not isinstance(pattern, str) or not pattern:
        raise Unconvertible(f"{place}.url_pattern", "expected a path")
    name = _callout_name(pattern, {one.name for one in before})
    shape = read_shape(backend, name, place, report)
    request, cached = backend_extras(backend.get("extra_config"), f"{place}.extra_config", name, report)
    host = host_of(backend, settings, place, report)
    method = str(backend.get("method") or settings.method).upper()
    sent: dict[str, Any] = {"url": host + url_path(pattern, settings, before, place)}
    if method != "GET":
        sent["method"] = method
    _pass_parameters(sent, backend, settings, name, place)
    if method not in _WITHOUT_BODY:
        sent["body"] = {"forward": True}
    sent.update(request)
    goes_on = settings.count > 1 and not (settings.sequential and not before)
    status = indexed("callouts", (name, "response", "status"))
    sent["error"] = {
        "when": expression(f"{status} ~= 200 and {status} ~= 201"),
        **({"on_error": "continue", "fallback": {"status": 500}} if goes_on else {"error_response_code": 500}),
    }
    sent["http_opts"] = {"timeouts": {"total": max(1, settings.total_ms)}, "max_redirects": _MOST_REDIRECTS}
    callout: dict[str, Any] = {"name": name, "depends_on": []}
    if settings.sequential and before:
        callout["depends_on"] = [before[-1].name]
        if len(before) > 1:
            skipped = indexed("callouts", (before[-1].name, "skipped"))
            callout["when"] = expression(f"not {before[-1].failed} and not {skipped}")
    callout["request"] = sent
    body: dict[str, Any] = {"format": shape.format} if shape.format != "json" else {"decode": True}
    callout["response"] = {"body": body}
    script = shaping_script(shape, name)
    if script is not None:
        callout["response"]["by_lua"] = script
    return Backend(name, host, shape, cached and method in _WITHOUT_BODY, callout)


def host_of(backend: Mapping[str, Any], settings: EndpointSettings, place: str, report: Report) -> str:
    """The first host, as the beginning of a URL."""
    hosts = backend.get("host") or settings.hosts
    if isinstance(hosts, str):
        hosts = [hosts]
    if not isinstance(hosts, list) or not hosts or not all(isinstance(one, str) and one for one in hosts):
        raise Unconvertible(f"{place}.host", "expected a list of hosts, here or at the top")
    if backend.get("sd") not in (None, "", "static"):
        why = "a callout finds its service by name in DNS only"
        report.left_out(f"{place}.sd", f"sd {backend['sd']}", why, "write a name that DNS resolves into the URL")
    if len(hosts) > 1:
        report.left_out(
            f"{place}.host",
            f"the hosts {', '.join(hosts[1:])}",
            "a callout has one URL",
            "write a name that resolves to all of them into the URL, or a load balancer's",
        )
    host = str(hosts[0]).rstrip("/")
    if "://" not in host:
        host = f"http://{host}"
    if not host.startswith(("http://", "https://")):
        raise Skipped(
            f"{place}.host", host, "only http and https can be called", "call the service through an HTTP API"
        )
    return host


def url_path(pattern: str, settings: EndpointSettings, before: Sequence[Backend], place: str) -> str:
    """The path and query of a backend, with expressions for the placeholders."""
    pieces = []
    end = 0
    pattern = "/" + pattern.lstrip("/")
    for found in _PLACEHOLDER.finditer(pattern):
        pieces += [literal(pattern[end : found.start()]), _placeholder(found[1], settings, before, place)]
        end = found.end()
    return "".join([*pieces, literal(pattern[end:])])


def _placeholder(name: str, settings: EndpointSettings, before: Sequence[Backend], place: str) -> str:
    where = f"{place}.url_pattern"
    if name in settings.captures:
        return expression(indexed("uri_captures", (settings.captures[name],)))
    found = _RESPONSE.match(name) if settings.sequential else None
    if found is None:
        why = "only parameters of the endpoint's path and, in a sequence, resp0_... can be converted"
        raise Skipped(where, f"the endpoint with {{{name}}}", why, "write a callout whose url has an expression for it")
    number = int(found[1])
    if number >= len(before):
        raise Unconvertible(where, f"{{{name}}} names a backend that is not before this one")
    path = before[number].shape.raw_path(found[2].split(".") if found[2] else [])
    if path is None:
        why = f"backend {number} has no such field after group, target, allow, deny and mapping"
        raise Skipped(where, f"the endpoint with {{{name}}}", why, "name a field that the backend gives")
    return expression(indexed("callouts", (before[number].name, "response", "body", *path)))


def _pass_parameters(
    sent: dict[str, Any], backend: Mapping[str, Any], settings: EndpointSettings, name: str, place: str
) -> None:
    query = _narrowed(settings.query, backend.get("input_query_strings"), f"{place}.input_query_strings")
    if "*" in query:
        sent["query"] = {"forward": True}
    elif query:
        members = ", ".join(f"{key(one)} = {indexed('query_params', (one,))}" for one in query)
        joint = "&" if "?" in sent["url"] else "?"
        sent["url"] += joint + expression(f"ngx.encode_args({{{members}}})")
    headers = _narrowed(settings.headers, backend.get("input_headers"), f"{place}.input_headers")
    if "*" in headers:
        sent["headers"] = {"forward": True}
    elif headers:
        params = indexed("kong.ctx.shared.callouts", (name, "request", "params", "headers"))
        listed = ", ".join(quoted(one) for one in headers)
        sent["by_lua"] = (
            f"-- the headers that the client may send on\nlocal sent = {params}\n"
            f"for _, name in ipairs({{{listed}}}) do\n  sent[name] = kong.request.get_header(name)\nend\n"
        )


def _narrowed(given: Sequence[str], own: Any, place: str) -> Sequence[str]:
    """What a backend gets of the endpoint's parameters: all, or those that it lists too."""
    if own is None:
        return given
    if not isinstance(own, list) or not all(isinstance(one, str) for one in own):
        raise Unconvertible(place, "expected a list of names")
    return own if "*" in given else given if "*" in own else [one for one in given if one in own]


def _callout_name(pattern: str, taken: set[str]) -> str:
    words = re.findall(r"[A-Za-z0-9]+", _PLACEHOLDER.sub("", pattern.partition("?")[0]))
    name = "_".join(words).lower() or "backend"
    if name[0].isdigit():
        name = f"backend_{name}"
    number, one = 1, name
    while one in taken:
        number += 1
        one = f"{name}_{number}"
    return one
