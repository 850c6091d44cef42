"""KrakenD's configurations: what becomes of each field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.converting import convert, converted, entries, loaded

HOST = "http://api.internal:8000"


def krakend(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"$schema": "https://x/krakend.json", "version": 3, "host": [HOST], "endpoints": list(endpoints), **more}


def endpoint(*backends: dict[str, Any], path: str = "/e/{id}", **more: Any) -> dict[str, Any]:
    return {"endpoint": path, "backend": [{"url_pattern": "/b", **one} for one in backends], **more}


def configuration(*backends: dict[str, Any], status: int = 0, **more: Any) -> dict[str, Any]:
    """The plugin's configuration for one endpoint; it is valid."""
    document = converted(krakend(endpoint(*backends, **more)), status=status)
    loaded(document)
    config: dict[str, Any] = document["services"][0]["routes"][0]["plugins"][0]["config"]
    return config


def callout(*backends: dict[str, Any], number: int = 0, status: int = 0, **more: Any) -> dict[str, Any]:
    one: dict[str, Any] = configuration(*backends, status=status, **more)["callouts"][number]
    return one


def answer(*backends: dict[str, Any], **more: Any) -> Any:
    """The template of the answer's body."""
    return json.loads(configuration(*backends, **more)["upstream"]["respond"]["body"])


def told(document: dict[str, Any], status: int = 3) -> list[str]:
    """The places that the report names, but for the one of every conversion."""
    result = convert("-", text=json.dumps(document))
    assert result.exit_code == status, result.output
    return [line.split(": ")[0] for line in entries(result) if not line.startswith("endpoints: X-Forwarded")]


def test_an_endpoint_is_a_route_with_its_method_and_whole_path() -> None:
    """An endpoint becomes a service with a route for exactly its path and method, GET if it names none."""
    document = converted(krakend(endpoint({}, path="/v1.0/u/{user-id}/x", method="put"), endpoint({}, path="/plain")))
    first, second = document["services"]
    assert (first["name"], first["url"]) == ("put-v1-0-u-user-id-x", HOST)
    assert first["routes"][0]["paths"] == [r"~/v1\.0/u/(?<user_id>[^/]+)/x$"]
    assert first["routes"][0]["methods"] == ["PUT"]
    assert (second["routes"][0]["paths"], second["routes"][0]["methods"]) == (["~/plain$"], ["GET"])


def test_placeholders_are_captures_of_the_path() -> None:
    """A placeholder in url_pattern is the capture of the route, also in a query."""
    request = callout({"url_pattern": "/u/{id}?ref={id}&x=$(y)"})["request"]
    assert request["url"] == f'{HOST}/u/$(uri_captures.id)?ref=$(uri_captures.id)&x=$("$(")y)'


def test_a_single_backend_fails_as_in_krakend() -> None:
    """A status other than 200 and 201 is an error that the client gets as 500; redirects are followed."""
    request = callout({})["request"]
    assert request["error"] == {
        "when": "$(callouts.b.response.status ~= 200 and callouts.b.response.status ~= 201)",
        "error_response_code": 500,
    }
    assert request["http_opts"]["max_redirects"] == 10


def test_merged_backends_may_fail_one_by_one() -> None:
    """Backends of a merge run side by side and go on after an error, without a word of the failed one's body."""
    config = configuration({"group": "a"}, {"group": "b", "url_pattern": "/c"})
    for one in config["callouts"]:
        assert one["depends_on"] == []
        assert one["request"]["error"]["on_error"] == "continue"
        assert one["request"]["error"]["fallback"] == {"status": 500}
    assert "kong.response.exit(500)" in config["upstream"]["by_lua"]


