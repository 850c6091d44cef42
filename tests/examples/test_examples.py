"""Every example, run as it stands in its folder."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import requests
import yaml

from request_callout.cli.demo.command import environment
from request_callout.cli.demo.scenarios import SCENARIOS
from request_callout.cli.demo.services import FIXED_PORTS, MOCKY_TOKEN, StandIns
from tests.examples.conftest import EXAMPLES
from tests.servers.redis_server import running

Example = Callable[[str], str]
BEARER = {"Authorization": f"Bearer {MOCKY_TOKEN}"}


def services(stand_ins: StandIns, *names: str) -> list[str]:
    """The targets that these stand-ins were asked for, in order."""
    return [arrival.target for arrival in stand_ins.take_arrivals() if arrival.service in names]


def test_every_example_is_tested_here() -> None:
    """No folder in examples/ is without a test in this package; that of ``monitoring`` is beside the metrics' own."""
    text = "".join(module.read_text() for module in Path(__file__).parent.glob("test_*.py"))
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders - {"monitoring"} == set(re.findall(r'example\("([a-z0-9-]+)"\)', text))
    assert all((EXAMPLES / folder / "README.md").is_file() for folder in folders)


def test_examples_are_the_documents_configurations() -> None:
    """An example that comes from a document differs from it in the addresses only."""
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in FIXED_PORTS.items()}
    for scenario in SCENARIOS:
        declared = yaml.safe_load((EXAMPLES / scenario.example / "kong.yml").read_text())
        routes = {
            path: route for service in declared["services"] for route in service["routes"] for path in route["paths"]
        }
        for path in scenario.plugins:
            assert routes[path]["plugins"] == [yaml.safe_load(scenario.configuration(path, addresses))], scenario.title


def test_environment_file_is_the_one_of_the_demo() -> None:
    """The .env of the token example sets the variables that the demo sets."""
    lines = (EXAMPLES / "token-injection" / ".env").read_text().split()
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in FIXED_PORTS.items()}
    assert dict(line.split("=", 1) for line in lines) == environment(addresses)


def test_aggregation(example: Example, stand_ins: StandIns) -> None:
    """Two answers become one, and the upstream is not called."""
    answer = requests.get(example("aggregation") + "/callout-aggregate")
    assert answer.status_code == 200
    assert answer.json()["origin"] == f"{stand_ins.addresses['httpbin']}/anything"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.json()["uuid"])
    assert sorted(services(stand_ins, *FIXED_PORTS)) == ["/anything", "/uuid"]


def test_request_collapsing(example: Example, stand_ins: StandIns) -> None:
    """Two answers become one."""
    answer = requests.get(example("request-collapsing") + "/collapse")
    assert answer.status_code == 200
    assert answer.json()["origin"] == f"{stand_ins.addresses['httpbin']}/anything"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.json()["uuid"])


def test_orchestration(example: Example, stand_ins: StandIns) -> None:
    """The user, and the posts of that user only."""
    answer = requests.get(example("orchestration") + "/callout-orchestrate")
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, "application/json")
    assert answer.json()["user"]["username"] == "Bret"
    assert [post["userId"] for post in answer.json()["posts"]] == [1, 1]
    assert services(stand_ins, *FIXED_PORTS) == ["/users/1", "/posts?userId=1"]


def test_token_injection(example: Example, stand_ins: StandIns) -> None:
    """A token fetched with credentials from either vault reaches the upstream."""
    proxy = example("token-injection")
    for path in ("/callout-auth", "/callout-auth-env"):
        shown = requests.get(proxy + path).json()["headers"]["Authorization"]
        token, got = stand_ins.take_arrivals()
        assert (token.service, token.method, token.target) == ("auth", "POST", "/oauth/token")
        assert got.header("Authorization") == shown
        assert re.fullmatch(r"Bearer access-[0-9a-f]{32}", shown)
        assert shown.removeprefix("Bearer ").encode() in token.answer


