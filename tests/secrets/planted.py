"""Secrets planted wherever a request or a configuration can have one, callees that fail in every way, and what leaves.

What watches a server (its log, its metrics, and whatever else tells of requests) must show none of them. To check
one more output, add its text to ``Outputs.texts`` and let ``Planted.seen_in`` look through it.
"""

from __future__ import annotations

import base64
import secrets
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import trustme

from request_callout.pdk.protobuf import RawBody
from tests.conformance.callee import PATIENCE_S, Callee, Reply
from tests.unit.server.kong_side import Called
from tests.unit.server.processes import connect

PARAMS = "kong.ctx.shared.callouts.a.request.params"


class Planted:
    """Random texts by the place that each was planted at."""

    def __init__(self) -> None:
        self._by_place: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        """The secret of a place, the same each time."""
        return self._by_place.setdefault(place, f"planted{secrets.token_hex(8)}")

    def keep(self, place: str, text: str) -> str:
        """Take a text that was made elsewhere for a secret."""
        return self._by_place.setdefault(place, text)

    def seen_in(self, text: str) -> list[str]:
        """The places whose secrets are in a text, as they are, in a URL's form, or within Base64."""
        lines = text.replace("\\n", "\n")
        return [place for place, secret in self._by_place.items() if any(form in lines for form in _forms(secret))]


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    # Wherever it begins within a group of three bytes: what is left are the characters that depend on it alone.
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
        yield encoded[(shift * 4 + 2) // 3 : -1]


class Services:
    """Callees that fail, each in its way; what they answer holds secrets too."""

    def __init__(self, planted: Planted) -> None:
        self._over = threading.Event()
        authority = trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        identity = authority.issue_cert("client.example")
        self.certificate = identity.cert_chain_pems[0].bytes().decode()
        self.key = planted.keep("client key", identity.private_key_pem.bytes().decode())
        planted.keep("a line of the client key", self.key.splitlines()[1])
        self.authority = authority.cert_pem.bytes().decode()
        planted.keep("a line of the client certificate", self.certificate.splitlines()[1])
        planted.keep("a line of the CA certificates", self.authority.splitlines()[1])
        told = (("Set-Cookie", planted("response's cookie")), ("X-Token", planted("response's header")))
        body = planted("response's body").encode()
        self.plain = Callee(Reply(200, b"{}"))
        self.plain.on("/500", Reply(500, body, told))
        self.plain.on("/no-json", Reply(200, b"{" + body, told))
        self.plain.on("/drop", Reply(drop=True))
        self.plain.on("/broken", Reply(raw=b"HTTP/9 " + body + b"\r\n\r\n"))
        self.plain.on("/slow", Reply(hold=lambda: self._over.wait(PATIENCE_S)))
        self.plain.on("/401", Reply(401, planted("token").encode()))
        self.plain.on("/token", _token(planted("token")))
        echo = b'{"error": "%s"}' % planted("client_secret").encode()
        self.plain.on("/no-token", Reply(400, echo, (("Content-Type", "application/json"),)))
        self.tls = Callee(Reply(200, b"{}"), context)
        self.mutual = _mutual(authority)

    def close(self) -> None:
        """End them."""
        self._over.set()
        for callee in (self.plain, self.tls, self.mutual):
            callee.close()


def _token(token: str) -> Reply:
    body = f'{{"access_token": "{token}", "token_type": "Bearer", "expires_in": 3600}}'
    return Reply(200, body.encode(), (("Content-Type", "application/json"),))


def _mutual(authority: trustme.CA) -> Callee:
    """A server that takes certificates of another authority only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trustme.CA().configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return Callee(Reply(200, b"{}"), context)


@contextmanager
def services(planted: Planted) -> Iterator[Services]:
    """The callees while the block runs."""
    made = Services(planted)
    try:
        yield made
    finally:
        made.close()


def client(planted: Planted) -> Mapping[str, Any]:
    """What Kong says of the client's request, by method."""
    return {
        "kong.request.get_headers": {
            "host": "gateway.test",
            "authorization": f"Bearer {planted('client: Authorization')}",
            "cookie": f"session={planted('client: Cookie')}",
            "x-api-key": planted("client: X-Api-Key"),
        },
        "kong.request.get_header": f"Bearer {planted('client: Authorization')}",
        "kong.request.get_raw_query": f"key={planted('client: query')}",
        "kong.request.get_raw_body": RawBody(b'{"password": "%s"}' % planted("client: body").encode()),
        "kong.router.get_route": {"id": "route-1", "name": "route-name"},
        "kong.nginx.get_var": "request-id-1",
    }


def configurations(planted: Planted, to: Services, redis_port: int) -> dict[str, Mapping[str, Any]]:
    """Plugin configurations by the way in which their callouts fail; all of them hold secrets wherever they can."""
    plain, dead = to.plain.url, "http://127.0.0.1:1"
    vault = planted("vault: header")

    def request(url: str, **more: Any) -> dict[str, Any]:
        scheme, _, rest = url.partition("://")
        place = f"{scheme}://user:{planted('URL: password')}@{rest}?a={planted('URL: query')}"
        return {
            "url": place,
            "method": "POST",
            "headers": {
                "forward": True,
                "custom": {
                    "Authorization": f"Bearer {planted('config: Authorization')}",
                    "X-Key": vault,
                    "$refs": {"X-Key": "{vault://env/key}"},
                },
            },
            "query": {"forward": True, "custom": {"b": planted("config: query")}},
            "body": {"forward": True, "decode": True, "custom": {"c": planted("config: body")}},
            **more,
        }

    def plugin(*requests: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return {"callouts": [{"name": "abc"[at], "request": one} for at, one in enumerate(requests)], **more}

    oauth = {"type": "oauth2_client_credentials", "client_id": "id", "client_secret": planted("client_secret")}
    proxy = {"http_proxy": dead, "auth_username": planted("proxy: user"), "auth_password": planted("proxy: password")}
    timeouts = {"connect": 1000, "write": 1000, "read": 200}
    retried = {"on_error": "retry", "retries": 1, "http_statuses": [500]}
    continued = {"on_error": "continue"}
    certificate = {"client_certificate": to.certificate, "client_key": to.key, "ca_certificates": to.authority}
    token = {**oauth, "token_url": f"{plain}/token"}
    return {
        "refused": plugin(request(dead)),
        "continued": plugin(request(dead, error=continued)),
        "breaker": plugin(request(dead, circuit_breaker={"failures": 1})),
        "unknown host": plugin(request("http://nosuch.invalid/")),
        "timeout": plugin(request(f"{plain}/slow", http_opts={"timeouts": timeouts})),
        "500": plugin(request(f"{plain}/500", error=retried)),
        "invalid JSON": {
            "callouts": [
                {"name": "a", "request": request(f"{plain}/no-json"), "response": {"body": {"decode": True}}},
            ]
        },
        "closed": plugin(request(f"{plain}/drop")),
        "no HTTP": plugin(request(f"{plain}/broken")),
        "TLS on a plain port": plugin(request(plain.replace("http:", "https:"))),
        "unknown authority": plugin(request(to.tls.url)),
        "client certificate refused": plugin(request(to.mutual.url, http_opts=certificate)),
        "script": plugin(request(dead, by_lua=f"error('it is ' .. {PARAMS}.headers['X-Key'])")),
        "expression": plugin(request(dead), upstream={"headers": {"custom": {"X": f"$(error('{vault}'))"}}}),
        "host from a header": plugin(request("http://$(headers.x_api_key .. '@')/")),
        "vault as URL": plugin(
            {"url": f"{dead}/{planted('vault: URL')}/x", "$refs": {"url": "{vault://env/url}"}, "error": continued}
        ),
        "proxy": plugin(request("http://h.example/", http_opts={"proxy": proxy})),
        "proxy's password quoted": plugin(
            request(dead, http_opts={"proxy": proxy}, by_lua=f"error({PARAMS}.proxy.auth_password)")
        ),
        "token refused": plugin({"url": plain, "auth": {**oauth, "token_url": f"{plain}/no-token"}}),
        "no token server": plugin({"url": plain, "auth": {**oauth, "token_url": f"{dead}/token"}}),
        "token": plugin({"url": f"{plain}/401", "auth": token, "error": {"http_statuses": [401]}}),
        "redis": {
            **plugin(request(plain), request(dead)),
            "cache": {
                "strategy": "redis",
                "redis": {"host": "127.0.0.1", "port": redis_port, "password": planted("redis: password")},
            },
        },
        "misconfigured": plugin({**request(dead), "nonsense": planted("config: unknown")}),
        "answer": plugin(request(f"{plain}/500"), upstream={"by_lua": "error(kong.ctx.shared.callouts)"}),
    }


class Outputs:
    """What left the plugin about requests: Kong's log record and answers to clients, and what else is put in."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.events = 0

    def take(self, calls: Iterable[Called]) -> None:
        """Take what one event told Kong, but for what the upstream and other plugins are to have."""
        self.events += 1
        for name, args in calls:
            if name.startswith("kong.log."):
                self.texts["Kong's log record"] = self.texts.get("Kong's log record", "") + f"{args}\n"
            elif name == "kong.response.exit":
                self.texts["answers"] = self.texts.get("answers", "") + f"{args}\n"


def events(path: str, planted: Planted, configs: Mapping[str, Mapping[str, Any]]) -> Outputs:
    """Let each configuration handle a request of the client's, twice, on the server at ``path``."""
    outputs = Outputs()
    for name, config in configs.items():
        for _ in range(2):
            kong = connect(path)
            outputs.take(kong.event(kong.start({"__plugin_id": f"plugin {name}", **config}), client(planted)))
            kong.sock.close()
    return outputs