@pytest.mark.parametrize(
    ("timeout", "count", "total_ms", "deadline_ms"),
    [
        (None, 1, 2000, 2000),
        ("3s", 1, 3000, 3000),
        ("1m30s", 1, 90_000, None),
        ("1.5s", 2, 1275, 1500),
        ("800ms", 2, 680, 800),
    ],
)
def test_times(timeout: str | None, count: int, total_ms: int, deadline_ms: int | None) -> None:
    """An endpoint's timeout bounds all of it; in a merge a backend has 85 % of it, as in KrakenD."""
    backends = [{"group": f"g{number}"} for number in range(count)]
    more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    config = configuration(*backends, **more)
    assert config["callouts"][0]["request"]["http_opts"]["timeouts"] == {"total": total_ms}
    assert config.get("deadline_ms") == deadline_ms


def test_groups_and_chosen_fields_are_a_template() -> None:
    """Where all fields of the answer are known, its body names them, renamed and grouped as they are."""
    assert answer(
        {"url_pattern": "/users/{id}", "allow": ["id", "email"], "mapping": {"email": "personal_email"}},
        {"url_pattern": "/posts/{id}", "group": "last_post"},
        {"url_pattern": "/tags", "is_collection": True, "mapping": {"collection": "tags"}},
        {"url_pattern": "/motto", "encoding": "string", "group": "motto"},
    ) == {
        "id": "$(callouts.users.response.body.id)",
        "personal_email": "$(callouts.users.response.body.email)",
        "last_post": "$(callouts.posts.response.body)",
        "tags": "$(callouts.tags.response.body)",
        "motto": {"content": "$(callouts.motto.response.body)"},
    }


def test_a_body_as_a_whole() -> None:
    """Of a backend that is not filtered the answer is the whole body, json-collection the list alone."""
    assert answer({}) == "$(callouts.b.response.body)"
    assert answer({"is_collection": True}, output_encoding="json-collection") == "$(callouts.b.response.body)"
    assert answer({}, output_encoding="json-collection") == []


@pytest.mark.parametrize(
    "backend",
    [{"deny": ["a.b"]}, {"target": "data"}, {"allow": ["a.b"]}, {"mapping": {"a": "b"}}, {"encoding": "safejson"}],
)
def test_other_shapes_are_a_script_of_the_response(backend: dict[str, Any]) -> None:
    """What filters or moves fields that only a run knows is a script of that callout's response."""
    assert callout(backend)["response"]["by_lua"].endswith("response.body = body\n")


def test_encodings() -> None:
    """The encoding json is decoded, xml and string are formats of the body."""
    assert callout({"encoding": "json"})["response"] == {"body": {"decode": True}}
    assert callout({"encoding": "xml"})["response"] == {"body": {"format": "xml"}}
    assert callout({"encoding": "string"})["response"] == {"body": {"format": "text"}}


def test_what_the_client_sends_on() -> None:
    """Listed query parameters and headers are sent on, * sends all; a backend's own list narrows them."""
    some = callout({}, input_query_strings=["page", "per page"], input_headers=["X-User"])
    assert some["request"]["url"].endswith(
        "/b?$(ngx.encode_args({page = query_params.page, ['per page'] = query_params['per page']}))"
    )
    assert "{'X-User'}" in some["request"]["by_lua"]
    every = callout({}, input_query_strings=["*"], input_headers=["*"])["request"]
    assert (every["query"], every["headers"]) == ({"forward": True}, {"forward": True})
    narrowed = callout(
        {"input_headers": ["B"], "input_query_strings": []}, input_headers=["A", "B"], input_query_strings=["q"]
    )
    assert "{'B'}" in narrowed["request"]["by_lua"]
    assert "?" not in narrowed["request"]["url"]


def test_methods_and_bodies() -> None:
    """A backend has the endpoint's method unless it names its own; the client's body goes with all but GET and HEAD."""
    assert "method" not in callout({})["request"]
    posted = callout({}, method="POST")["request"]
    assert (posted["method"], posted["body"]) == ("POST", {"forward": True})
    read = callout({"method": "get"}, method="POST")["request"]
    assert "method" not in read
    assert "body" not in read


