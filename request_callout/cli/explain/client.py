"""What is read from the client's request, and in which field: seen in the sources of expressions and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from request_callout.cli.explain.explanation import Read
from request_callout.config.template import Expression, parse
from request_callout.engine.compiled import CompiledCallout, CompiledUpstream, Customized
from request_callout.engine.expression import Text
from request_callout.lua import Script, Use, uses_of

_SHORTCUTS = {"headers": "header", "query_params": "query parameter", "uri_captures": "URI capture"}
_IN_EXPRESSIONS = frozenset({*_SHORTCUTS, "kong"})
_IN_SCRIPTS = frozenset({"kong"})
_ALL = {"header": "all headers", "query parameter": "the query", "URI capture": "all URI captures"}
_FUNCTIONS = {
    ("request", "get_header"): "header",
    ("request", "get_headers"): "header",
    ("request", "get_query_arg"): "query parameter",
    ("request", "get_query"): "query parameter",
    ("request", "get_raw_query"): "query parameter",
    ("request", "get_uri_captures"): "URI capture",
    ("request", "get_body"): "the body",
    ("request", "get_raw_body"): "the body",
    ("client", "get_consumer"): "the consumer",
    ("client", "get_credential"): "the credential",
    ("client", "get_ip"): "the client's address",
    ("client", "get_forwarded_ip"): "the client's address",
}


def of_callout(callout: CompiledCallout) -> tuple[Read, ...]:
    """What one callout reads."""
    own = callout.url.where.removesuffix("request.url")
    texts = _of_texts(callout.texts)
    scripts = _of_scripts([callout.request_script, callout.response_script])
    request = callout.config.request
    forwarded = _forwarded(callout.query, callout.headers, body=request.body.forward, where=f"{own}request")
    return _short([*texts, *scripts, *forwarded], own)


def of_upstream(upstream: CompiledUpstream) -> tuple[Read, ...]:
    """What the changes of the upstream request read, beside what goes on as it came."""
    return _short([*_of_texts(upstream.texts), *_of_scripts([upstream.script])], "config.")


def of_text(text: Text) -> list[str]:
    """What one value reads."""
    return [read.what for read in _of_texts([text])]


def _of_texts(texts: Iterable[Text]) -> Iterator[Read]:
    for text in texts:
        for part in parse(text.source).parts:
            if isinstance(part, Expression):
                yield from (Read(what, text.where) for what in _read(uses_of(part.source, _IN_EXPRESSIONS)))


def _of_scripts(scripts: Iterable[Script | None]) -> Iterator[Read]:
    for script in scripts:
        if script is not None:
            yield from (Read(what, script.where) for what in _read(uses_of(script.source, _IN_SCRIPTS)))


def _forwarded(query: Customized, headers: Customized, *, body: bool, where: str) -> Iterator[Read]:
    if query.forward:
        yield Read(_ALL["query parameter"], f"{where}.query.forward")
    if headers.forward:
        yield Read(_ALL["header"], f"{where}.headers.forward")
    if body:
        yield Read("the body", f"{where}.body.forward")


def _read(uses: Iterable[Use]) -> Iterator[str]:
    for use in uses:
        what = _what(use)
        if what is not None:
            yield what


def _what(use: Use) -> str | None:
    path = use.path
    if path[0] in _SHORTCUTS:
        return _named(_SHORTCUTS[str(path[0])], str(path[1]) if len(path) > 1 else None)
    function = tuple(str(key) for key in path[1:3])
    if len(function) == 2 and function in _FUNCTIONS:
        return _named(_FUNCTIONS[function], use.argument)
    if len(function) == 2 and function[0] == "request" and function[1].startswith("get_"):
        return f"the request's {function[1].removeprefix('get_').replace('_', ' ')}"
    return None


def _named(kind: str, name: str | None) -> str:
    if kind not in _ALL:
        return kind
    if name is None:
        return _ALL[kind]
    return f"{kind} {name.lower().replace('_', '-') if kind == 'header' else name}"


def _short(reads: Iterable[Read], own: str) -> tuple[Read, ...]:
    """Each once, with the field as it is called within its callout."""
    return tuple(dict.fromkeys(Read(read.what, read.where.removeprefix(own)) for read in reads))
