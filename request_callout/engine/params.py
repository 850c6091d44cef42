"""What a callout is about to send, and the table that scripts see and change: ``request.params``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from request_callout.config.model import Proxy, Timeouts
from request_callout.engine import json, query
from request_callout.engine.client import collect, parse_query
from request_callout.lua.host import ScriptError
from request_callout.values import Kept, Value, raw, text

JSON_MEDIA_TYPE = "application/json"

_USER_INFO = re.compile(r"//[^/@]*@")

HeaderValue: TypeAlias = "str | list[str]"


class HeaderFields:
    """Header fields to be sent: names keep their spelling, look-ups and replacements go by any case (RFC 9110, 5.1)."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, tuple[str, HeaderValue]] | None = None) -> None:
        self._fields = {} if fields is None else fields

    def copy(self) -> HeaderFields:
        return HeaderFields(dict(self._fields))

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._fields

    def get(self, name: str) -> HeaderValue | None:
        there = self._fields.get(name.lower())
        return None if there is None else there[1]

    def set(self, name: str, value: HeaderValue) -> None:
        self._fields[name.lower()] = (name, value)

    def remove(self, name: str) -> None:
        self._fields.pop(name.lower(), None)

    def pairs(self) -> list[tuple[str, str]]:
        """One pair a field line, in order."""
        result: list[tuple[str, str]] = []
        for name, value in self._fields.values():
            if isinstance(value, str):
                result.append((name, value))
            else:
                result.extend((name, one) for one in value)
        return result

    def table(self) -> dict[str, HeaderValue]:
        """Values by name, as scripts see them."""
        return dict(self._fields.values())


@dataclass(slots=True)
class Params:
    """One callout request, ready but for what a script may still change.

    ``url`` may have a query of its own; ``query`` is the encoded rest that is added to it. ``body`` is bytes, or a
    value that is sent as JSON. ``key`` is the last cache key that was made of them, and for whom; ``untried`` is the
    table ``request`` before any retry, and ``shown_url`` the URL for logs, both of params that are kept.
    """

    url: str
    method: str
    query: str
    headers: HeaderFields
    body: bytes | dict[str, Value] | list[Value] | None
    decode: bool
    ssl_verify: bool
    ssl_server_name: str | None
    proxy: Proxy | None
    timeouts: Timeouts | None
    extra: dict[str, Value] = field(default_factory=dict)
    _table: Kept | None = None
    _encoded_body: bytes | None = None
    key: tuple[object, str] | None = None
    untried: Kept | None = None
    shown_url: str | None = None

    def keep(self) -> None:
        """These params are for many requests: make once what is made of them."""
        if self.proxy is None:  # else there are two tables
            self._table = Kept(self.table())
            self.untried = Kept({"params": self._table, "retries": [], "n_retries": 0})

    def full_url(self) -> str:
        """The URL as it is sent."""
        if not self.query:
            return self.url.partition("#")[0]
        base, own = query.split_url(self.url)
        return query.with_query(base, query.joined(own, self.query))

    def body_bytes(self) -> bytes | None:
        """The body as it is sent."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        if self._encoded_body is None:
            self._encoded_body = json.encode(self.body)
        return self._encoded_body

    def table(self, *, secrets: bool = True) -> dict[str, Value]:
        """The table ``request.params``; without ``secrets`` the proxy's password is left out."""
        if self._table is not None:
            return self._table
        body = self._body_value()
        result: dict[str, Value] = {
            "url": self.url,
            "method": self.method,
            "query": collect(parse_query(self.query)),
            "headers": self.headers.table(),
            "decode": self.decode,
            "ssl_verify": self.ssl_verify,
        }
        if body is not None:
            result["body"] = body
        if self.ssl_server_name is not None:
            result["ssl_server_name"] = self.ssl_server_name
        if self.proxy is not None:
            result["proxy"] = _proxy_table(self.proxy, secrets=secrets)
        if self.timeouts is not None:
            result["timeouts"] = {
                "connect": self.timeouts.connect_ms,
                "write": self.timeouts.write_ms,
                "read": self.timeouts.read_ms,
                **({} if self.timeouts.total_ms is None else {"total": self.timeouts.total_ms}),
            }
        result.update(self.extra)
        return result

    def _body_value(self) -> Value:
        if not isinstance(self.body, bytes):
            return self.body
        if self.decode:
            try:
                return json.decode(self.body)
            except json.NotJsonError:
                pass
        return text(self.body)

    def changed(self, before: Mapping[str, Value], after: Value, where: str) -> Params:
        """What a script made of these params: ``before`` is the table it got, ``after`` the one it left.

        Raises ScriptError (at ``where``) if it left something that can't be sent.
        """
        check = _Check(where)
        if not isinstance(after, dict):
            raise ScriptError(where, "request.params must stay a table")
        encoded_query = self.query
        if not _same(after.get("query"), before.get("query")):
            encoded_query = check.query(after.get("query"))
        known = {"url", "method", "query", "headers", "body", "decode", "ssl_verify", "ssl_server_name", "proxy"}
        return Params(
            url=check.text("url", after.get("url")),
            method=check.text("method", after.get("method")).upper(),
            query=encoded_query,
            headers=check.headers(self.headers, before["headers"], after.get("headers")),
            body=self._changed_body(before.get("body"), after.get("body"), check),
            decode=after.get("decode") is True,
            ssl_verify=after.get("ssl_verify") is not False,
            ssl_server_name=check.optional_text("ssl_server_name", after.get("ssl_server_name")),
            proxy=check.proxy(after.get("proxy")),
            timeouts=check.timeouts(after.get("timeouts")),
            extra={name: value for name, value in after.items() if name not in known and name != "timeouts"},
        )

    def _changed_body(self, before: Value, after: Value, check: _Check) -> Any:
        if _same(after, before):
            return self.body
        if after is None or isinstance(after, (dict, list)):
            return after
        return raw(check.text("body", after))


