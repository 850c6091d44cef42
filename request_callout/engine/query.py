"""Query strings: editing one without touching what stays, and encoding what is added (RFC 3986, section 3.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from urllib.parse import quote_from_bytes

from request_callout.engine.client import parse_query
from request_callout.values import Value, raw


def encode_piece(piece: str) -> str:
    """Percent-encode a name or a value: only unreserved characters stay."""
    return quote_from_bytes(raw(piece), safe="")


def encode_pairs(pairs: Iterable[tuple[str, Value]]) -> str:
    """Pairs as a query; True stands for a parameter without a value, a list for a repeated one."""
    pieces: list[str] = []
    for name, value in pairs:
        for one in value if isinstance(value, list) else (value,):
            if one is True:
                pieces.append(encode_piece(name))
            elif one is not None and one is not False:
                pieces.append(f"{encode_piece(name)}={encode_piece(str(one))}")
    return "&".join(pieces)


def encode_table(table: Mapping[str, Value]) -> str:
    """A table of parameters as a query."""
    return encode_pairs(table.items())


def without(raw_query: str, names: Collection[str]) -> str:
    """The query without the parameters of these names; every other byte stays as it is."""
    if not names or not raw_query:
        return raw_query
    kept = [piece for piece in raw_query.split("&") if not any(name in names for name, _ in parse_query(piece))]
    return "&".join(kept)


def joined(*queries: str) -> str:
    """The queries one after the other."""
    return "&".join(query for query in queries if query)


def split_url(url: str) -> tuple[str, str]:
    """A URL as what stands before its query, and its query; a fragment is dropped."""
    base, _, query = url.partition("#")[0].partition("?")
    return base, query


def with_query(base: str, query: str) -> str:
    """A URL of these two parts."""
    return f"{base}?{query}" if query else base
