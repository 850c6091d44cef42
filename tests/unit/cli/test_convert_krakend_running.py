"""KrakenD's configurations, converted and run on the embedded gateway with real backends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests

from request_callout.cli.demo.process import GatewayProcess
from tests.unit.cli.converting import convert
from tests.unit.gateway.stand_ins import Upstream, upstream

Running = Callable[..., str]

HOTEL = {"hotel_id": 25, "name": "Hotel California", "destination_id": 1034}
DESTINATION = {"destination_id": 1034, "destinations": ["LAX", "SFO", "OAK"]}
USER = {"id": 1, "name": "Leanne", "email": "l@example.com", "address": {"city": "Gwen", "zip": "9"}}
POST = {"id": 7, "userId": 1, "title": "a title"}


def serving(answers: Mapping[str, Any]) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers JSON by path, a number being a status of its own, and 404 for any other path."""

    def handle(request: BaseHTTPRequestHandler) -> None:
        found = answers.get(request.path, 404)
        status, said = (found, {"secret": "of an error"}) if isinstance(found, int) else (200, found)
        body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return handle


@pytest.fixture
def backends() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture
def running(backends: Upstream, tmp_path: Path) -> Iterator[Running]:
    """Converts a KrakenD endpoint, starts the embedded gateway with it, and gives back the gateway's address."""
    with ExitStack() as stack:

        def start(*endpoints: dict[str, Any], **answers: Any) -> str:
            backends.handler = serving({f"/{name.replace('__', '/')}": one for name, one in answers.items()})
            output = tmp_path / "kong.yml"
            document = {"version": 3, "timeout": "20s", "host": [backends.url], "endpoints": endpoints}
            result = convert("-", "--output", output, text=json.dumps(document))
            assert result.exit_code == 0, result.output
            return stack.enter_context(GatewayProcess(output)).proxy

        yield start


def targets(backends: Upstream) -> list[str]:
    return sorted(one.target for one in backends.requests)


def test_two_backends_are_merged(running: Running, backends: Upstream) -> None:
    """The documented example: the fields of one backend, and those of another in a group."""
    merge = {
        "endpoint": "/users/{user}",
        "backend": [
            {"url_pattern": "/users/{user}", "mapping": {"email": "personal_email"}},
            {"url_pattern": "/posts/{user}", "group": "last_post"},
        ],
    }
    proxy = running(merge, users__1=USER, posts__1=POST)
    answer = requests.get(f"{proxy}/users/1")
    expected = {name: value for name, value in USER.items() if name != "email"}
    assert answer.status_code == 200
    assert answer.json() == {**expected, "personal_email": USER["email"], "last_post": POST}
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["X-Callouts-Completed"] == "true"
    assert targets(backends) == ["/posts/1", "/users/1"]
    assert requests.get(f"{proxy}/users/1/more").status_code == 404
    assert requests.post(f"{proxy}/users/1").status_code == 404


def test_a_merge_with_a_failed_backend_is_partial(running: Running) -> None:
    """With a backend that fails the others' fields are the answer, and a header tells; of the error nothing is seen."""
    merge = {
        "endpoint": "/users/{user}",
        "backend": [{"url_pattern": "/users/{user}"}, {"url_pattern": "/posts/{user}"}],
    }
    proxy = running(merge, users__1=USER, posts__1=503, users__2=202, posts__2=404)
    partial = requests.get(f"{proxy}/users/1")
    assert (partial.status_code, partial.json()) == (200, USER)
    assert partial.headers["X-Callouts-Completed"] == "false"
    assert requests.get(f"{proxy}/users/2").status_code == 500


def test_a_sequence_uses_what_came_before(running: Running, backends: Upstream) -> None:
    """The documented example: a hotel, and then the destinations that its answer names, merged."""
    sequence = {
        "endpoint": "/hotel-destinations/{id}",
        "backend": [{"url_pattern": "/hotels/{id}"}, {"url_pattern": "/destinations/{resp0_destination_id}"}],
        "extra_config": {"proxy": {"sequential": True}},
    }
    proxy = running(sequence, hotels__25=HOTEL, destinations__1034=DESTINATION)
    answer = requests.get(f"{proxy}/hotel-destinations/25")
    assert (answer.status_code, answer.json()) == (200, {**HOTEL, **DESTINATION})
    assert [one.target for one in backends.requests] == ["/hotels/25", "/destinations/1034"]