def test_hosts() -> None:
    """A host without a scheme is http; of several the first is called and the others are reported."""
    assert callout({"host": ["api.internal/"]})["request"]["url"] == "http://api.internal/b"
    assert callout({"host": ["https://a", "https://b"]}, status=3)["request"]["url"] == "https://a/b"
    assert told(krakend(endpoint({"host": ["https://a", "https://b"]}))) == ["endpoints[1].backend[1].host"]


SEQUENTIAL: dict[str, Any] = {"extra_config": {"proxy": {"sequential": True}}}


def test_sequential_backends_wait_for_each_other() -> None:
    """Each backend of a sequence waits for the one before; the first fails the request, a later one ends it."""
    first, second, third = configuration({}, {"url_pattern": "/c"}, {"url_pattern": "/d"}, **SEQUENTIAL)["callouts"]
    assert [one["depends_on"] for one in (first, second, third)] == [[], ["b"], ["c"]]
    assert (first["request"]["error"]["error_response_code"], "when" in second) == (500, False)
    assert third["when"] == "$(not callouts.c.request.error and not callouts.c.skipped)"


def test_responses_before_are_placeholders() -> None:
    """resp0_... is the field of KrakenD's answer of that backend, through group, mapping and wrappers."""
    backends: list[dict[str, Any]] = [
        {"url_pattern": "/u", "group": "user", "allow": ["id"], "mapping": {"id": "key"}},
        {"url_pattern": "/s", "encoding": "string"},
        {"url_pattern": "/o/{resp0_user.key}/{resp1_content}/{id}"},
    ]
    assert callout(*backends, number=2, **SEQUENTIAL)["request"]["url"] == (
        f"{HOST}/o/$(callouts.u.response.body.id)/$(callouts.s.response.body)/$(uri_captures.id)"
    )


def test_components_that_callouts_have() -> None:
    """The circuit breaker, client credentials and the HTTP cache are fields of the callout."""
    extra = {
        "qos/circuit-breaker": {"interval": 60, "timeout": 10, "max_errors": 3, "@comment": "x"},
        "auth/client-credentials": {
            "client_id": "me",
            "client_secret": "{vault://env/secret}",
            "token_url": "https://id.example.com/token",
            "scopes": "a,b",
            "endpoint_params": {"audience": ["api"], "resource": ["r"]},
        },
        "qos/http-cache": {},
    }
    config = configuration({"extra_config": extra, "group": "a"}, {"url_pattern": "/c", "group": "c"})
    first, second = config["callouts"]
    assert first["request"]["circuit_breaker"] == {"failures": 3, "window_ms": 60_000, "open_ms": 10_000}
    assert first["request"]["auth"] == {
        "type": "oauth2_client_credentials",
        "token_url": "https://id.example.com/token",
        "client_id": "me",
        "client_secret": "{vault://env/secret}",
        "scopes": ["a", "b"],
        "audience": "api",
        "extra_parameters": {"resource": "r"},
    }
    assert (first["cache"], second["cache"]) == ({"respect_cache_control": True}, {"bypass": True})
    assert config["cache"] == {"strategy": "memory", "cache_ttl": 0}


def test_cache_ttl_is_a_header_of_the_answer() -> None:
    """cache_ttl becomes Cache-Control of the answer, for a merge only of a complete one."""
    single = configuration({}, cache_ttl="300s")["upstream"]["respond"]["headers"]
    assert single == {"Cache-Control": "public, max-age=300"}
    merged = configuration({"group": "a"}, {"group": "b"}, cache_ttl="5m")["upstream"]["respond"]["headers"]
    assert merged["Cache-Control"].endswith("and 'no-store' or 'public, max-age=300')")


def test_no_op_is_proxied() -> None:
    """An endpoint with no-op is a service that Kong proxies to, with the backend's path and the endpoint's times."""
    document = converted(krakend(endpoint({"url_pattern": "/u/{id}"}, output_encoding="no-op", timeout="5s")))
    service = document["services"][0]
    assert (service["url"], service["read_timeout"]) == (HOST, 5000)
    config = service["routes"][0]["plugins"][0]["config"]
    assert config["upstream"]["target"] == {"path": "/u/$(uri_captures.id)"}
    assert len(loaded(document)) == 1


