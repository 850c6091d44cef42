from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme

from request_callout.config import load
from tests.unit.config.test_load import KONG, callout
from tests.unit.config.test_problems import C, R, check, problems

U = "config.upstream"
AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
LEAF = AUTHORITY.issue_cert("client.example", key_type=trustme.KeyType.RSA)
CERTIFICATE = LEAF.cert_chain_pems[0].bytes().decode()
KEY = LEAF.private_key_pem.bytes().decode()
CA = AUTHORITY.cert_pem.bytes().decode()


def called(**fields: Any) -> dict[str, Any]:
    """One callout with these fields beside its request."""
    return {"callouts": [{**callout()["callouts"][0], **fields}]}


def upstream(**fields: Any) -> dict[str, Any]:
    """A configuration with these fields of its upstream."""
    return {"callouts": [], "upstream": fields}


def responding(body: str) -> dict[str, Any]:
    """A configuration that answers the client with this body."""
    return upstream(respond={"body": body})


def authorised(**fields: Any) -> dict[str, Any]:
    """One callout with credentials."""
    return callout(auth=fields)


def oauth2(**fields: Any) -> dict[str, Any]:
    """One callout with credentials of OAuth 2.0, and these fields."""
    needed = {"token_url": "https://id/token", "client_id": "c", "client_secret": "s"}
    return authorised(type="oauth2_client_credentials", **{**needed, **fields})


def certified(**fields: Any) -> dict[str, Any]:
    """One callout with certificates."""
    return callout(http_opts=fields)


def failing(**fields: Any) -> dict[str, Any]:
    """One callout that goes on after errors."""
    return callout(error={"on_error": "continue", **fields})