def test_token_injection_without_credentials(example: Example, stand_ins: StandIns) -> None:
    """A token that needs no credentials, asked for with the client's query, reaches the upstream."""
    answer = requests.get(example("token-injection") + "/token?a=1")
    assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
    assert [target.partition("?")[2] for target in services(stand_ins, "mocky")] == ["a=1"]


def test_retry(example: Example, stand_ins: StandIns) -> None:
    """Two failures are not seen by the client."""
    answer = requests.get(example("retry") + "/retry")
    assert answer.status_code == 200
    assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
    assert [arrival.status for arrival in stand_ins.take_arrivals() if arrival.service == "flaky"] == [503, 503, 200]


def test_retries_with_backoff(example: Example, stand_ins: StandIns) -> None:
    """Two failures are not seen by the client, but for the time that the pauses take."""
    answer = requests.get(example("retries-with-backoff") + "/retries")
    assert answer.status_code == 200
    assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
    assert answer.json()["headers"]["X-Retries"] == "2"
    assert [arrival.status for arrival in stand_ins.take_arrivals() if arrival.service == "flaky"] == [503, 503, 200]


def test_circuit_breaker(example: Example, stand_ins: StandIns) -> None:
    """A service that keeps failing is left alone, and every request is answered all the same."""
    url = example("circuit-breaker") + "/shop"
    told: list[str] = []
    while "circuit_open" not in told:  # each worker process has its own circuits
        assert len(told) < 100
        answer = requests.get(url)
        assert answer.status_code == 200
        assert answer.json()["headers"]["X-Items"] == "0"
        told.append(answer.json()["headers"]["X-Recommendations"])
    assert set(told) == {"code", "circuit_open"}
    assert services(stand_ins, "httpbin") == ["/status/503"] * told.count("code")
    assert told.count("code") >= 3


def test_hedging(example: Example, replaced: dict[str, str], stand_ins: StandIns) -> None:
    """The second attempt is answered while the first still waits."""
    replaced["/slow/2"] = "/slow/10"
    answer = requests.get(example("hedging") + "/hedged")
    assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
    assert answer.elapsed.total_seconds() < 9
    assert services(stand_ins, "flaky")[-1] == "/slow/10"


def test_deadline(example: Example, stand_ins: StandIns) -> None:
    """The client has its answer when the time is over, not when the services are done."""
    answer = requests.get(example("deadline") + "/deadline")
    assert (answer.status_code, answer.json()) == (504, {"message": "not in time"})
    assert 0.4 < answer.elapsed.total_seconds() < 8
    assert services(stand_ins, "upstream") == []


def test_oauth2_client_credentials(example: Example, stand_ins: StandIns) -> None:
    """Two callouts are sent with one token, which no one has asked for in the configuration's callouts."""
    url = example("oauth2-client-credentials") + "/authorized"
    for _ in range(2):
        answer = requests.get(url)
        assert (answer.status_code, answer.json()["headers"]["X-User-Name"]) == (200, "Bret")
        assert "Authorization" not in answer.json()["headers"]
    arrivals = stand_ins.take_arrivals()
    (token,) = (arrival for arrival in arrivals if arrival.service == "auth")
    sent = {arrival.header("Authorization") for arrival in arrivals if arrival.service == "jsonplaceholder"}
    assert sent == {"Bearer " + orjson.loads(token.answer)["access_token"]}
    assert (token.header("Authorization") or "").startswith("Basic ")
    assert token.body == b"grant_type=client_credentials&scope=users%3Aread"


def test_memory_cache(example: Example, stand_ins: StandIns) -> None:
    """Two requests of the client, one callout; another query is another entry."""
    proxy = example("memory-cache")
    for _ in range(2):
        answer = requests.get(proxy + "/cache")
        assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
    assert len(services(stand_ins, "mocky")) == 1
    requests.get(proxy + "/cache?other=1")
    assert len(services(stand_ins, "mocky")) == 1


