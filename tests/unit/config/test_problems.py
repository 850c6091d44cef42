from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from request_callout.config import InvalidConfiguration, Problem, load
from request_callout.config.sources import SourceCheck
from tests.unit.config.test_load import KONG, callout

C = "config.callouts[1]"
R = f"{C}.request"


def problems(raw: Any, check: SourceCheck | None = None) -> list[Problem]:
    """Everything that is wrong with a configuration; fails if nothing is."""
    with pytest.raises(InvalidConfiguration) as caught:
        load(raw, check)
    return list(caught.value.problems)


def check(source: str, is_expression: bool) -> Sequence[tuple[int, str]]:
    """Stands for the Lua compiler: a line with ``!`` is wrong."""
    return [(line, "unexpected !") for line, text in enumerate(source.split("\n"), 1) if "!" in text]


def two(**second: Any) -> dict[str, Any]:
    """Callouts a and b, the second with these fields."""
    return {"callouts": [*callout()["callouts"], {"name": "b", "request": {"url": "http://b"}, **second}]}


def redis(**given: Any) -> dict[str, Any]:
    return {"callouts": [], "cache": {"redis": given}}


def cached(**cache: Any) -> dict[str, Any]:
    """One callout with this cache."""
    return {"callouts": [{**callout()["callouts"][0], "cache": cache}]}