SOLE = "must be exactly one expression; write $(...) around all of it"
ELEMENT = "is known only in the request and response of a callout with for_each"
CASES: list[tuple[dict[str, Any], str, str]] = [
    # conditions and lists
    (called(when="true"), f"{C}.when", SOLE),
    (called(when="not $(headers.x)"), f"{C}.when", SOLE),
    (called(when="$(headers.x) $(headers.y)"), f"{C}.when", SOLE),
    (called(when="$(headers.x)\n"), f"{C}.when", "in YAML use |- or >- in place of | or >"),
    (called(when="#$(1)"), f"{C}.when", 'must not begin with #; write $("#")'),
    (called(when="$(1"), f"{C}.when", "close it"),
    (called(when="$( )"), f"{C}.when", "the expression $() is empty"),
    (called(when=True), f"{C}.when", "write an expression, such as"),
    (called(when=""), f"{C}.when", "must not be empty"),
    (called(for_each={}), f"{C}.for_each.items", "add it, such as"),
    (called(for_each={"items": "callouts.a.response.body"}), f"{C}.for_each.items", SOLE),
    (called(for_each={"items": ["a"]}), f"{C}.for_each.items", "not a list; write it as text, such as"),
    (called(for_each={"items": "$(1)", "max_items": 0}), f"{C}.for_each.max_items", "between 1 and 10000"),
    (called(for_each={"items": "$(1)", "concurrency": 101}), f"{C}.for_each.concurrency", "between 1 and 100"),
    (called(for_each={"items": "$(item.list)"}), f"{C}.for_each.items", f"item {ELEMENT}"),
    (called(for_each={"items": "$(1)"}, when="$(index == 1)"), f"{C}.when", f"index {ELEMENT}"),
    (callout(url="http://h/$(item.id)"), f"{R}.url", f"item {ELEMENT}"),
    (callout(query={"custom": {"n": '$("a"..index)'}}), f"{R}.query.custom.n", f"index {ELEMENT}"),
    (upstream(headers={"custom": {"X": "$(item)"}}), f"{U}.headers.custom.X", f"item {ELEMENT}"),
    # errors
    (failing(when="$(1) "), f"{R}.error.when", "remove the blanks"),
    (failing(when="callouts.a.response"), f"{R}.error.when", SOLE),
    (failing(backoff={"initial_ms": 0}), f"{R}.error.backoff.initial_ms", "between 1 and 60000"),
    (failing(backoff={"factor": 0.5}), f"{R}.error.backoff.factor", "between 1 and 100"),
    (failing(backoff={"max_sm": 5}), f"{R}.error.backoff.max_sm", "did you mean max_ms?"),
    (failing(retry_after="yes"), f"{R}.error.retry_after", "expected true or false"),
    (failing(retry_methods=[]), f"{R}.error.retry_methods", "name at least one or leave it out"),
    (failing(retry_methods=["GET", "GET IT"]), f"{R}.error.retry_methods[2]", "is no HTTP method"),
    (failing(fallback={"status": 600}), f"{R}.error.fallback.status", "between 200 and 599"),
    (failing(fallback={"headers": {"X Y": "a"}}), f"{R}.error.fallback.headers.X Y", "is no header name"),
    (failing(fallback={"headers": {"X": "#"}}), f"{R}.error.fallback.headers.X", 'write $("#")'),
    (failing(fallback={"headers": {"X": "a\nb"}}), f"{R}.error.fallback.headers.X", "line breaks; remove them"),
    (failing(fallback={"headers": {"X": None}}), f"{R}.error.fallback.headers.X", "expected a string, not null"),
    (failing(fallback={"body": "$(a"}), f"{R}.error.fallback.body", "close it"),
    (callout(error={"fallback": {}}), f"{R}.error.on_error", "has to be continue beside fallback; add it"),
    (
        callout(error={"fallback": {}, "on_error": "retry"}),
        f"{R}.error.on_error",
        "has to be continue beside fallback; set it to that",
    ),
    # budgets
    (
        callout(http_opts={"timeouts": {"total": 5, "read": 5}}),
        f"{R}.http_opts.timeouts",
        "read can't stand without connect and write",
    ),
    (callout(http_opts={"timeouts": {"total": 0}}), f"{R}.http_opts.timeouts.total", "between 1 and 2147483646"),
    ({"callouts": [], "deadline_ms": 55001}, "config.deadline_ms", "between 1 and 55000"),
    ({"callouts": [], "deadline_ms": "5s"}, "config.deadline_ms", "expected a whole number"),
    # circuit breaker and hedging
    (callout(circuit_breaker={}), f"{R}.circuit_breaker", "add one of them, such as failures: 5"),
    (
        callout(circuit_breaker={"failure_rate": 0.5}),
        f"{R}.circuit_breaker.failure_rate",
        "between 1 and 100",
    ),
    (callout(hedge_after_ms=0), f"{R}.hedge_after_ms", "between 1 and 55000"),
    (
        callout(method="post", hedge_after_ms=5),
        f"{R}.hedge_after_ms",
        "a second POST could do its work twice; remove this, or use an idempotent method: GET, HEAD",
    ),
    # credentials
    (authorised(), f"{R}.auth.type", "add it"),
    (authorised(type="digest"), f"{R}.auth.type", "expected one of: basic, bearer, oauth2_client_credentials"),
    (authorised(type="basic", username="u"), f"{R}.auth.password", "add it"),
    (authorised(type="basic", password="p"), f"{R}.auth.username", "add it"),
    (authorised(type="bearer", username="u"), f"{R}.auth.token", "add it"),
    (oauth2(token_url=None), f"{R}.auth.token_url", "add it"),
    (oauth2(client_id=None), f"{R}.auth.client_id", "add it"),
    (oauth2(client_secret=None), f"{R}.auth.client_secret", "add it"),
    (oauth2(token_url="id.example.com/token"), f"{R}.auth.token_url", "is no valid URL"),
    (oauth2(token_url="https://$(headers.host)/token"), f"{R}.auth.token_url", "takes no expressions"),
    (oauth2(scopes="read"), f"{R}.auth.scopes", "expected a list, not a string; put it in [ ]"),
    (oauth2(scopes=["read", "$(headers.scope)"]), f"{R}.auth.scopes[2]", "takes no expressions"),
    (oauth2(extra_parameters={"a": "$(1)"}), f"{R}.auth.extra_parameters.a", "takes no expressions"),
    (oauth2(credentials_in="query"), f"{R}.auth.credentials_in", "expected one of: body, header"),
    (authorised(type="bearer", token="a\n$(1)"), f"{R}.auth.token", "line breaks; remove them"),
    (authorised(type="bearer", token="#a"), f"{R}.auth.token", 'write $("#")'),
    (authorised(type="basic", username="a:$(1)", password="p"), f"{R}.auth.username", "must not hold a colon"),
    (authorised(type="basic", username="a", password="$(p"), f"{R}.auth.password", "close it"),
    # certificates
    (certified(client_key=KEY), f"{R}.http_opts", "client_key can't stand without client_certificate"),
    (certified(client_certificate=CERTIFICATE), f"{R}.http_opts", "can't stand without client_key"),
    (certified(client_certificate=KEY, client_key=KEY), f"{R}.http_opts.client_certificate", "it has to hold"),
    (certified(client_certificate=CERTIFICATE, client_key=CERTIFICATE), f"{R}.http_opts.client_key", "it has to hold"),
    (certified(ca_certificates="/etc/ca.pem"), f"{R}.http_opts.ca_certificates", "it has to hold"),
    (certified(ca_certificates=CA.replace("\n", "\\n")), f"{R}.http_opts.ca_certificates", "put real ones there"),
    (certified(ca_certificates=CA + CA.replace("M", "!")), f"{R}.http_opts.ca_certificates", "it has to hold"),
    (
        certified(client_certificate=CERTIFICATE, client_key=KEY.replace("RSA PRIVATE", "ENCRYPTED PRIVATE")),
        f"{R}.http_opts.client_key",
        "decrypt it with openssl pkey",
    ),
    (certified(max_response_bytes=0), f"{R}.http_opts.max_response_bytes", "between 1 and 1073741824"),
    (certified(max_redirects=21), f"{R}.http_opts.max_redirects", "between 0 and 20"),
    # bodies
    (callout(body={"format": "raw"}), f"{R}.body.content", "add it"),
    (callout(body={"content": "a"}), f"{R}.body.format", "has to be raw beside content; add it"),
    (callout(body={"content": "a", "format": "form"}), f"{R}.body.format", "has to be raw"),
    (
        callout(body={"content": "a", "format": "raw", "custom": {"a": "b"}}),
        f"{R}.body",
        "content and custom do not go together",
    ),
    (
        callout(body={"content": "a", "format": "raw", "remove": ["a"]}),
        f"{R}.body",
        "content and remove do not go together",
    ),
    (callout(body={"content": "$(a", "format": "raw"}), f"{R}.body.content", "close it"),
    (upstream(body={"format": "form"}), f"{U}.body.format", "unknown field"),
    (called(response={"body": {"format": "yaml"}}), f"{C}.response.body.format", "expected one of: form, json, text"),
    # answers
    (responding('{"a": $(callouts.a.response.body)}'), f"{U}.respond.body", "write expressions as strings"),
    (responding('{"a": "$(headers["x"])"}'), f"{U}.respond.body", "with single quotes inside them"),
    (responding("hello"), f"{U}.respond.body", "at line 1, column 1); write"),
    (responding('{"a": NaN}'), f"{U}.respond.body", "is no JSON text"),
    (responding("[" * 101 + "1" + "]" * 101), f"{U}.respond.body", "make it flatter"),
    (responding("[" * 100_000), f"{U}.respond.body", "is no JSON text"),
    (responding('[{"a": ["$(b"]}]'), f"{U}.respond.body", "close it"),
    (responding('{"a": "$()"}'), f"{U}.respond.body", "the expression $() is empty"),
    (responding('{"a": "$(item)"}'), f"{U}.respond.body", f"item {ELEMENT}"),
    (upstream(respond={"status": 100}), f"{U}.respond.status", "between 200 and 599"),
    (upstream(respond={"when": "true"}), f"{U}.respond.when", SOLE),
    (upstream(respond={"headers": {"X": "a\n"}}), f"{U}.respond.headers.X", "line breaks"),
    # targets and destinations
    (upstream(target={"scheme": "ftp"}), f"{U}.target.scheme", "expected http or https, not 'ftp'"),
    (upstream(target={"port": 80}), f"{U}.target.port", "put it in quotes"),
    (upstream(target={"port": "0"}), f"{U}.target.port", "expected a port from 1 to 65535"),
    (upstream(target={"port": "655360"}), f"{U}.target.port", "expected a port from 1 to 65535"),
    (upstream(target={"host": "http://h"}), f"{U}.target.host", "write it without scheme, port and path"),
    (upstream(target={"host": "h:80"}), f"{U}.target.host", "write it without scheme, port and path"),
    (upstream(target={"path": "a"}), f"{U}.target.path", "must begin with a slash"),
    (upstream(target={"host": "h\u00e9.example"}), f"{U}.target.host", "is no host name"),
    (upstream(target={"path": "/a?b=c"}), f"{U}.target.path", "set parameters in query"),
    (upstream(target={"path": "#$(1)"}), f"{U}.target.path", 'write $("#")'),
    (callout(destination={"allow_hosts": []}), f"{R}.destination.allow_hosts", "name at least one"),
    (
        callout(destination={"allow_hosts": ["a.example", "https://a.example"]}),
        f"{R}.destination.allow_hosts[2]",
        "expected a host name or address without port, or a pattern",
    ),
    (callout(destination={"allow_hosts": ["a.example/x"]}), f"{R}.destination.allow_hosts[1]", "expected a host"),
    (callout(destination={"allow_hosts": ["a.*.example"]}), f"{R}.destination.allow_hosts[1]", "expected a host"),
    (callout(destination={"deny_networks": ["10.0.0.1/8"]}), f"{R}.destination.deny_networks[1]", "such as 10.0.0.0/8"),
    (callout(destination={"deny_networks": ["10/8/8"]}), f"{R}.destination.deny_networks[1]", "expected a network"),
]


