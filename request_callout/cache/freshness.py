"""What a response's header fields say of keeping it, for a shared cache (RFC 9111).

Header fields are given as the transport gives them: names in lower case, a list where a field is repeated. Nothing is
guessed where nothing is said (section 4.2.2), and a qualified ``private`` or ``no-cache`` counts as the whole one, as
sections 5.2.2.4 and 5.2.2.7 allow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

Headers = Mapping[str, "str | list[str]"]

_DIRECTIVE = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')
_MOST_S = 2**31  # section 1.2.2: what is larger counts as this
_MOST_DIGITS = 10
_KEEPS_OUT = ("no-store", "private", "no-cache")
_FORBIDS_STALE = ("must-revalidate", "proxy-revalidate", "s-maxage")


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether a response may be kept and used again without asking, for how long, and whether also when it is stale.

    ``fresh_s`` counts from the moment it was received, less the ``Age`` it came with; it may be zero or less. None: the
    response does not say.
    """

    storable: bool
    fresh_s: float | None
    may_be_stale: bool


def freshness(headers: Headers, now: float) -> Freshness:
    """Read ``Cache-Control``, ``Expires``, ``Date`` and ``Age``; ``now`` is a moment of ``time.time()``."""
    directives = cache_control(headers)
    return Freshness(
        storable=not any(name in directives for name in _KEEPS_OUT),
        fresh_s=_fresh_s(headers, directives, now),
        may_be_stale=not any(name in directives for name in _FORBIDS_STALE),
    )


def varies(headers: Headers, sent: Callable[[str], str | None]) -> dict[str, str | None] | None:
    """The request's header fields that the response was chosen by, with the values that were ``sent`` (section 4.1).

    None if it was chosen by something else (``Vary: *``): then it answers no other request.
    """
    names = [name.strip().lower() for name in _joined(headers, "vary").split(",")]
    return None if "*" in names else {name: sent(name) for name in names if name}


def cache_control(headers: Headers) -> dict[str, str]:
    """The directives of ``Cache-Control`` with their arguments; the first of equal ones counts (section 4.2.1)."""
    directives: dict[str, str] = {}
    for directive in _DIRECTIVE.findall(_joined(headers, "cache-control")):
        name, _, argument = directive.partition("=")
        directives.setdefault(name.strip().lower(), argument.strip().strip('"'))
    return directives


def _fresh_s(headers: Headers, directives: Mapping[str, str], now: float) -> float | None:
    """Section 4.2.1: the first of ``s-maxage``, ``max-age`` and ``Expires``; what is no time counts as over."""
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return (_seconds(directives[name]) or 0) - _age_s(headers)
    if "expires" not in headers:
        return None
    expires = _moment(_first(headers, "expires"))
    if expires is None:
        return 0
    date = _moment(_first(headers, "date"))
    return expires - (now if date is None else date) - _age_s(headers)


def _age_s(headers: Headers) -> float:
    """Section 5.1: the first of several values, nothing for one that is no number."""
    return _seconds(_first(headers, "age").partition(",")[0].strip()) or 0


def _seconds(digits: str) -> float | None:
    if not digits.isascii() or not digits.isdecimal():
        return None
    return _MOST_S if len(digits) > _MOST_DIGITS else min(int(digits), _MOST_S)


def _moment(date: str) -> float | None:
    """A moment of ``time.time()`` from an HTTP-date (RFC 9110, section 5.6.7)."""
    parsed = parsedate_tz(date)
    if parsed is None:
        return None
    try:
        return mktime_tz(parsed)
    except (ValueError, OverflowError):
        return None


def _first(headers: Headers, name: str) -> str:
    value = headers.get(name, "")
    return value if isinstance(value, str) else value[0]


def _joined(headers: Headers, name: str) -> str:
    value = headers.get(name, "")
    return value if isinstance(value, str) else ",".join(value)