def test_redis_cache(example: Example, replaced: dict[str, str], stand_ins: StandIns) -> None:
    """Two gateways, one token, kept for as long as it is valid; without Redis each request fetches its own."""
    with running() as redis:
        replaced["port: 6379"] = f"port: {redis.port}"
        proxies = [example("redis-cache") for _ in range(2)]
        answers = [requests.get(proxy + "/redis-cache") for proxy in 2 * proxies]
        (shown,) = {answer.json()["headers"]["Authorization"] for answer in answers}
        assert re.fullmatch(r"Bearer access-[0-9a-f]{32}", shown)
        assert services(stand_ins, "auth") == ["/oauth/token"]
        (key,) = redis.command("KEYS", "*")
        assert re.fullmatch(r"request-callout:[0-9a-f]{64}", key)
        valid_ms = (86400 - 30) * 1000
        assert 0.9 * valid_ms - 60_000 < redis.command("PTTL", key) <= valid_ms
        redis.kill()
        others = [requests.get(proxies[0] + "/redis-cache").json()["headers"]["Authorization"] for _ in range(2)]
        assert len({shown, *others}) == 3
        assert services(stand_ins, "auth") == 2 * ["/oauth/token"]


def test_stale_if_error(example: Example, replaced: dict[str, str], stand_ins: StandIns) -> None:
    """From the first answer of the service on there is one, although the service goes on failing."""
    replaced['ttl: "10"'] = 'ttl: "0.2"'
    url = example("stale-if-error") + "/stale"
    assert [requests.get(url).status_code for _ in range(2)] == [502, 502]
    asked: list[int] = []
    told: list[str] = []
    while len(asked) < 6:
        answer = requests.get(url)
        assert answer.status_code == 200
        assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
        asked += [arrival.status for arrival in stand_ins.take_arrivals() if arrival.service == "flaky"]
        told += [answer.json()["headers"]["X-Cache"]]
    assert asked == [503, 503, 200, 503, 503, 200]
    assert [one for one in told if one != "hit"] == ["miss", "stale", "stale", "miss"]


def test_custom_cache_key(example: Example, stand_ins: StandIns) -> None:
    """What one route keeps under a key of its own, another finds there."""
    proxy = example("custom-cache-key")
    for path in ("/cache-key", "/cache-key-look-up"):
        answer = requests.get(proxy + path)
        assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
    assert len(services(stand_ins, "mocky")) == 1


def test_dynamic_url(example: Example, stand_ins: StandIns) -> None:
    """The URL follows the client's path, by an expression, or its header, by a script."""
    proxy = example("dynamic-url")
    by_expression = requests.get(proxy + "/by-expression/2").json()["headers"]["X-User-Name"]
    by_script = requests.get(proxy + "/by-script", headers={"X-User-Id": "3"}).json()["headers"]["X-User-Name"]
    assert (by_expression, by_script) == ("Noor", "Ida")
    assert services(stand_ins, "jsonplaceholder") == ["/users/2", "/users/3"]


def test_form_body(example: Example, stand_ins: StandIns) -> None:
    """The token service gets a form, and the upstream its token."""
    answer = requests.get(example("form-body") + "/form-body")
    token = next(arrival for arrival in stand_ins.take_arrivals() if arrival.service == "auth")
    assert token.header("Content-Type") == "application/x-www-form-urlencoded"
    assert b"grant_type=client_credentials" in token.body.split(b"&")
    assert answer.json()["headers"]["Authorization"].startswith("Bearer access-")


def test_aggregation_respond(example: Example, stand_ins: StandIns) -> None:
    """Without a script the answer is that of the script: two answers become one, and the upstream is not called."""
    scripted = requests.get(example("aggregation") + "/callout-aggregate")
    by_script = sorted(services(stand_ins, *FIXED_PORTS))
    answer = requests.get(example("aggregation-respond") + "/aggregation-respond")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, scripted.headers["Content-Type"])
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.json()["uuid"])
    assert {**answer.json(), "uuid": 0} == {**scripted.json(), "uuid": 0}
    assert sorted(services(stand_ins, *FIXED_PORTS)) == by_script