@pytest.mark.parametrize(("raw", "path", "words"), CASES, ids=[f"{path} {words[:24]}" for _, path, words in CASES])
def test_a_problem_has_its_path_and_a_remedy(raw: dict[str, Any], path: str, words: str) -> None:
    """A wrong configuration has one problem, at the path in Kong's spelling, that says what to do."""
    (only,) = problems(raw)
    assert only.path == path
    assert words in only.message


LUA = [
    (called(when="$(\n!)"), f"{C}.when", 2),
    (called(for_each={"items": "$(!)"}), f"{C}.for_each.items", 1),
    (callout(body={"format": "raw", "content": "a\n$(!)"}), f"{R}.body.content", 2),
    (failing(when="$(!)"), f"{R}.error.when", 1),
    (failing(fallback={"headers": {"X": "$(!)"}}), f"{R}.error.fallback.headers.X", 1),
    (failing(fallback={"body": "$(!)"}), f"{R}.error.fallback.body", 1),
    (authorised(type="basic", username="$(!)", password="p"), f"{R}.auth.username", 1),
    (authorised(type="basic", username="u", password="$(!)"), f"{R}.auth.password", 1),
    (authorised(type="bearer", token="$(!)"), f"{R}.auth.token", 1),
    (upstream(respond={"when": "$(!)"}), f"{U}.respond.when", 1),
    (upstream(respond={"headers": {"X": "$(!)"}}), f"{U}.respond.headers.X", 1),
    (responding('{"a": ["$(!)"]}'), f"{U}.respond.body", None),
    *((upstream(target={name: "$(!)"}), f"{U}.target.{name}", 1) for name in ("scheme", "host", "port", "path")),
]


