"""Callees and scripts that quote back what they got, and configurations that call them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from tests.conformance.callee import Received, Reply, reply_json
from tests.secrets.planted import PARAMS, Planted, Services
from tests.servers.redis_server import HOST

TOO_LARGE_BYTES = 100_000
REDIS_USER = "callouts"


def jwt(planted: Planted) -> str:
    """A token of three parts, as token servers give them."""
    parts = (b'{"alg":"none"}', json.dumps({"sub": planted("JWT: subject")}).encode(), b"signature")
    return planted.keep("JWT", ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts))


def quote_back(to: Services, planted: Planted) -> None:
    """Let the callee answer with what it got, in every form."""

    def told(request: Received) -> dict[str, Any]:
        return {
            "note": f"{request.method}: " + "; ".join(f"{name} was {value}" for name, value in request.headers),
            "got": dict(request.headers),
            "received": request.body.decode(),
            "words": [value for _, value in (*request.parameters, *parse_qsl(request.body.decode()))],
            "more": list(request.json.values()) if request.body[:1] == b"{" else [],
        }

    def page(request: Received, status: int = 403) -> Reply:
        said = "".join(f"<li>{name} {value}</li>" for name, value in request.headers)
        body = f"<h1>Forbidden</h1><ul>{said}</ul><pre>{request.body.decode()}</pre>"
        return Reply(status, body.encode(), (("Content-Type", "text/html"), ("X-Said", f"no {request.headers}")))

    location = f"{to.plain.url}/loop?access_token={planted('redirect: query')}"
    session = ("Set-Cookie", f"sid={planted('callee: cookie')}; Path=/")
    text = f"your session is {planted('callee: cookie')}"
    to.plain.on("/quote", lambda request: reply_json(told(request), headers=(session, ("X-Note", text))))
    to.plain.on("/page", page)
    to.plain.on("/loop", Reply(302, text.encode(), (("Location", location), session)))
    to.plain.on("/large", Reply(200, planted("response's body").encode() * TOO_LARGE_BYTES))
    to.plain.on("/jwt", reply_json({"access_token": jwt(planted), "token_type": "Bearer", "expires_in": 3600}))
    to.plain.on(
        "/quoting-token",
        lambda request: reply_json(
            {"error": "invalid_client", "error_description": f"{request.headers} {request.body!r}"}, 401
        ),
    )
    to.plain.on("/login", reply_json({"access_token": planted("answer: access_token"), "note": "signed in"}))
    to.plain.on("/page-200", lambda request: page(request, 200))
    fresh = ("Cache-Control", "max-age=60")
    to.plain.on("/cached", lambda request: reply_json(told(request), headers=(session, fresh)))
    # As a forward proxy.
    to.plain.on("http://proxied.example/", lambda request: reply_json(told(request)))
    challenge = ("Proxy-Authenticate", 'Basic realm="planted"')
    to.plain.on("http://asks.example/", lambda request: Reply(407, str(request.headers).encode(), (challenge,)))


def quoting(planted: Planted, to: Services, redis_port: int) -> dict[str, Mapping[str, Any]]:
    """Configurations by what they plant and how it may come out again; what comes from a vault is in ``$refs``."""
    plain, dead = to.plain.url, "http://127.0.0.1:1"
    go_on = {"on_error": "continue"}

    def a(url: str, **request: Any) -> dict[str, Any]:
        return {"name": "a", "request": {"url": url, **request}}

    def sent(path: str, **more: Any) -> dict[str, Any]:
        """A request with secrets in all that has a secret's name, that a callee may quote."""
        return a(
            plain + path,
            method="POST",
            headers={"forward": True, "custom": {"X-Api-Key": planted("quoted: X-Api-Key")}},
            query={"forward": True, "custom": {"token": planted("quoted: token")}},
            body={"forward": True, "decode": True, "custom": {"client_secret": planted("quoted: client_secret")}},
            **more,
        )

    def script(text: str) -> dict[str, Any]:
        return {"callouts": [a(f"{plain}/quote", by_lua=text)]}

    def upstream(text: str) -> dict[str, Any]:
        return {"callouts": [], "upstream": {"headers": {"custom": {"X-Value": text}}}}

    def oauth(path: str, **more: Any) -> dict[str, Any]:
        return {
            "type": "oauth2_client_credentials",
            "client_id": "planter",
            "client_secret": planted("vault: client_secret"),
            "$refs": {"client_secret": "{vault://env/planted-client-secret}"},
            "token_url": plain + path,
            **more,
        }

    def proxied(url: str) -> dict[str, Any]:
        proxy = {
            "http_proxy": plain,
            "auth_username": planted("proxy: user"),
            "auth_password": planted("vault: proxy password"),
            "$refs": {"auth_password": "{vault://env/planted-proxy-password}"},
        }
        return {"callouts": [a(url, http_opts={"proxy": proxy})]}

    def redis(**more: Any) -> dict[str, Any]:
        given = {"host": HOST, "port": redis_port, "username": REDIS_USER, **more}
        return {
            "callouts": [a(f"{plain}/cached", headers={"forward": True})],
            "cache": {"strategy": "redis", "redis": given},
        }

    basic = {
        "type": "basic",
        "username": planted("basic: user"),
        "password": planted("vault: basic password"),
        "$refs": {"password": "{vault://env/planted-basic-password}"},
    }
    bearer = {
        "type": "bearer",
        "token": planted("vault: bearer"),
        "$refs": {"token": "{vault://env/planted-bearer}"},
    }
    anywhere = {
        "custom": {
            "X-Plain": planted("vault: any header"),
            "$refs": {"X-Plain": "{vault://env/planted-any-header}"},
        },
        "forward": True,
    }
    header = "kong.request.get_header('authorization')"
    return {
        "quoted": {"callouts": [sent("/quote", error={"http_statuses": [200]})]},
        "quoted, decoded": {"callouts": [{**sent("/quote"), "response": {"body": {"decode": True}}}]},
        "a page that quotes": {"callouts": [sent("/page", error={"http_statuses": [403]})]},
        "a page that quotes is no JSON": {"callouts": [{**sent("/page-200"), "response": {"body": {"decode": True}}}]},
        "vault quoted": {"callouts": [a(f"{plain}/quote", headers=anywhere, error={"http_statuses": [200]})]},
        "redirects": {"callouts": [sent("/loop", http_opts={"max_redirects": 2})]},
        "redirect not followed": {"callouts": [sent("/loop", error={"http_statuses": [302]})]},
        "too large": {"callouts": [sent("/large", http_opts={"max_response_bytes": 1000})]},
        "deadline": {"callouts": [sent("/slow")], "deadline_ms": 150},
        "script quotes a header": script(f"error('it was ' .. {header})"),
        "script quotes a cookie": script("error(kong.request.get_header('cookie'))"),
        "script quotes its own header": script(f"error({PARAMS}.headers['X-Api-Key'] or {header}:sub(8))"),
        "script quotes the body": script("error(kong.request.get_raw_body())"),
        "script quotes the query": script("error(kong.request.get_raw_query())"),
        "script throws a table": script(f"error({{message = {header}}})"),
        "upstream's script": {"callouts": [], "upstream": {"by_lua": f"error({header})"}},
        "response's script": {
            "callouts": [
                {
                    **sent("/login"),
                    "response": {
                        "body": {"decode": True},
                        "by_lua": "error(kong.ctx.shared.callouts.a.response.body.access_token)",
                    },
                }
            ]
        },
        "expression quotes a header": upstream("$(error(headers.authorization))"),
        "expression calls a header": upstream("$(headers.authorization())"),
        "expression counts with a header": upstream("$(headers.x_api_key + 1)"),
        "expression quotes a query": upstream("$(error(query_params.key))"),
        "scheme from a header": {"callouts": [], "upstream": {"target": {"scheme": "$(headers.authorization)"}}},
        "target from a header": {"callouts": [], "upstream": {"target": {"host": "$(headers.authorization)"}}},
        "port from a header": {
            "callouts": [],
            "upstream": {"target": {"host": "127.0.0.1", "port": "$(headers.x_api_key)"}},
        },
        "path from a header": {"callouts": [], "upstream": {"target": {"path": "$(headers.authorization)"}}},
        "elements from a header": {
            "callouts": [{**a(plain), "for_each": {"items": "$(headers.authorization)"}}],
        },
        "an element's script": {
            "callouts": [
                {
                    **sent("/login"),
                    "for_each": {"items": "$({1, 2})"},
                    "response": {
                        "body": {"decode": True},
                        "by_lua": "error(kong.ctx.shared.callouts.a.response.body.access_token)",
                    },
                }
            ],
        },
        "time to live from a header": {
            "callouts": [{**a(f"{plain}/quote"), "cache": {"ttl": "$(headers.authorization)"}}],
            "cache": {"strategy": "memory"},
        },
        "method from a header": script(f"{PARAMS}.method = {header}"),
        "URL from a header": script(f"{PARAMS}.url = {header}"),
        "timeouts from a header": script(f"{PARAMS}.timeouts = {{read = {header}}}"),
        "a call that is refused": script(f"kong.service.set_target({header}, 99999999)"),
        "an exit with a header": script(f"kong.response.exit({header})"),
        "an error of an error": {
            "callouts": [
                a(dead, error={"on_error": "fail", "error_response_msg": "$(error(headers.authorization))"}),
            ]
        },
        "when": {"callouts": [{**a(plain), "when": "$(error(headers.cookie))"}]},
        "host from a cookie": {"callouts": [a("http://$(headers.cookie)/")]},
        "a number from a header": {"callouts": [a("http://127.0.0.1:$(headers.x_api_key)/")]},
        "a header that can't be sent": {
            "callouts": [a(plain, headers={"custom": {"X-Bad": "$(headers.authorization .. string.char(10))"}})]
        },
        "answer's token": {
            "callouts": [
                {**sent("/login"), "response": {"body": {"decode": True}}},
                {
                    "name": "b",
                    "request": {
                        "url": f"{plain}/quote",
                        "headers": {
                            "custom": {"Authorization": "Bearer $(callouts.a.response.body.access_token)"},
                        },
                        "error": go_on,
                    },
                },
            ],
            "upstream": {"headers": {"custom": {"Authorization": "Bearer $(callouts.a.response.body.access_token)"}}},
        },
        "cache key": {
            "callouts": [
                a(f"{plain}/cached", by_lua=f"kong.ctx.shared.callouts.a.caching.cache_key = {header}"),
            ],
            "cache": {"strategy": "memory"},
        },
        "cache": {"callouts": [a(f"{plain}/cached", headers={"forward": True})], "cache": {"strategy": "memory"}},
        "basic": {"callouts": [a(f"{plain}/quote", auth=basic, error={"http_statuses": [200]})]},
        "basic, refused": {"callouts": [a(dead, auth=basic)]},
        "bearer": {"callouts": [a(f"{plain}/page", auth=bearer, error={"http_statuses": [403]})]},
        "an opaque token": {"callouts": [a(f"{plain}/quote", auth=oauth("/token"))]},
        "an opaque token, failed": {"callouts": [a(f"{plain}/page", auth=oauth("/token"), error=go_on)]},
        "a JWT": {"callouts": [a(f"{plain}/quote", auth=oauth("/jwt"), error={"http_statuses": [200]})]},
        "token server quotes": {"callouts": [a(plain, auth=oauth("/quoting-token"))]},
        "token server quotes the body": {
            "callouts": [a(plain, auth=oauth("/quoting-token", credentials_in="body"))],
        },
        "token server's page": {"callouts": [a(plain, auth=oauth("/page-200"))]},
        "proxy": proxied("http://proxied.example/"),
        "proxy asks": proxied("http://asks.example/"),
        "redis": redis(
            password=planted("vault: redis password"),
            **{"$refs": {"password": "{vault://env/planted-redis-password}"}},
        ),
        "redis, wrong password": redis(password=planted("redis: wrong password")),
        "redis, wrong user": {
            **redis(),
            "cache": {
                "strategy": "redis",
                "redis": {
                    "host": HOST,
                    "port": redis_port,
                    "username": planted("redis: wrong user"),
                    "password": planted("redis: wrong password"),
                },
            },
        },
    }
