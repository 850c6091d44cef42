"""``request-callout doctor`` on the recorded Admin API of a Kong 3.9.1, changed in one thing at a time.

The recording shows how Kong answers, with the schema that it was given then (``dump-0.1.0.json``). The tests let it
answer with today's in its place, so a new field asks for no new recording.
"""

from __future__ import annotations

import copy
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from request_callout import __version__
from request_callout.cli import main
from request_callout.cli.demo.process import GatewayProcess
from request_callout.config.kong_schema import plugin_info
from tests.unit.server.processes import Start, start

__all__ = ["start"]
Answers = dict[str, Any]
RECORDED: Answers = json.loads(Path(__file__).with_name("kong-3.9.1.json").read_text())
GIVEN: dict[str, Any] = json.loads(Path(__file__).with_name("dump-0.1.0.json").read_text())["Plugins"][0]
SCHEMA = "/schemas/plugins/request-callout"


def answered(given: dict[str, Any]) -> dict[str, Any]:
    """A schema that a plugin server dumps, as Kong answers with it."""
    protocols, config = copy.deepcopy(given["fields"])
    return {"fields": [protocols, {"config": {**config["config"], "required": True}}], "entity_checks": []}


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    """What the Admin API of a Kong with this version answers; the plugin server's socket is on another host."""
    result = copy.deepcopy(RECORDED)
    result[SCHEMA] = answered(plugin_info()["Schema"])
    result["/"]["plugins"]["available_on_server"]["request-callout"]["version"] = __version__
    result["/"]["configuration"]["pluginservers"][0]["socket"] = str(tmp_path / "elsewhere" / "kong.sock")
    return result


@pytest.fixture
def admin(httpserver: HTTPServer, answers: Answers) -> str:
    """The URL of a stand-in that gives these answers; an integer is an answer with that status."""

    def answer(request: Request) -> Response:
        found = answers.get(request.path, 404)
        if request.headers.get("Kong-Admin-Token", "") != answers.get("token", ""):
            found = 401
        status, body = (found, {"message": "no"}) if isinstance(found, int) else (200, found)
        return Response(json.dumps(body), status, content_type="application/json")

    httpserver.expect_request(re.compile("/.*")).respond_with_handler(answer)
    return httpserver.url_for("").rstrip("/")