@pytest.mark.parametrize(("raw", "path", "line"), LUA, ids=[path for _, path, _ in LUA])
def test_lua_is_checked_wherever_it_may_stand(raw: dict[str, Any], path: str, line: int | None) -> None:
    """A syntax error in an expression has its field, and the line within it."""
    (only,) = problems(raw, check)
    assert (only.path, only.line) == (path, line)
    assert "unexpected !" in only.message


FINE: list[dict[str, Any]] = [
    called(when="$(callouts.b.response.body)", for_each={"items": "$(query_params.id)", "max_items": 10.0}),
    called(for_each={"items": "$({1, 2})"}, request={"url": "http://h/$(item)/$(index)"}),
    called(
        for_each={"items": "$(1)"},
        request={"url": "http://h", "error": {"when": "$(item == callouts.a.response.body)"}},
        cache={"ttl": "$(item.ttl)", "vary_on": ["$(index)"]},
    ),
    *(
        callout(url=f"http://h/$({source})")
        for source in (
            "callouts.a.response.item",
            "callouts.a.response . index",
            "'item'",
            '"a\\"item"',
            "[==[ ]] item ]==]",
            "1 -- item\n",
            "1 --[[ \n item ]]",
            "({item = 1}).item",
            "(function(item) return item end)(1)",
            "items",
        )
    ),
    callout(method="post", hedge_after_ms=5, by_lua="return"),
    callout(method="put", hedge_after_ms=5),
    callout(body={"format": "raw", "content": "{vault://env/body}"}),
    callout(body={"format": "raw", "content": "a", "custom": {}, "remove": []}),
    callout(body={"format": "form", "custom": {"a": "$(1)"}}),
    authorised(type="basic", username="{vault://env/user}", password='$("")'),
    authorised(type="basic", username="$(a:b())", password="p", token="idle"),
    oauth2(token_url="{vault://env/url}", extra_parameters={"a": ""}, client_secret="$("),
    certified(client_certificate="{vault://env/cert}", client_key=KEY, ca_certificates=f"a comment\n{CA}{CA}"),
    certified(client_certificate=CERTIFICATE + CA, client_key=f"{KEY}"),
    *(responding(body) for body in ("1", '"$(1)"', '{"a": "$(headers[\'x\'])", "b": [null, true, 1.5e3]}', " {}\n")),
    responding("[" * 100 + "1" + "]" * 100),
    upstream(respond={}),
    upstream(target={"scheme": "$(1)", "host": "svc_a.internal.", "port": "65535", "path": "/$(1)"}),
    upstream(target={"host": "::1"}),
    callout(destination={"allow_hosts": ["*.a.example", "[::1]"], "deny_networks": ["10.0.0.0/8", "::/0", "1.2.3.4"]}),
]