def ensure_json_content_type(headers: HeaderFields) -> None:
    """Say that the body is JSON, unless the headers already do (in whatever form)."""
    value = headers.get("content-type")
    if not isinstance(value, str) or value.partition(";")[0].strip().lower() != JSON_MEDIA_TYPE:
        headers.set("Content-Type", JSON_MEDIA_TYPE)


def _same(after: Value, before: Value) -> bool:
    """Whether a script left a value as it was; unlike ``==`` it tells true from 1."""
    if isinstance(after, dict) and isinstance(before, dict):
        return after.keys() == before.keys() and all(_same(value, before[name]) for name, value in after.items())
    if isinstance(after, list) and isinstance(before, list):
        return len(after) == len(before) and all(map(_same, after, before))
    return isinstance(after, bool) is isinstance(before, bool) and bool(after == before)


def _proxy_table(proxy: Proxy, *, secrets: bool) -> dict[str, Value]:
    table: dict[str, Value] = {
        "http_proxy": proxy.http_proxy,
        "https_proxy": proxy.https_proxy,
        "auth_username": proxy.auth_username,
        "auth_password": proxy.auth_password,
    }
    present = {name: value for name, value in table.items() if value is not None}
    return present if secrets else without_secrets(present)


def without_secrets(proxy: Mapping[str, Value]) -> dict[str, Value]:
    """The table of a proxy without its password and without the user info of its URLs."""
    return {
        name: _USER_INFO.sub("//", value) if isinstance(value, str) else value
        for name, value in proxy.items()
        if name != "auth_password"
    }


@dataclass(frozen=True, slots=True)
class _Check:
    """Checks on what a script left in ``request.params``."""

    where: str

    def fail(self, name: str, expected: str) -> ScriptError:
        return ScriptError(self.where, f"request.params.{name} must be {expected}")

    def table(self, name: str, value: Value) -> dict[str, Value]:
        if value == []:
            return {}
        if not isinstance(value, dict):
            raise self.fail(name, "a table")
        return value

    def text(self, name: str, value: Value) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return json.lua_text(value) or ""
        raise self.fail(name, "a string")

    def optional_text(self, name: str, value: Value) -> str | None:
        return None if value is None else self.text(name, value)

    def query(self, value: Value) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return value.removeprefix("?")
        table = self.table("query", value)
        return query.encode_table({name: self._parameter(name, one) for name, one in table.items()})

    def _parameter(self, name: str, value: Value) -> Value:
        if isinstance(value, list) and not any(isinstance(one, (list, dict)) for one in value):
            return [self._parameter(name, one) for one in value]
        return value if isinstance(value, bool) or value is None else self.text(f"query.{name}", value)

    def headers(self, sent: HeaderFields, before: Mapping[str, Value], after: Value) -> HeaderFields:
        if after is None:
            return HeaderFields()
        after = self.table("headers", after)
        if after == before:
            return sent
        result = HeaderFields()
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        for name, value in after.items():
            if name not in changed:
                result.set(name, value)
        for name, value in changed.items():  # what the script wrote wins over another spelling of the same name
            if isinstance(value, list):
                result.set(name, [self.text(f"headers.{name}", one) for one in value])
            elif value is not None:
                result.set(name, self.text(f"headers.{name}", value))
        return result

    def proxy(self, value: Value) -> Proxy | None:
        if value is None:
            return None
        table = self.table("proxy", value)
        return Proxy(
            http_proxy=self.optional_text("proxy.http_proxy", table.get("http_proxy")),
            https_proxy=self.optional_text("proxy.https_proxy", table.get("https_proxy")),
            auth_username=self.optional_text("proxy.auth_username", table.get("auth_username")),
            auth_password=self.optional_text("proxy.auth_password", table.get("auth_password")),
        )

    def timeouts(self, value: Value) -> Timeouts | None:
        if value is None:
            return None
        table = self.table("timeouts", value)
        return Timeouts(
            connect_ms=self._milliseconds("connect", table.get("connect")),
            write_ms=self._milliseconds("write", table.get("write")),
            read_ms=self._milliseconds("read", table.get("read")),
            total_ms=self._milliseconds("total", table["total"]) if table.get("total") is not None else None,
        )

    def _milliseconds(self, name: str, value: Value) -> int:
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**31:
            raise self.fail(f"timeouts.{name}", "a number of milliseconds")
        return int(value)