CASES: list[tuple[dict[str, Any], str, str]] = [
    # shape
    ({}, "config.callouts", "required field missing; add it"),
    ({"callouts": None}, "config.callouts", "add it"),
    ({"callouts": [{"request": {"url": "http://x"}}]}, f"{C}.name", "add it, such as"),
    ({"callouts": [{"name": "a"}]}, R, "add it"),
    ({"callouts": [{"name": "a", "request": {}}]}, f"{R}.url", "add it, such as"),
    ({"callouts": ["a"]}, C, "not a string; its fields are name, "),
    ({"callouts": "a"}, "config.callouts", "expected a list"),
    ({"callouts": [], "upstraem": {}}, "config.upstraem", "did you mean upstream?"),
    (callout(colour=1), f"{R}.colour", "unknown field; remove it, known here are url, method"),
    (callout(timeout=1), f"{R}.timeout", "unknown field; did you mean http_opts.timeouts?"),
    (callout(on_error="fail"), f"{R}.on_error", "it belongs one level deeper: error.on_error"),
    (callout(http_statuses=[500]), f"{R}.http_statuses", "it belongs one level deeper: error.http_statuses"),
    (callout(timeouts={"read": 5}), f"{R}.timeouts", "it belongs one level deeper: http_opts.timeouts"),
    (callout(header={}), f"{R}.header", "did you mean headers?"),
    (callout(url=5), f"{R}.url", "expected a string, not a number; put it in quotes"),
    (callout(url=""), f"{R}.url", "must not be empty"),
    (callout(method=""), f"{R}.method", "must not be empty"),
    ({"callouts": [{"name": "", "request": {"url": "http://x"}}]}, f"{C}.name", "must not be empty"),
    (
        callout(headers={"forward": "yes"}),
        f"{R}.headers.forward",
        "expected true or false, not a string; write it without",
    ),
    (callout(headers={"custom": {"X": 1}}), f"{R}.headers.custom.X", "put it in quotes"),
    (callout(headers={"custom": {"X": ["a"]}}), f"{R}.headers.custom.X", "expected a string, not a list"),
    (callout(headers={"remove": "X"}), f"{R}.headers.remove", "expected a list, not a string"),
    (callout(error={"on_error": "rety"}), f"{R}.error.on_error", "continue, fail, retry; did you mean retry?"),
    (callout(error={"error_response_code": 99}), f"{R}.error.error_response_code", "between 100 and 599"),
    (callout(error={"error_response_code": 600}), f"{R}.error.error_response_code", "between 100 and 599"),
    (callout(error={"error_response_code": "400"}), f"{R}.error.error_response_code", "write it without quotes"),
    (callout(error={"http_statuses": [200, 99]}), f"{R}.error.http_statuses[2]", "between 100 and 999"),
    (callout(error={"retries": -1}), f"{R}.error.retries", "must be 0 or more"),
    (callout(error={"retries": 1.5}), f"{R}.error.retries", "expected a whole number"),
    (callout(error={"retries": True}), f"{R}.error.retries", "expected a whole number, not true or false"),
    (
        callout(http_opts={"timeouts": {"connect": 1}}),
        f"{R}.http_opts.timeouts",
        "connect can't stand without write and read",
    ),
    (
        callout(http_opts={"timeouts": {"connect": 1, "write": 1, "read": -1}}),
        f"{R}.http_opts.timeouts.read",
        "between 0 and 2147483646",
    ),
    ({"callouts": [], "cache": {"strategy": False}}, "config.cache.strategy", "put it in quotes (YAML reads on, off"),
    ({"callouts": [], "cache": {"cache_ttl": -1}}, "config.cache.cache_ttl", "must be 0 or more"),
    (redis(cluster_nodes=[]), "config.cache.redis.cluster_nodes", "name at least one"),
    (redis(cluster_nodes=[{"host": "x"}]), "config.cache.redis.cluster_nodes[1].host", "unknown field"),
    (
        redis(sentinel_master="m"),
        "config.cache.redis",
        "sentinel_master can't stand without sentinel_role and sentinel_nodes",
    ),
    (redis(sentinel_nodes=[{}]), "config.cache.redis", "sentinel_nodes can't stand without sentinel_master"),
    (
        redis(cluster_nodes=[{}], sentinel_master="m", sentinel_role="any", sentinel_nodes=[{}]),
        "config.cache.redis",
        "cluster_nodes and sentinel_nodes do not go together",
    ),
    (
        redis(cloud_authentication={"auth_provider": "aws"}),
        "config.cache.redis.cloud_authentication.aws_cache_name",
        "add it",
    ),
    (redis(sentinel_role="any", sentinel_nodes=[{}]), "config.cache.redis", "can't stand without sentinel_master"),
    (
        redis(sentinel_nodes=[], sentinel_master="m", sentinel_role="any"),
        "config.cache.redis.sentinel_nodes",
        "name at least one",
    ),
    (redis(port=65536), "config.cache.redis.port", "between 0 and 65535"),
    (redis(port="6379"), "config.cache.redis.port", "write it without quotes"),
    (redis(database=-1), "config.cache.redis.database", "must be 0 or more"),
    (redis(read_timeout=-1), "config.cache.redis.read_timeout", "between 0 and 2147483646"),
    (redis(keepalive_pool_size=0), "config.cache.redis.keepalive_pool_size", "between 1 and 2147483646"),
    (redis(password=123), "config.cache.redis.password", "put it in quotes"),
    (
        redis(sentinel_role="replica", sentinel_nodes=[{}], sentinel_master="m"),
        "config.cache.redis.sentinel_role",
        "expected one of: any, master, slave",
    ),
    (
        redis(cloud_authentication={"aws_access_key_id": "k"}),
        "config.cache.redis.cloud_authentication",
        "aws_access_key_id can't stand without aws_secret_access_key",
    ),
    # the cache of a callout
    (cached(ttl=60), f"{C}.cache.ttl", "expected a string, not a number; put it in quotes"),
    (cached(ttl=""), f"{C}.cache.ttl", "must not be empty"),
    (cached(ttl="5m"), f"{C}.cache.ttl", "'5m' is no number of seconds; write one such as \"60\", without a unit"),
    (cached(ttl="-1"), f"{C}.cache.ttl", "is no number of seconds"),
    (cached(ttl="nan"), f"{C}.cache.ttl", "is no number of seconds"),
    (cached(ttl="1e9"), f"{C}.cache.ttl", "is no number of seconds"),
    (cached(ttl="99999999999"), f"{C}.cache.ttl", "is no number of seconds"),
    (cached(ttl="callouts.a.response.body.ttl"), f"{C}.cache.ttl", "or an expression such as $(callouts.NAME"),
    (cached(ttl="#$(1)"), f"{C}.cache.ttl", 'must not begin with #; write $("#")'),
    (cached(ttl="$(1"), f"{C}.cache.ttl", "close it"),
    (cached(ttl="$( )"), f"{C}.cache.ttl", "the expression $() is empty"),
    (cached(ttl="{vault://env/ttl}"), f"{C}.cache.ttl", "is not referenceable"),
    (cached(statuses=[]), f"{C}.cache.statuses", "name at least one or leave it out"),
    (cached(statuses=[200, 600]), f"{C}.cache.statuses[2]", "between 100 and 599"),
    (cached(statuses=["200"]), f"{C}.cache.statuses[1]", "write it without quotes"),
    (cached(statuses=200), f"{C}.cache.statuses", "expected a list, not a number"),
    (cached(negative_ttl=-0.1), f"{C}.cache.negative_ttl", "between 0 and 2147483646"),
    (cached(negative_ttl="5"), f"{C}.cache.negative_ttl", "write it without quotes"),
    (cached(stale_while_revalidate=-1), f"{C}.cache.stale_while_revalidate", "between 0 and 2147483646"),
    (cached(stale_if_error=True), f"{C}.cache.stale_if_error", "expected a number, not true or false"),
    (cached(respect_cache_control=1), f"{C}.cache.respect_cache_control", "expected true or false"),
    (cached(vary_on="$(headers.x)"), f"{C}.cache.vary_on", "expected a list, not a string"),
    (cached(vary_on=["a", "#b"]), f"{C}.cache.vary_on[2]", 'must not begin with #; write $("#")'),
    (cached(vary_on=["$(a"]), f"{C}.cache.vary_on[1]", "close it"),
    (cached(vary_on=["{vault://env/x}"]), f"{C}.cache.vary_on[1]", "is not referenceable"),
    (cached(vary_on=[""]), f"{C}.cache.vary_on[1]", "must not be empty"),
    (cached(jitter=101), f"{C}.cache.jitter", "between 0 and 100"),
    (cached(jiter=1), f"{C}.cache.jiter", "did you mean jitter?"),
    # names and dependencies
    (two(name="a"), "config.callouts[2].name", "is the name of callouts[1] too"),
    (two(depends_on=["c"]), "config.callouts[2].depends_on[1]", "no callout named 'c'; the names are: a, b"),
    (two(depends_on=["B"]), "config.callouts[2].depends_on[1]", "no callout named 'B'"),
    (two(depends_on=["b"]), "config.callouts[2].depends_on", "b -> b"),
    # values
    (callout(url="host/path"), f"{R}.url", "write http://host/path or https://host/path"),
    (callout(url="htp://host/$(headers.a)"), f"{R}.url", "htp:// can't be called; write http:// or https://"),
    (callout(url="ftp://host"), f"{R}.url", "is no valid URL"),
    (callout(url="http://"), f"{R}.url", "is no valid URL"),
    (callout(url="http://a b/"), f"{R}.url", "is no valid URL"),
    (callout(url="http://host:99999/"), f"{R}.url", "is no valid URL"),
    (callout(url="http://h\0.example/"), f"{R}.url", "is no valid URL: it has a control character in it"),
    (callout(url="http://h/a\x1b[31m"), f"{R}.url", "is no valid URL: it has a control character in it"),
    (callout(url="http://h%00.example/"), f"{R}.url", "is no valid URL: no host can have such a name"),
    (callout(url="http://*.example/"), f"{R}.url", "is no valid URL: no host can have such a name"),
    (callout(url=f"http://{'h' * 64}.example/"), f"{R}.url", "is no valid URL: no host can have such a name"),
    (callout(url="http://\u2028h/"), f"{R}.url", "is no valid URL: no host can have such a name"),
    (callout(url="http://[fe80::1%25eth0]/"), f"{R}.url", "is no valid URL"),
    (callout(url="#x"), f"{R}.url", '$("#")'),
    (callout(method="GET IT"), f"{R}.method", "is no HTTP method; use one like GET"),
    (callout(headers={"custom": {"X Y": "a"}}), f"{R}.headers.custom.X Y", "is no header name"),
    (callout(headers={"remove": ["ok", "a:b"]}), f"{R}.headers.remove[2]", "is no header name"),
    (callout(headers={"custom": {"X": "a\n"}}), f"{R}.headers.custom.X", "line breaks; remove them; in YAML use |-"),
    (callout(headers={"custom": {"X": "$(a)\r\nb"}}), f"{R}.headers.custom.X", "line breaks; remove them"),
    (callout(query={"custom": {"q": "#1"}}), f"{R}.query.custom.q", 'must not begin with #; write $("#")'),
    (callout(body={"custom": {"b": "#1"}}), f"{R}.body.custom.b", 'write $("#")'),
    (callout(error={"error_response_msg": "#1"}), f"{R}.error.error_response_msg", 'write $("#")'),
    ({"callouts": [], "upstream": {"body": {"custom": {"b": "#"}}}}, "config.upstream.body.custom.b", 'write $("#")'),
    (callout(url="http://h/$()"), f"{R}.url", "the expression $() is empty"),
    (
        callout(http_opts={"proxy": {"http_proxy": "https://p"}}),
        f"{R}.http_opts.proxy.http_proxy",
        "scheme https is refused",
    ),
    (
        callout(http_opts={"proxy": {"https_proxy": "HTTPS://p"}}),
        f"{R}.http_opts.proxy.https_proxy",
        "use the proxy's http://",
    ),
    (
        callout(http_opts={"proxy": {"http_proxy": "p:3128"}}),
        f"{R}.http_opts.proxy.http_proxy",
        "write http://host/path",
    ),
    (callout(http_opts={"proxy": {"auth_password": "p"}}), f"{R}.http_opts.proxy", "auth_password can't stand without"),
    # references
    (
        callout(http_opts={"ssl_server_name": "{vault://env/x}"}),
        f"{R}.http_opts.ssl_server_name",
        "is not referenceable",
    ),
    (
        callout(headers={"custom": {"A": "Bearer {vault://env/x}"}}),
        f"{R}.headers.custom.A",
        "only if it is the whole value",
    ),
    (
        {**callout(url=""), "callouts": [{"name": "a", "request": {"url": "", "$refs": {"url": "{vault://env/u}"}}}]},
        f"{R}.url",
        "the reference {vault://env/u} could not be resolved",
    ),
    (
        callout(headers={"custom": {"A": ""}, "$refs": {"custom": {"A": "{vault://env/a}"}}}),
        f"{R}.headers.custom.A",
        "the reference {vault://env/a} could not be resolved",
    ),
    # names that YAML makes something else of
    (callout(headers={"custom": {1: "a"}}), f"{R}.headers.custom.1", "a name must be a string; put it in quotes"),
]