def examine(admin: str, *options: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    """The status, the findings by their check, and all that was printed."""
    command = [sys.executable, "-m", "request_callout", "doctor", "--admin", admin, "--output", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    findings = {one["check"]: one for one in json.loads(done.stdout)["findings"]}
    return done.returncode, findings, done.stdout + done.stderr


def test_all_is_well(admin: str, answers: Answers) -> None:
    """On a Kong that is set up as the README says nothing is wrong, and secrets of its configuration are not shown."""
    answers["/"]["configuration"]["pg_password"] = "planted-password"
    status, findings, printed = examine(admin)
    assert {name: one for name, one in findings.items() if one["level"] in ("warning", "problem")} == {}
    assert status == 0
    assert findings["version"]["message"] == "Kong 3.9.1"
    assert findings["protocol"]["message"] == "ProtoBuf:1"
    assert findings["order (route people)"]["message"] == "before it: key-auth; after it: nothing"
    assert "planted" not in printed


def test_how_kong_answers_with_a_schema() -> None:
    """What the other tests take for Kong's answer is what Kong has made of the schema it was given."""
    assert answered(GIVEN["Schema"]) == RECORDED[SCHEMA]
    assert RECORDED["/"]["plugins"]["available_on_server"]["request-callout"]["version"] == GIVEN["Version"]


def test_an_older_schema_than_this_versions_is_another(admin: str, answers: Answers) -> None:
    """A description may differ, a field may not."""
    config = answers[SCHEMA]["fields"][1]["config"]
    config["fields"][0]["callouts"]["description"] = "Older words."
    assert examine(admin)[1]["schema"]["level"] == "ok"
    config["fields"].append({"gone": {"type": "string"}})
    assert "config.gone is in Kong's only" in examine(admin)[1]["schema"]["message"]


def _start_cmd(answers: Answers) -> None:
    answers["/"]["configuration"]["pluginservers"][0]["start_command"] = "/opt/request-callout serve"


def _root_500(answers: Answers) -> None:
    answers["/"] = 500


def _not_loaded(answers: Answers) -> None:
    del answers["/"]["plugins"]["available_on_server"]["request-callout"]
    answers["/plugins/enabled"] = {"enabled_plugins": ["key-auth"]}
    answers[SCHEMA] = 404


def _old_version(answers: Answers) -> None:
    answers["/"]["plugins"]["available_on_server"]["request-callout"]["version"] = "0.0.1"


def _old_schema(answers: Answers) -> None:
    config = answers[SCHEMA]["fields"][1]["config"]
    config["fields"] = [field for field in config["fields"] if "deadline_ms" not in field]


def _msgpack(answers: Answers) -> None:
    answers["/"]["configuration"]["pluginservers"][0]["protocol"] = "MsgPack:1"


def _no_servers(answers: Answers) -> None:
    answers["/"]["configuration"]["pluginserver_names"] = {}
    answers["/"]["configuration"]["pluginservers"] = {}


def _small_buffer(answers: Answers) -> None:
    del answers["/"]["configuration"]["nginx_http_client_body_buffer_size"]


def _enterprise(answers: Answers) -> None:
    answers["/"] |= {"edition": "enterprise", "version": "3.10.0.0-enterprise-edition"}


def _old_kong(answers: Answers) -> None:
    answers["/"]["version"] = "3.5.0"


def _ours(answers: Answers) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in answers["/plugins"]["data"] if one["name"] == "request-callout")
    return found


def _bad_configuration(answers: Answers) -> None:
    _ours(answers)["config"]["callouts"][0]["request"]["url"] = "ftp://a"


def _transformer(answers: Answers) -> None:
    other = {"name": "request-transformer", "config": {}, "enabled": True, "route": None, "service": None}
    answers["/plugins"]["data"].append(other)


def _on_another_route(answers: Answers) -> None:
    other = {"name": "request-termination", "config": {}, "enabled": True, "route": {"id": "another"}}
    answers["/plugins"]["data"].append(other)


def _proxy(answers: Answers) -> None:
    answers["/"] = {"args": {}}


@pytest.mark.parametrize(
    ("change", "check", "level", "says", "status"),
    [
        (_start_cmd, "known fault", "warning", "Kong/kong#14260", 1),
        (_root_500, "known fault", "warning", "Kong/kong#14260", 1),
        (_not_loaded, "plugin", "problem", "has not loaded", 2),
        (_old_version, "plugin version", "warning", "Kong has 0.0.1", 1),
        (_old_schema, "schema", "problem", "config.deadline_ms is not in Kong's", 2),
        (_msgpack, "guard", "problem", "MsgPack fails open", 2),
        (_no_servers, "plugin server", "problem", "no plugin server is configured", 2),
        (_small_buffer, "body buffer", "warning", "is 8k", 1),
        (_enterprise, "version", "problem", "has a request-callout of its own", 2),
        (_old_kong, "known fault", "warning", "Kong/kong#12364", 1),
        (_bad_configuration, "configuration (route people)", "problem", "config.callouts[1].request.url", 2),
        (_transformer, "order (route people)", "warning", "request-transformer changes the request", 1),
        (_on_another_route, "order (route people)", "ok", "after it: nothing", 0),
        (_proxy, "Admin API", "problem", "not as Kong does", 2),
    ],
)
def test_what_is_found(
    admin: str, answers: Answers, change: Callable[[Answers], None], check: str, level: str, says: str, status: int
) -> None:
    """Each thing that is wrong is found, with what to do, and sets the status."""
    change(answers)
    found_status, findings, _ = examine(admin)
    assert findings[check]["level"] == level, findings[check]
    assert says in findings[check]["message"]
    assert (level == "ok") == (findings[check]["remedy"] is None)
    assert found_status == status


def test_token(admin: str, answers: Answers) -> None:
    """A token for the Admin API is sent as a header; without it, that is what is said."""
    answers["token"] = "planted-token"
    status, findings, _ = examine(admin)
    assert (status, findings["Admin API"]["message"]) == (2, "answers 401: not allowed")
    status, _, printed = examine(admin, "--header", "Kong-Admin-Token: planted-token")
    assert status == 0
    assert "planted" not in printed


def test_nobody_there(unused_tcp_port: int) -> None:
    """An Admin API that is not there is one problem."""
    status, findings, _ = examine(f"http://127.0.0.1:{unused_tcp_port}")
    assert (status, list(findings)) == (2, ["Admin API"])
    assert "refused" in findings["Admin API"]["message"]


@pytest.fixture
def unused_tcp_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_plugin_server_is_asked(admin: str, answers: Answers, start: Start, tmp_path: Path) -> None:
    """Where the socket is on this host, the server is asked, and the socket's mode is told."""
    path = str(tmp_path / "kong.sock")
    answers["/"]["configuration"]["pluginservers"][0]["socket"] = path
    running = start("request_callout", "serve", "--socket", path)
    running.wait_for("listening")
    status, findings, _ = examine(admin)
    assert status == 0
    assert "mode 600" in findings["socket"]["message"]
    assert findings["plugin server answers"]["level"] == "ok"


def test_the_embedded_gateway(tmp_path: Path) -> None:
    """On the embedded gateway all that it tells is well."""
    (tmp_path / "kong.yml").write_text('_format_version: "3.0"')
    with GatewayProcess(tmp_path / "kong.yml") as gateway:
        status, findings, _ = examine(gateway.admin)
    assert status == 0, findings
    assert findings["schema"]["level"] == "ok"
    assert findings["configurations"]["message"].startswith("none yet")


def test_a_port_of_something_else_is_told_in_one_line() -> None:
    """What greets with its own words, as SSH does, is told not to speak HTTP; its words are not repeated."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        status, findings, printed = examine(f"http://127.0.0.1:{other.getsockname()[1]}")
        thread.join()
    assert status == 2
    assert findings["Admin API"]["message"] == "can't be reached: what listens there does not speak HTTP"
    assert "SSH" not in printed


def test_an_address_without_scheme_is_told_how_to_write_it() -> None:
    """The address alone, as in kong.conf's admin_listen, is refused with an example."""
    done = subprocess.run(
        [sys.executable, "-m", "request_callout", "doctor", "--admin", "127.0.0.1:8001"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "write it as http://127.0.0.1:8001" in " ".join(done.stderr.split())


HOSTILE = "\x1b[31m\x1b]0;x\x07\u202e\n::error::x"


def test_a_token_goes_to_the_admin_api_alone(admin: str, answers: Answers) -> None:
    """A next page elsewhere is not asked for: the request would have the token of this Admin API."""
    seen: list[str] = []

    def elsewhere(request: Request) -> Response:
        seen.append(request.headers.get("Kong-Admin-Token", ""))
        return Response("{}")

    with HTTPServer() as other:
        other.expect_request("/steal").respond_with_handler(elsewhere)
        answers["token"] = "secret"
        answers["/plugins"] = {"data": [], "next": other.url_for("/steal")}
        examine(admin, "--header", "Kong-Admin-Token: secret")
    assert seen == []


def test_nothing_that_kong_answers_does_anything_to_a_terminal(admin: str, answers: Answers) -> None:
    """Names and values are shown with their control characters escaped."""
    answers["/plugins"] = {"data": [{**_ours(answers), "id": HOSTILE, "route": {"id": HOSTILE}}]}
    answers["/"]["version"] = f"3.9.1{HOSTILE}"
    answers["/"]["configuration"]["untrusted_lua"] = HOSTILE
    told = CliRunner().invoke(main, ["doctor", "--admin", admin]).output
    assert "\\x1b[31m" in told
    assert [line for line in told.splitlines() if not line.isprintable() or line.startswith("::")] == []


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", {"version": 3, "configuration": [1], "plugins": "x"}),
        ("/plugins", {"data": [{"name": "request-callout", "config": [1], "route": "x", "service": 3}], "next": 5}),
        ("/routes", {"data": [{"id": {}}]}),
    ],
)
def test_what_no_kong_answers_is_a_finding(admin: str, answers: Answers, path: str, answer: Any) -> None:
    """Whatever an Admin API answers, there is a finding and no traceback."""
    answers[path] = answer
    told = CliRunner().invoke(main, ["doctor", "--admin", admin])
    assert (told.exit_code, "Traceback" in told.output) == (2, False)
    assert isinstance(told.exception, SystemExit)


def test_an_answer_that_nests_too_deep_is_no_json(httpserver: HTTPServer) -> None:
    """JSON that overflows the decoder is as good as none."""
    httpserver.expect_request("/").respond_with_data("[" * 200_000)
    status, _, told = examine(httpserver.url_for(""))
    assert (status, "not as Kong does" in told) == (2, True)