@pytest.mark.parametrize("raw", FINE, ids=range(len(FINE)))
def test_what_is_meant_loads(raw: dict[str, Any]) -> None:
    """What looks like a problem and is none, is none."""
    load(raw, lambda source, is_expression: [])


def test_a_key_of_any_usual_kind_is_one() -> None:
    """Keys in PKCS #8 and in the older forms of RSA and EC are taken, as they are by TLS."""
    for kind in trustme.KeyType:
        leaf = AUTHORITY.issue_cert("client.example", key_type=kind)
        key, chain = (pem.bytes().decode() for pem in (leaf.private_key_pem, leaf.cert_chain_pems[0]))
        load(certified(client_certificate=chain, client_key=key))
        with leaf.private_key_and_cert_chain_pem.tempfile() as file:
            ssl.create_default_context().load_cert_chain(file)


def test_no_problem_shows_a_secret() -> None:
    """Keys, passwords and tokens stay out of every message, whatever is wrong with them."""
    secret = "\ns3cr3t$(#"
    raw = callout(
        http_opts={"client_certificate": secret, "client_key": f"-----BEGIN PRIVATE KEY-----{secret}"},
        auth={
            "type": "basic",
            "username": f":{secret}",
            "password": secret,
            "token": secret,
            "client_secret": [secret],
        },
    )
    told = "\n".join(map(str, problems(raw)))
    assert "s3cr3t" not in told
    for name in ("client_certificate", "client_key", "username", "password", "token", "client_secret"):
        assert name in told


def test_credentials_are_secrets() -> None:
    """What stands in encrypted fields, and what came from a vault, is kept to be left out of logs."""
    raw = callout(
        auth={
            "type": "basic",
            "username": "us3r",
            "password": "passw0rd",
            "token": "t0ken",
            "client_secret": "s3cret",
            "extra_parameters": {"assertion": "assert10n"},
            "$refs": {"username": "{vault://env/user}", "extra_parameters": {"assertion": "{vault://env/assertion}"}},
        },
        http_opts={"client_certificate": CERTIFICATE, "client_key": KEY},
    )
    assert load({**raw, **KONG}).secrets == {"us3r", "passw0rd", "t0ken", "s3cret", "assert10n", KEY}


def test_what_a_vault_gives_is_no_expression() -> None:
    """A password, a token or a body from a vault is sent as it is, whatever it holds."""
    value = "#p$(w"
    references = {name: f"{{vault://env/{name}}}" for name in ("username", "password")}
    raw = callout(auth={"type": "basic", "username": value, "password": value, "$refs": references})
    auth = load({**raw, **KONG}).callouts[0].request.auth
    assert auth is not None
    assert auth.username == auth.password == '$("#")p$("$(")w'