@pytest.mark.parametrize(("raw", "path", "words"), CASES, ids=[f"{path} {words[:24]}" for _, path, words in CASES])
def test_a_problem_has_its_path_and_a_remedy(raw: dict[str, Any], path: str, words: str) -> None:
    """A wrong configuration has one problem, at the path in Kong's spelling, that says what to do."""
    (only,) = problems(raw)
    assert only.path == path
    assert words in only.message


def test_all_problems_are_found_at_once() -> None:
    """Problems of shape and of meaning, in all callouts, come together."""
    raw = two(depends_on=["nobody"], response={"by_lua": "!"})
    raw["callouts"][0]["request"] |= {"url": "nonsense", "metod": "GET", "error": {"error_response_code": 0}}
    raw["cache"] = {"strategy": "disk"}
    paths = {problem.path for problem in problems(raw, check)}
    assert paths == {
        f"{R}.url",
        f"{R}.metod",
        f"{R}.error.error_response_code",
        "config.callouts[2].depends_on[1]",
        "config.callouts[2].response.by_lua",
        "config.cache.strategy",
    }


def test_a_cycle_is_shown_as_a_chain() -> None:
    """Callouts that wait for each other are named in the order in which they do."""
    raw = {
        "callouts": [
            {"name": name, "request": {"url": "http://x"}, "depends_on": on}
            for name, on in (("x", []), ("a", ["x", "b"]), ("b", ["c"]), ("c", ["a"]))
        ]
    }
    (only,) = problems(raw)
    assert "a -> b -> c -> a" in only.message
    assert only.path == "config.callouts[2].depends_on"


