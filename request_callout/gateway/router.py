"""Which route takes a request: Kong's router of flavour ``traditional_compatible``, the default of 3.x.

Routes are tried by priority; a route with paths of several kinds or lengths is split into one for each, as Kong does
(``kong/router/transform.lua``). Of equal ones the greater id comes first.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import regex

from request_callout.gateway.model import Route

_SPLIT_IDS = uuid.UUID("7f145bf9-0dce-4f91-98eb-debbce4b9f6b")
_MAX_HEADERS = 255


@dataclass(frozen=True, slots=True)
class Match:
    """The route of a request.

    ``prefix`` is what of the path it matched, None unless that is stripped. ``captures`` are those of a regular
    expression: the whole match and the groups by number, and the named ones by name too (None: it has no groups).
    """

    route: Route
    prefix: str | None
    captures: Mapping[int | str, str] | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One route, or one part of a route that was split by its paths."""

    order: tuple[int, int]
    route: Route
    prefixes: tuple[str, ...]
    expressions: tuple[regex.Pattern[str], ...]
    hosts: tuple[Callable[[str, int], bool], ...]
    headers: tuple[tuple[str, tuple[Callable[[str], bool], ...]], ...]


class Router:
    """The routes of one configuration, ready to be matched."""

    def __init__(self, routes: Iterable[Route]) -> None:
        candidates = [candidate for route in routes for candidate in _candidates(route)]
        self._candidates = sorted(candidates, key=lambda one: one.order, reverse=True)

    def match(
        self, method: str, path: str, host: str | None, port: int, headers: Mapping[str, Sequence[str]]
    ) -> Match | None:
        """The route for a request, None if there is none.

        ``path`` is normalised, ``host`` the Host header (``name`` or ``name:port``), ``port`` the one that was
        connected to; ``headers`` have lower-case names.
        """
        if not _is_utf8(path):
            return None
        name = _host_name(host or "")
        for one in self._candidates:
            route = one.route
            if route.methods and method not in route.methods:
                continue
            if one.hosts and not any(matches(name, port) for matches in one.hosts):
                continue
            if not all(_header_matches(headers.get(key, ()), wanted) for key, wanted in one.headers):
                continue
            if not route.paths:
                return Match(route, None, None)
            found = _path_match(one, path)
            if found is not None:
                return found
        return None


def _is_utf8(path: str) -> bool:
    """Kong's router works on text: a path that is none matches nothing."""
    return not any("\udc80" <= character <= "\udcff" for character in path)


def _path_match(one: _Candidate, path: str) -> Match | None:
    strip = one.route.strip_path
    for prefix in one.prefixes:
        if path.startswith(prefix):
            return Match(one.route, prefix if strip else None, None)
    for expression in one.expressions:
        found = expression.match(path)
        if found is not None:
            captures: dict[int | str, str] = {}
            if expression.groups:
                captures[0] = found[0]
                captures |= {number: group for number, group in enumerate(found.groups(), 1) if group is not None}
                captures |= {name: group for name, group in found.groupdict().items() if group is not None}
            return Match(one.route, found[0] if strip else None, captures or None)
    return None


def compile_path(path: str) -> regex.Pattern[str]:
    """The expression of a path that starts with ``~``: anchored at its start only. Raises ValueError if malformed."""
    try:
        return regex.compile(path[1:], regex.VERSION0)
    except regex.error as error:
        raise ValueError(str(error)) from None


def _candidates(route: Route) -> Iterable[_Candidate]:
    groups: dict[int, list[str]] = {}
    for path in route.paths:
        groups.setdefault(0 if path.startswith("~") else len(path), []).append(path)
    hosts = tuple(_host_rule(host) for host in route.hosts)
    headers = tuple(
        (name.lower(), tuple(_header_rule(value) for value in values)) for name, values in route.headers.items()
    )
    if len(groups) < 2:
        yield _candidate(route, route.id, route.paths, hosts, headers)
        return
    for position, paths in enumerate(groups.values(), 1):
        identity = str(uuid.uuid5(_SPLIT_IDS, f"{route.id}#{position}"))
        yield _candidate(route, identity, tuple(paths), hosts, headers)


def _candidate(
    route: Route,
    identity: str,
    paths: tuple[str, ...],
    hosts: tuple[Callable[[str, int], bool], ...],
    headers: tuple[tuple[str, tuple[Callable[[str], bool], ...]], ...],
) -> _Candidate:
    return _Candidate(
        order=(_priority(route, paths), uuid.UUID(identity).int),
        route=route,
        prefixes=tuple(path for path in paths if not path.startswith("~")),
        expressions=tuple(compile_path(path) for path in paths if path.startswith("~")),
        hosts=hosts,
        headers=headers,
    )


def _priority(route: Route, paths: Sequence[str]) -> int:
    """More kinds of fields first, then plain hosts, more headers, expressions (by their priority), longer prefixes."""
    weight = sum(map(bool, (route.methods, route.hosts, route.headers, paths)))
    plain_hosts = bool(route.hosts) and not any("*" in host for host in route.hosts)
    is_regex = bool(paths) and paths[0].startswith("~")
    length = len(paths[0].encode("utf-8", "surrogateescape")) if paths and not is_regex else 0
    return (
        weight << 61
        | plain_hosts << 60
        | min(len(route.headers), _MAX_HEADERS) << 52
        | is_regex << 51
        | (route.regex_priority if is_regex else 0) << 19
        | (length & 0x7FFFF)
    )


def _host_name(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _host_rule(host: str) -> Callable[[str, int], bool]:
    name, colon, digits = host.rpartition(":")
    port = int(digits) if colon and digits.isdecimal() else None
    name = name if port is not None else host
    if name.startswith("*"):
        return lambda asked, to: asked.endswith(name[1:]) and (port is None or to == port)
    if name.endswith("*"):
        return lambda asked, to: asked.startswith(name[:-1]) and (port is None or to == port)
    return lambda asked, to: asked == name and (port is None or to == port)


def _header_rule(value: str) -> Callable[[str], bool]:
    if value.startswith("~*"):
        expression = regex.compile(value[2:].lower())
        return lambda given: expression.search(given.lower()) is not None
    wanted = value.lower()
    return lambda given: given.lower() == wanted


def _header_matches(values: Sequence[str], wanted: Sequence[Callable[[str], bool]]) -> bool:
    return any(matches(value) for value in values for matches in wanted)