@pytest.mark.parametrize(
    ("document", "places"),
    [
        (krakend(endpoint({}), port=8080), ["port"]),
        (krakend(endpoint({}), extra_config={"security/cors": {}}), ['extra_config."security/cors"']),
        (
            krakend(endpoint({}, extra_config={"qos/ratelimit/router": {}, "proxy": {"static": {}}})),
            ['endpoints[1].extra_config."qos/ratelimit/router"', 'endpoints[1].extra_config."proxy".static'],
        ),
        (
            krakend(endpoint({"extra_config": {"modifier/martian": {}, "proxy": {"flatmap_filter": []}}})),
            [
                'endpoints[1].backend[1].extra_config."modifier/martian"',
                'endpoints[1].backend[1].extra_config."proxy".flatmap_filter',
            ],
        ),
        (krakend(endpoint({}), endpoint({"url_pattern": "/{JWT.sub}"})), ["endpoints[2].backend[1].url_pattern"]),
        (krakend(endpoint({}), endpoint({}, path="/x/*")), ["endpoints[2].endpoint"]),
        (
            krakend(endpoint({}, extra_config={"proxy": {"strategy": "fallback"}})),
            ['endpoints[1].extra_config."proxy".strategy'],
        ),
        (krakend(endpoint({"encoding": "rss"})), ["endpoints[1].backend[1].encoding"]),
        (krakend(endpoint({}, output_encoding="xml")), ["endpoints[1].output_encoding"]),
        (krakend(endpoint({}, concurrent_calls=3)), ["endpoints[1].concurrent_calls"]),
        (krakend(endpoint({}, wonder=1)), ["endpoints[1].wonder"]),
        (krakend(endpoint({"sd": "dns"})), ["endpoints[1].backend[1].sd"]),
    ],
)
def test_what_is_left_out_is_reported(document: dict[str, Any], places: list[str]) -> None:
    """What has no counterpart is reported with its place, and the status is 3."""
    assert told(document) == places


def test_what_differs_is_reported_without_a_status() -> None:
    """What is converted but differs in a case is reported too; the status stays 0."""
    assert told(krakend(endpoint({"encoding": "xml", "allow": ["a"]})), status=0) == [
        "endpoints[1].backend[1].encoding",
        "endpoints[1].backend",
    ]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"version": 2, "endpoints": []}, "version: expected 3, not 2"),
        ({"version": 3, "endpoints": 1}, "endpoints: "),
        (krakend({"endpoint": "/x", "backend": []}), "endpoints[1].backend: "),
        (krakend(endpoint({}, timeout="soon")), "endpoints[1].timeout: expected a duration"),
        (krakend(endpoint({"host": [], "url_pattern": "/x"}), host=None), "endpoints[1].backend[1].host: "),
        (krakend(endpoint({"url_pattern": ""})), "endpoints[1].backend[1].url_pattern: "),
        (krakend(endpoint({"allow": "id"})), "endpoints[1].backend[1].allow: expected a list"),
        (krakend(endpoint({"url_pattern": "/{resp1_x}"}, {}, **SEQUENTIAL)), "endpoints[1].backend[1].url_pattern: "),
        (krakend(endpoint({"extra_config": {"qos/circuit-breaker": {}}})), '"qos/circuit-breaker".interval: '),
        (krakend(endpoint({}, path="/x/{a}b")), "none of them can be converted"),
        (krakend("x"), "endpoints[1]: expected an object"),  # type: ignore[arg-type]
    ],
)
def test_bad_configurations_are_one_error(document: dict[str, Any], place: str) -> None:
    """What is no KrakenD configuration ends with status 1 and the place."""
    result = convert("-", text=json.dumps(document))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: -: ")
    assert place in result.stderr