def test_a_later_callout_may_be_depended_on() -> None:
    """The order of the list does not matter to dependencies."""
    raw = two()
    raw["callouts"][0]["depends_on"] = ["b"]
    assert load(raw).callouts[0].depends_on == ("b",)


LUA = [
    (callout(by_lua="x\ny!"), f"{R}.by_lua", 2),
    (callout(url="http://h/$(a!)"), f"{R}.url", 1),
    (callout(query={"custom": {"q": "a\nb $(c\n!)"}}), f"{R}.query.custom.q", 3),
    (callout(headers={"custom": {"h": "$(!)"}}), f"{R}.headers.custom.h", 1),
    (callout(body={"custom": {"b": "$(1)$(!)"}}), f"{R}.body.custom.b", 1),
    (callout(error={"error_response_msg": "\n$(!)"}), f"{R}.error.error_response_msg", 2),
    (cached(ttl="$(1) $(\n!)"), f"{C}.cache.ttl", 2),
    (cached(vary_on=["a", "$(!)"]), f"{C}.cache.vary_on[2]", 1),
    ({"callouts": [], "upstream": {"by_lua": "!"}}, "config.upstream.by_lua", 1),
    ({"callouts": [], "upstream": {"query": {"custom": {"q": "$(!)"}}}}, "config.upstream.query.custom.q", 1),
    ({"callouts": [], "upstream": {"headers": {"custom": {"h": "$(!)"}}}}, "config.upstream.headers.custom.h", 1),
    ({"callouts": [], "upstream": {"body": {"custom": {"b": "$(!)"}}}}, "config.upstream.body.custom.b", 1),
]