def test_orchestration_respond(example: Example, stand_ins: StandIns) -> None:
    """Without a script the answer is that of the script: the user, and the posts of that user only."""
    scripted = requests.get(example("orchestration") + "/callout-orchestrate")
    by_script = services(stand_ins, *FIXED_PORTS)
    answer = requests.get(example("orchestration-respond") + "/orchestration-respond")
    assert answer.status_code == 200
    assert answer.json() == scripted.json()
    assert services(stand_ins, *FIXED_PORTS) == by_script


def test_partial_answer(example: Example) -> None:
    """What failed is null and the header says so; who wants all or nothing is answered by the service instead."""
    url = example("partial-answer") + "/partial-answer"
    answers = [requests.get(url) for _ in range(3)]
    got = [(one.json(), one.headers["X-Callouts-Completed"], one.headers["Cache-Control"]) for one in answers]
    part = {"name": "Leanne Graham", "token": None}
    assert got == 2 * [(part, "false", "no-store")] + [({**part, "token": MOCKY_TOKEN}, "true", "no-store")]
    answers = [requests.get(url + "?complete=yes") for _ in range(3)]
    assert ["url" in one.json() for one in answers] == [True, True, False]


def test_form_format(example: Example, stand_ins: StandIns) -> None:
    """The token service gets a form, the ticket service the client's form as multipart, the upstream the token."""
    answer = requests.post(example("form-format") + "/form-format", data={"note": "a & b"})
    assert answer.json()["headers"]["Authorization"].startswith("Bearer access-")
    token, ticket = (arrival for arrival in stand_ins.take_arrivals() if arrival.service != "upstream")
    assert token.header("Content-Type") == "application/x-www-form-urlencoded"
    assert b"grant_type=client_credentials" in token.body.split(b"&")
    assert (ticket.header("Content-Type") or "").startswith("multipart/form-data; boundary=")
    assert re.findall(rb'name="(.*)"\r\n\r\n(.*)\r\n', ticket.body) == [(b"note", b"a & b"), (b"reporter", b"gateway")]


def test_xml(example: Example, stand_ins: StandIns) -> None:
    """The service gets XML, and the client gets out of its XML what the answer names."""
    answer = requests.get(example("xml") + "/xml?topic=gateways")
    assert answer.json() == {
        "title": "Calls on the way",
        "first": "One request, many answers",
        "slides": 2,
        "items": [{"em": "side by side", "#text": "Why"}, ""],
    }
    (arrival,) = stand_ins.take_arrivals()
    assert (arrival.header("Content-Type"), arrival.body) == (
        "application/xml",
        b"<query><topic>gateways</topic></query>",
    )


def test_conditional_callout(example: Example, stand_ins: StandIns) -> None:
    """The posts are fetched if the client asks for them, for a user of Bremen; else they are null."""
    url = example("conditional-callout") + "/conditional-callout"
    for query, user, called in (("", "2", False), ("?posts", "3", False), ("?posts", "2", True)):
        answer = requests.get(url + query, headers={"X-User-Id": user})
        assert answer.status_code == 200
        asked = services(stand_ins, "jsonplaceholder")
        assert asked == [f"/users/{user}", *([f"/posts?userId={user}"] if called else [])]
        assert (answer.json()["posts"] is not None) == called
        assert all(post["userId"] == 2 for post in answer.json()["posts"] or [])


def test_fan_out(example: Example, stand_ins: StandIns) -> None:
    """Each user is looked up, and the answer has them in the client's order, with an error for one who is missing."""
    url = example("fan-out") + "/fan-out"
    answer = requests.post(url, json={"users": [3, 1, 99]})
    assert answer.json()["first"] == "Ida Lund"
    assert [one["body"].get("name") for one in answer.json()["users"]] == ["Ida Lund", "Leanne Graham", None]
    assert answer.json()["users"][2]["error"]["http_code"] == 404
    assert answer.headers["X-Callouts-Completed"] == "false"
    assert sorted(services(stand_ins, *FIXED_PORTS)) == ["/users/1", "/users/3", "/users/99"]
    answer = requests.post(url, json={"users": []})
    assert (answer.json()["users"], answer.headers["X-Callouts-Completed"]) == ([], "true")


