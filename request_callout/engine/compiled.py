"""A configuration made ready to run: everything that can be done once is done here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from request_callout.config import model
from request_callout.engine.auth.identity import CompiledAuth, compile_auth
from request_callout.engine.destinations import Destinations
from request_callout.engine.expression import Text, merged
from request_callout.engine.respond import CompiledRespond, compile_respond
from request_callout.engine.target import CompiledTarget, compile_target
from request_callout.lua import Lua, Script, Uses

Custom: TypeAlias = tuple[tuple[str, "Text | None"], ...]


@dataclass(frozen=True, slots=True)
class Customized:
    """Headers, query or body: forwarded, removed, set; a custom value None removes."""

    forward: bool
    remove: frozenset[str]
    custom: Custom

    @property
    def texts(self) -> Iterator[Text]:
        """The values that are set."""
        return (value for _, value in self.custom if value is not None)

    @property
    def changes(self) -> bool:
        """Whether anything is set or removed."""
        return bool(self.custom) or bool(self.remove)

    def removes(self, name: str) -> bool:
        """For headers: whether this one is removed, in any case."""
        return any(one.lower() == name for one in self.remove)

    @property
    def constant(self) -> bool:
        """Whether this is the same for every request of a client."""
        return not self.forward and all(text.constant is not None for text in self.texts)

    def merges(self, *, decode: bool) -> bool:
        """For bodies: whether the changes are made on the client's body, which then has to be JSON.

        ``remove`` alone says as much as ``decode``: there is nothing to remove from an empty object.
        """
        return self.forward and self.changes and (decode or bool(self.remove))

    @property
    def gone(self) -> frozenset[str]:
        """Names of what does not stay as it was: removed or set anew."""
        return self.remove | {name for name, _ in self.custom}


@dataclass(frozen=True, slots=True)
class CompiledFallback:
    """What stands for the response of a callout that failed."""

    status: int
    headers: tuple[tuple[str, Text], ...]
    body: Text | None

    @property
    def texts(self) -> Iterator[Text]:
        """Everything that may hold expressions."""
        yield from (text for _, text in self.headers)
        if self.body is not None:
            yield self.body


@dataclass(frozen=True, slots=True)
class CompiledCallout:
    """One callout with its expressions and scripts compiled; ``index`` is its place in the configuration.

    ``texts`` are all values that may hold expressions.
    """

    index: int
    config: model.Callout
    url: Text
    query: Customized
    headers: Customized
    body: Customized
    error_message: Text
    request_script: Script | None
    response_script: Script | None
    texts: tuple[Text, ...]
    uses: Uses
    destinations: Destinations
    ttl: Text | None = None
    vary_on: tuple[Text, ...] = ()
    error_when: Text | None = None
    fallback: CompiledFallback | None = None
    auth: CompiledAuth | None = None
    content: Text | None = None
    condition: Text | None = None
    items: Text | None = None

    @property
    def decodes_as(self) -> model.ResponseFormat | None:
        """As what the response's body is decoded, None if it is not."""
        response = self.config.response
        return response.body_format or ("json" if response.body_decode else None)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def request_where(self) -> str:
        """The field that had the last word on what is sent."""
        return self.url.where.removesuffix("url") + "by_lua" if self.request_script else self.url.where

    def may_cache(self, strategy: model.Strategy) -> bool:
        """Whether its responses may be kept: a script may lift the configured bypass."""
        return strategy != "off" and (not self.config.cache.bypass or self.request_script is not None)

    @property
    def constant(self) -> bool:
        """Whether what is sent is the same for every request of a client, unless a script changes it."""
        if self.url.constant is None or (self.content is not None and self.content.constant is None):
            return False
        return all(part.constant for part in (self.query, self.headers, self.body))

    @property
    def script(self) -> Script | None:
        """A script that it has, the one before the request first."""
        return self.request_script or self.response_script


@dataclass(frozen=True, slots=True)
class CompiledUpstream:
    """The upstream's part, compiled; ``texts`` are all values that may hold expressions."""

    config: model.Upstream
    query: Customized
    headers: Customized
    body: Customized
    script: Script | None
    texts: tuple[Text, ...]
    uses: Uses
    target: CompiledTarget | None = None
    respond: CompiledRespond | None = None