@pytest.mark.parametrize(("raw", "path", "line"), LUA, ids=[path for _, path, _ in LUA])
def test_lua_is_checked_wherever_it_may_stand(raw: dict[str, Any], path: str, line: int) -> None:
    """A syntax error in a script or an expression has the line within the field."""
    (only,) = problems(raw, check)
    assert (only.path, only.line) == (path, line)
    assert "unexpected !" in only.message


def test_an_expression_without_an_end_has_its_line() -> None:
    """An unbalanced expression is found without Lua."""
    (only,) = problems(callout(query={"custom": {"q": "a\n$(f("}}))
    assert (only.path, only.line) == (f"{R}.query.custom.q", 2)
    assert "close it" in only.message


def test_every_problem_ends_in_what_to_do() -> None:
    """No message is the bare violation: each has a remedy after it, or says what was expected."""
    for raw, _, _ in CASES:
        for problem in problems(raw):
            remedies = (";", "expected", "must be", "write", "add")
            assert any(word in problem.message for word in remedies), problem


def test_no_problem_shows_a_secret() -> None:
    """Values from a vault and of encrypted fields stay out of every message, whatever is wrong with them."""
    secret = "\ns3cr3t$(#"
    refs = {"$refs": {"custom": {"X": "{vault://env/x}"}}}
    raw = callout(
        url=secret,
        headers={"custom": {"X": secret}, **refs},
        http_opts={"proxy": {"auth_password": [secret], "http_proxy": f"https://u:{secret}@p"}},
    )
    raw["callouts"][0]["request"]["$refs"] = {"url": "{vault://env/url}"}
    raw["cache"] = {"redis": {"password": {"a": secret}, "cloud_authentication": {"auth_provider": secret}}}
    told = "\n".join(map(str, problems({**raw, **KONG}, lambda source, is_expression: [(1, "wrong")])))
    assert "s3cr3t" not in told
    assert "config.cache.redis.password" in told


def test_what_is_no_record_is_refused() -> None:
    """A configuration that is a list or a text is one problem, not a crash."""
    wrong: tuple[Any, ...] = ([], "callouts", None, 5)
    for raw in wrong:
        assert [problem.path for problem in problems(raw)] == ["config"]