def test_a_sequence_ends_with_the_backend_that_fails(running: Running, backends: Upstream) -> None:
    """After a failed backend the next is not called: what there is, is the answer; nothing, if it is the first."""
    sequence = {
        "endpoint": "/s/{id}",
        "backend": [{"url_pattern": "/a/{id}"}, {"url_pattern": "/b"}, {"url_pattern": "/c"}],
        "extra_config": {"proxy": {"sequential": True}},
    }
    proxy = running(sequence, a__1={"a": 1}, b=500, c={"c": 3}, a__2=500)
    partial = requests.get(f"{proxy}/s/1")
    assert (partial.status_code, partial.json(), partial.headers["X-Callouts-Completed"]) == (200, {"a": 1}, "false")
    assert requests.get(f"{proxy}/s/2").status_code == 500
    assert [one.target for one in backends.requests] == ["/a/1", "/b", "/a/2"]


def test_shapes(running: Running) -> None:
    """target, allow, deny, mapping and collections give what KrakenD's documents show for them."""
    endpoints: list[tuple[str, dict[str, Any]]] = [
        ("target", {"target": "data"}),
        ("allow", {"allow": ["id", "address.city", "gone.x"]}),
        ("deny", {"deny": ["email", "address.zip", "id.x"]}),
        ("list", {"is_collection": True, "mapping": {"collection": "posts"}}),
        ("safe", {"encoding": "safejson"}),
        ("text", {"encoding": "string"}),
    ]
    proxy = running(
        *({"endpoint": f"/{name}", "backend": [{"url_pattern": f"/{name}", **more}]} for name, more in endpoints),
        {
            "endpoint": "/array",
            "output_encoding": "json-collection",
            "backend": [{"url_pattern": "/list", "is_collection": True}],
        },
        target={"apiVersion": "2.0", "data": {"totalItems": 800, "items": []}},
        allow=USER,
        deny=USER,
        list=[POST, {}],
        safe=[1, 2],
        text="Hello World!",
    )
    got = {name: requests.get(f"{proxy}/{name}").json() for name in [*dict(endpoints), "array"]}
    assert got == {
        "target": {"totalItems": 800, "items": []},
        "allow": {"id": 1, "address": {"city": "Gwen"}},
        "deny": {"id": 1, "name": "Leanne", "address": {"city": "Gwen"}},
        "list": {"posts": [POST, {}]},
        "safe": {"collection": [1, 2]},
        "text": {"content": "Hello World!"},
        "array": [POST, {}],
    }


def test_what_the_client_sends_on(running: Running, backends: Upstream) -> None:
    """Backends get the parameters and headers that the endpoint lists, those that the client sent, and the body."""
    listed = {
        "endpoint": "/e",
        "method": "POST",
        "input_query_strings": ["page", "size"],
        "input_headers": ["X-User", "X-Absent"],
        "backend": [{"url_pattern": "/b?fixed=1"}],
    }
    proxy = running(listed)
    backends.handler = None
    backends.answer = (201, [], b'{"ok": true}')
    answer = requests.post(f"{proxy}/e?page=2&page=3&evil=1", json={"a": 1}, headers={"X-User": "u", "X-Other": "o"})
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    [request] = backends.requests
    assert (request.method, request.target) == ("POST", "/b?fixed=1&page=2&page=3")
    assert json.loads(request.body) == {"a": 1}
    assert [request.header(name) for name in ("X-User", "X-Absent", "X-Other")] == ["u", None, None]


def test_no_op_passes_the_response_on(running: Running, backends: Upstream) -> None:
    """With no-op the client gets the backend's status, headers and body as they are."""
    proxy = running({"endpoint": "/raw/{id}", "output_encoding": "no-op", "backend": [{"url_pattern": "/u/{id}"}]})
    backends.handler = None
    backends.answer = (418, [("X-From", "backend")], b"tea")
    answer = requests.get(f"{proxy}/raw/7?a=1")
    assert (answer.status_code, answer.text, answer.headers["X-From"]) == (418, "tea", "backend")
    assert targets(backends) == ["/u/7"]