def compile_callout(callout: model.Callout, index: int, lua: Lua) -> CompiledCallout:
    """Compile one callout; ``index`` counts from 1, as paths do."""
    where = f"config.callouts[{index}]"
    request = callout.request
    url = Text(request.url, f"{where}.request.url", lua)
    query = _customized(request.query, f"{where}.request.query", lua)
    headers = _customized(request.headers, f"{where}.request.headers", lua)
    body = _customized(request.body, f"{where}.request.body", lua)
    message = Text(request.error.error_response_msg, f"{where}.request.error.error_response_msg", lua)
    ttl = None if callout.cache.ttl is None else Text(callout.cache.ttl, f"{where}.cache.ttl", lua)
    vary_on = tuple(
        Text(value, f"{where}.cache.vary_on[{place}]", lua) for place, value in enumerate(callout.cache.vary_on, 1)
    )
    content = None if request.body.content is None else Text(request.body.content, f"{where}.request.body.content", lua)
    auth = None
    if request.auth is not None:
        auth = compile_auth(request.auth, f"{where}.request.auth", lua)
        headers = replace(headers, remove=headers.remove | {"authorization"})  # the client's own is not forwarded
    texts = [url, message, *query.texts, *headers.texts, *body.texts, *vary_on, *(auth.texts if auth else ())]
    texts += [text for text in (content, ttl) if text is not None]
    when = request.error.when
    error_when = None if when is None else Text(when, f"{where}.request.error.when", lua)
    fallback = _fallback(request.error.fallback, f"{where}.request.error.fallback", lua)
    texts += [*([error_when] if error_when else ()), *(fallback.texts if fallback else ())]
    condition = None if callout.when is None else Text(callout.when, f"{where}.when", lua)
    items = None if callout.for_each is None else Text(callout.for_each.items, f"{where}.for_each.items", lua)
    texts += [text for text in (condition, items) if text is not None]
    return CompiledCallout(
        index=index,
        config=callout,
        url=url,
        query=query,
        headers=headers,
        body=body,
        error_message=message,
        request_script=_script(request.by_lua, f"{where}.request.by_lua", lua),
        response_script=_script(callout.response.by_lua, f"{where}.response.by_lua", lua),
        texts=tuple(texts),
        uses=merged([text.uses for text in texts]),
        destinations=Destinations(request),
        ttl=ttl,
        vary_on=vary_on,
        error_when=error_when,
        fallback=fallback,
        auth=auth,
        content=content,
        condition=condition,
        items=items,
    )


def compile_upstream(upstream: model.Upstream, lua: Lua) -> CompiledUpstream:
    """Compile what is done to the proxied request."""
    query = _customized(upstream.query, "config.upstream.query", lua)
    headers = _customized(upstream.headers, "config.upstream.headers", lua)
    body = _customized(upstream.body, "config.upstream.body", lua)
    target = None if upstream.target is None else compile_target(upstream.target, lua)
    respond = None if upstream.respond is None else compile_respond(upstream.respond, lua)
    texts = [*query.texts, *headers.texts, *body.texts]
    texts += [*(target.texts if target else ()), *(respond.texts if respond else ())]
    return CompiledUpstream(
        config=upstream,
        query=query,
        headers=headers,
        body=body,
        script=_script(upstream.by_lua, "config.upstream.by_lua", lua),
        texts=tuple(texts),
        uses=merged([text.uses for text in texts]),
        target=target,
        respond=respond,
    )


def _customized(part: model.Parameters | model.Body, where: str, lua: Lua) -> Customized:
    custom = tuple(
        (name, None if value is None else Text(value, f"{where}.custom.{name}", lua))
        for name, value in part.custom.items()
    )
    return Customized(forward=part.forward, remove=frozenset(part.remove), custom=custom)


def _fallback(fallback: model.Fallback | None, where: str, lua: Lua) -> CompiledFallback | None:
    if fallback is None:
        return None
    return CompiledFallback(
        status=fallback.status,
        headers=tuple((name, Text(value, f"{where}.headers.{name}", lua)) for name, value in fallback.headers.items()),
        body=None if fallback.body is None else Text(fallback.body, f"{where}.body", lua),
    )


def _script(source: str | None, where: str, lua: Lua) -> Script | None:
    return None if source is None else lua.script(source, where)