def test_target_routing(example: Example, replaced: dict[str, str], stand_ins: StandIns) -> None:
    """The first user's request goes to one service, the second's to the other, each under the user's name."""
    for name in ("httpbin", "upstream"):
        replaced[f"{FIXED_PORTS[name]}"] = stand_ins.addresses[name].rpartition(":")[2]
    url = example("target-routing") + "/target-routing?q=1"
    for user in ("1", "2"):
        assert requests.get(url, headers={"X-User-Id": user}).json()["args"] == {"q": "1"}
    asked = [(one.service, one.target) for one in stand_ins.take_arrivals() if one.service != "jsonplaceholder"]
    assert asked == [("httpbin", "/anything/Bret?q=1"), ("upstream", "/anything/Noor?q=1")]


def test_auth_gate(example: Example, replaced: dict[str, str], stand_ins: StandIns) -> None:
    """Who is known gets through with the service's name for them; others, and all if the service is gone, do not."""
    url = example("auth-gate") + "/auth-gate"
    known = requests.get(url, headers={"X-User-Id": "2", "X-User-Name": "root"})
    assert known.json()["headers"]["X-User-Name"] == "Noor"
    stand_ins.take_arrivals()
    strangers = [requests.get(url, headers={"X-User-Id": who} if who else {}) for who in ("99", "../posts", "2?x", "")]
    replaced[stand_ins.addresses["jsonplaceholder"]] = "http://127.0.0.1:1"
    url = example("auth-gate") + "/auth-gate"
    refused = [*strangers, requests.get(url, headers={"X-User-Id": "2"})]
    assert [(one.status_code, one.json()) for one in refused] == 5 * [(403, {"message": "Forbidden"})]
    assert services(stand_ins, "upstream") == []


def test_header_echo(example: Example) -> None:
    """The response has the request's header under another name, and only if there was one."""
    url = example("header-echo") + "/mock/request"
    assert requests.get(url, headers={"X-Request-Echo": "Hello, world"}).headers["X-Response-Echo"] == "Hello, world"
    without = requests.get(url)
    assert without.status_code == 200
    assert "X-Response-Echo" not in without.headers


@contextmanager
def msgpack_server(path: Path) -> Iterator[None]:
    """A plugin server on MsgPack that is killed at the end."""
    command = [sys.executable, "-m", "request_callout", "serve", "--protocol", "msgpack", "--socket", str(path)]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                while client.connect_ex(str(path)):
                    assert process.poll() is None
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_msgpack_guard(example: Example, options: list[str], stand_ins: StandIns, tmp_path: Path) -> None:
    """When the server is killed the client gets 503 and the upstream nothing, until the server is back."""
    path = tmp_path / "s"
    options += ["--protocol", "msgpack", "--socket", str(path)]
    with msgpack_server(path):
        url = example("msgpack-guard") + "/guarded"
        answer = requests.get(url)
        assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
        assert services(stand_ins, "mocky", "upstream") != []
    for _ in range(3):
        answer = requests.get(url)
        assert (answer.status_code, answer.json()) == (503, {"message": "Service Unavailable"})
    assert services(stand_ins, "mocky", "upstream") == []
    with msgpack_server(path):
        answer = requests.get(url)
        assert answer.json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"


def test_msgpack_without_the_guard(example: Example, options: list[str], stand_ins: StandIns, tmp_path: Path) -> None:
    """What the guard is for: on MsgPack a request goes to the upstream without the plugin when the server is gone."""
    path = tmp_path / "s"
    options += ["--protocol", "msgpack", "--socket", str(path)]
    with msgpack_server(path):
        url = example("token-injection") + "/token"
        assert requests.get(url).json()["headers"]["Authorization"] == f"Bearer {MOCKY_TOKEN}"
    assert "Authorization" not in requests.get(url).json()["headers"]
