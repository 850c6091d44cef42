"""What a callout sends and where, and what of the answer is used, as it may be shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from request_callout.cli.explain.explanation import Item, Part, Sent
from request_callout.cli.explain.shown import HIDDEN, Shown
from request_callout.cli.explain.timing import seconds
from request_callout.config import model
from request_callout.engine.compiled import CompiledCallout, Customized
from request_callout.engine.sharing import shown_url

_BODIES = {"json": "JSON", "form": "form", "multipart": "multipart form", "raw": "text"}


def sent(callout: CompiledCallout, shown: Shown) -> Sent:
    """The request."""
    request = callout.config.request
    return Sent(
        method=request.method,
        url=shown.url(callout.url),
        query=part(callout.query, request.query.remove, shown, hidden=True),
        headers=part(callout.headers, request.headers.remove, shown),
        body=_body(callout, shown),
        credentials=None if request.auth is None else _credentials(request.auth, shown),
        connection=tuple(_connection(request, shown)),
    )


def part(customized: Customized, removed: Iterable[str], shown: Shown, *, hidden: bool = False) -> Part:
    """Headers, query or body; ``hidden``: constants are not shown, whatever they are called."""
    items = [Item(shown.plain(name), None) for name in removed]
    for name, text in customized.custom:
        if text is None:
            items.append(Item(shown.plain(name), None))
        else:
            constant = hidden and text.constant is not None
            items.append(Item(shown.plain(name), HIDDEN if constant else shown.value(name, text.source)))
    return Part(customized.forward, tuple(items))


def gets(callout: CompiledCallout) -> str:
    """What becomes of the response."""
    config = callout.config.response
    decoded = callout.decodes_as
    text = "its body as it came" if decoded is None else f"its body decoded as {decoded}"
    left_out = " and ".join(config.not_stored)
    return f"{text}; {left_out} not kept for later" if left_out else text


def _body(callout: CompiledCallout, shown: Shown) -> Part:
    config = callout.config.request.body
    body = part(callout.body, config.remove, shown)
    if callout.content is not None:
        return Part(False, (), shown.value("", callout.content.source))
    if body.items:
        merged = " merged into the client's" if callout.body.merges(decode=config.decode) else ""
        return Part(body.forward, body.items, _BODIES[config.format] + merged)
    return body


def _credentials(auth: model.Auth, shown: Shown) -> str:
    if auth.type == "basic":
        password = shown.value("password", auth.password or "")
        return f"basic: user {shown.expression(auth.username or '')}, password {password}"
    if auth.type == "bearer":
        return f"bearer: token {shown.value('token', auth.token or '')}"
    url = auth.token_url or ""
    asked = url if url.startswith("{vault://") else shown_url(url)
    scopes = f", scopes {' '.join(auth.scopes)}" if auth.scopes else ""
    return shown.plain(f"OAuth 2.0: token of {asked} for client {auth.client_id}{scopes}; kept until it expires")


def _connection(request: model.Request, shown: Shown) -> Iterator[str]:
    options = request.http_opts
    if not options.ssl_verify:
        yield "the server's certificate is not verified"
    if options.ssl_server_name is not None:
        yield f"server name {shown.plain(options.ssl_server_name)}"
    if options.client_certificate is not None:
        yield "with a client certificate"
    if options.ca_certificates is not None:
        yield "verified against certificates of its own"
    if options.proxy is not None:
        for name, url in (("http", options.proxy.http_proxy), ("https", options.proxy.https_proxy)):
            if url:
                yield f"{name} by the proxy {shown.plain(shown_url(url))}"
    if options.max_redirects:
        yield f"up to {options.max_redirects} redirects"
    if request.destination is not None and request.destination.allow_hosts:
        yield f"only to {', '.join(request.destination.allow_hosts)}"
    if request.destination is not None and request.destination.deny_networks:
        yield f"never to {', '.join(request.destination.deny_networks)}"
    if request.hedge_after_ms is not None:
        yield f"a second attempt after {seconds(request.hedge_after_ms)}"
