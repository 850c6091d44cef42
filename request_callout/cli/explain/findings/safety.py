"""Secrets that stand in the file or leave the gateway, and connections that can't be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from request_callout.cli.explain import client
from request_callout.cli.explain.findings.finding import Finding, path_of
from request_callout.cli.explain.shown import without_expressions
from request_callout.cli.explain.subject import Subject, named_values
from request_callout.config.normal import is_reference
from request_callout.config.template import parse
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.destinations import fixed_authority
from request_callout.engine.secret_names import WORDS, is_secret

_VAULT = "put it into a vault and write {vault://NAME/KEY}"
_LOOPBACK = re.compile(r"localhost|127\..*|::1|\[::1\]")
_IN_SCRIPT = re.compile(rf"""\w*(?:{WORDS}|auth(?!or))[\w"'\]]*\s*=\s*("[^"\n]{{4,}}"|'[^'\n]{{4,}}')""", re.IGNORECASE)
_NOT_A_KEY = re.compile(r"cache_key|grant_type", re.IGNORECASE)
_FORWARDED_SECRETS = ("Authorization", "Cookie")
_PATH_OF_EXPRESSION = re.compile(r"\s*(headers|query_params|uri_captures)\b[\w.\[\]\"'-]*(\s+or\s+[\w\"']+)?\s*")


def findings(subject: Subject) -> Iterator[Finding]:
    """Everything about secrets and trust."""
    yield from _plain_values(subject)
    for callout in subject.callouts:
        yield from _plain_fields(callout, subject)
        yield from _connection(callout)
        yield from _forwarded(callout)
        yield from _chosen_host(callout)
        yield from _unescaped(callout)
    yield from _scripts(subject)
    yield from _redis(subject)


def _plain(where: str, what: str) -> Finding:
    return Finding("warning", "plain-secret", where, f"{what} stands in the file", _VAULT)


def _plain_values(subject: Subject) -> Iterator[Finding]:
    for where, name, value in named_values(subject.config):
        if is_secret(name) and subject.stands_in_file(value):
            yield _plain(where, f"the value of {name}")


def _plain_fields(callout: CompiledCallout, subject: Subject) -> Iterator[Finding]:
    request = callout.config.request
    proxy, auth = request.http_opts.proxy, request.auth
    fields = [("request.http_opts.client_key", "the key", request.http_opts.client_key)]
    if proxy is not None:
        fields.append(("request.http_opts.proxy.auth_password", "the proxy's password", proxy.auth_password))
        for name, url in (("http_proxy", proxy.http_proxy), ("https_proxy", proxy.https_proxy)):
            fields.append((f"request.http_opts.proxy.{name}", "the proxy's password", _password(url)))
    if auth is not None:
        names = ("password", "token", "client_secret")
        fields += [(f"request.auth.{name}", f"the {name.replace('_', ' ')}", getattr(auth, name)) for name in names]
    fields.append(("request.url", "a password", _password(request.url)))
    for field, what, value in fields:
        if value and subject.stands_in_file(value):
            yield _plain(path_of(callout, field), what)
    if not is_reference(request.url):
        _, _, query = without_expressions(request.url).partition("?")
        for name, _, value in (piece.partition("=") for piece in query.split("&")):
            if value.strip("\0") and is_secret(name):
                yield _plain(path_of(callout, "request.url"), f"the value of the query's {name}")


def _password(url: str | None) -> str | None:
    """The constant password of a URL's user info."""
    if url is None or is_reference(url):
        return None
    authority = re.split(r"[/?#]", without_expressions(url).partition("://")[2], maxsplit=1)[0]
    user_info, at, _ = authority.rpartition("@")
    return user_info.partition(":")[2].strip("\0") if at else None


def _scripts(subject: Subject) -> Iterator[Finding]:
    scripts = [script for one in subject.callouts for script in (one.request_script, one.response_script)]
    for script in (*scripts, subject.upstream.script):
        if script is not None and any(not _NOT_A_KEY.search(found[0]) for found in _IN_SCRIPT.finditer(script.source)):
            yield Finding(
                "warning",
                "plain-secret",
                script.where,
                "a secret stands in the script",
                "set it in a field that takes {vault://…}, such as body.custom, or read it with kong.vault.get",
            )


def _connection(callout: CompiledCallout) -> Iterator[Finding]:
    request = callout.config.request
    if not request.http_opts.ssl_verify and not request.url.startswith("http://"):
        yield Finding(
            "warning",
            "tls-not-verified",
            path_of(callout, "request.http_opts.ssl_verify"),
            "anybody on the way can answer in the service's place and read what is sent",
            "verify it: name its authority in http_opts.ca_certificates or --ca-file",
        )
    if _in_clear(request.url) and _credentials(callout):
        yield Finding(
            "warning",
            "credentials-over-http",
            path_of(callout, "request.url"),
            "credentials go over the network unencrypted",
            "use https://",
        )
    if request.auth is not None and _in_clear(request.auth.token_url or ""):
        yield Finding(
            "warning",
            "credentials-over-http",
            path_of(callout, "request.auth.token_url"),
            "client id and secret go over the network unencrypted",
            "use https://",
        )


def _in_clear(url: str) -> bool:
    """Whether a URL leads to another machine without TLS."""
    if not url.lower().startswith("http://"):
        return False
    host = re.split(r"[/?#]", url[len("http://") :], maxsplit=1)[0].rpartition("@")[2]
    return (
        _LOOPBACK.fullmatch(host if host.startswith("[") and host.endswith("]") else host.rpartition(":")[0] or host)
        is None
    )


def _credentials(callout: CompiledCallout) -> bool:
    parts = (callout.query, callout.headers, callout.body)
    names = [name for part in parts for name, text in part.custom if text is not None]
    return callout.auth is not None or any(map(is_secret, names)) or _password(callout.config.request.url) is not None


def _forwarded(callout: CompiledCallout) -> Iterator[Finding]:
    if not callout.headers.forward:
        return
    sent = [name for name in _FORWARDED_SECRETS if not callout.headers.removes(name.lower())]
    own = {name.lower() for name, _ in callout.headers.custom}
    sent = [name for name in sent if name.lower() not in own]
    if sent:
        verb = "go" if len(sent) > 1 else "goes"
        yield Finding(
            "warning",
            "forwards-credentials",
            path_of(callout, "request.headers.forward"),
            f"the client's {' and '.join(sent)} {verb} to {_host(callout.config.request.url)} too",
            f"if that is not meant: headers.remove: [{', '.join(sent)}], or take single headers with expressions",
        )


def _host(url: str) -> str:
    authority = fixed_authority(url)
    return "the service" if authority is None else urlsplit(authority).netloc.rpartition("@")[2] or "the service"


def _chosen_host(callout: CompiledCallout) -> Iterator[Finding]:
    destination = callout.config.request.destination
    url = callout.config.request.url
    if is_reference(url) or fixed_authority(url) is not None or (destination is not None and destination.allow_hosts):
        return
    reads = client.of_text(callout.url)
    if reads:
        yield Finding(
            "warning",
            "client-chooses-host",
            path_of(callout, "request.url"),
            f"the client chooses with {reads[0]} which host is called, in your network too",
            "list the hosts in destination.allow_hosts",
        )


def _unescaped(callout: CompiledCallout) -> Iterator[Finding]:
    url = callout.config.request.url
    if is_reference(url) or fixed_authority(url) is None:
        return
    for expression in parse(url).expressions:
        if _PATH_OF_EXPRESSION.fullmatch(expression.source):
            source = expression.source.strip()
            yield Finding(
                "advice",
                "unescaped-in-url",
                path_of(callout, "request.url"),
                f"a client can put ../ or ?name=value into the URL with {source}",
                f"write $(ngx.escape_uri({source}))",
            )


def _redis(subject: Subject) -> Iterator[Finding]:
    cache = subject.config.cache
    if cache.strategy != "redis":
        return
    redis = cache.redis
    cloud = redis.cloud_authentication
    fields = [
        (f"password of {kind}", name, getattr(redis, name))
        for kind, name in (("Redis", "password"), ("the sentinels", "sentinel_password"))
    ]
    secrets = ("aws_secret_access_key", "azure_client_secret", "gcp_service_account_json")
    fields += [(name.replace("_", " "), f"cloud_authentication.{name}", getattr(cloud, name)) for name in secrets]
    for what, name, value in fields:
        if value and subject.stands_in_file(value):
            yield _plain(f"config.cache.redis.{name}", f"the {what}")
    if redis.ssl and not redis.ssl_verify:
        yield Finding(
            "warning",
            "tls-not-verified",
            "config.cache.redis.ssl_verify",
            "anybody on the way can read and change what is cached",
            "verify it: name its authority in --ca-file",
        )
    if redis.password and not redis.ssl and _LOOPBACK.fullmatch(redis.host) is None:
        yield Finding(
            "warning",
            "credentials-over-http",
            "config.cache.redis.ssl",
            "the password of Redis and what is cached go over the network unencrypted",
            "ssl: true",
        )
