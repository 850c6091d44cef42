"""``request-callout try``: what is told of a request, recordings, and errors."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from request_callout.cli.demo.services import CLIENT_ID, CLIENT_SECRET, StandIns
from request_callout.cli.try_.command import read_request
from request_callout.cli.try_.request import BadRequest
from tests.unit.cli.try_.trying import CLIENT_TOKEN, attempt, configuration

CURL = (
    f"curl 'https://api.example.com/people/me?id=1&api_key=planted-query-key' -H 'Authorization: Bearer {CLIENT_TOKEN}'"
    ' -H \'X-Kept: yes\' --json \'{"b": 1, "password": "planted-password"}\''
)
PLANTED = (CLIENT_SECRET, CLIENT_TOKEN, "planted-password", "planted-query-key")


@pytest.fixture
def stand_ins() -> Iterator[StandIns]:
    with StandIns({}) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, stand_ins: StandIns) -> Path:
    """A folder with a configuration for the stand-ins."""
    (tmp_path / "kong.yml").write_text(configuration(stand_ins.addresses, CLIENT_ID))
    return tmp_path


def test_all_is_told(folder: Path) -> None:
    """The document has the callouts in time, the context, the upstream's diff and the answer, and no secrets."""
    done = attempt(folder, "kong.yml", "--request", CURL, "--output", "json", TRY_CLIENT_SECRET=CLIENT_SECRET)
    assert done.returncode == 0, done.stderr
    told = orjson.loads(done.stdout)
    assert told["outcome"] == "answered"
    assert sorted(one["name"] for one in told["callouts"]) == ["posts", "token", "user"]
    assert {(one["result"], one["status"]) for one in told["callouts"]} == {("ok", 200)}
    assert told["waits_for"]["posts"] == ["user"]
    by_name = {one["name"]: one for one in told["callouts"]}
    assert by_name["posts"]["started_ms"] >= by_name["user"]["ended_ms"] - 1
    assert [attempt["status"] for attempt in by_name["user"]["attempts"]] == [200]
    assert told["context"]["user"]["response"]["body"]["username"] == "Bret"
    diff = told["upstream"]["diff"]
    assert "+x-user: Bret" in diff
    assert "+?posts=2" in diff
    assert " x-kept: yes" in diff
    assert "-POST /people/me" in diff
    assert "+POST /internal/me" in diff
    changed = [line for line in diff if "authorization" in line]
    assert [line[0] for line in changed] == ["-", "+"]
    assert all("redacted-" in line for line in changed)
    assert told["answer"]["status"] == 200
    assert told["answer"]["by"] == "upstream"
    for secret in PLANTED:
        assert secret not in done.stdout + done.stderr


def test_text(folder: Path) -> None:
    """The text for people has the same parts, and no secrets."""
    done = attempt(folder, "kong.yml", "--request", CURL, TRY_CLIENT_SECRET=CLIENT_SECRET)
    assert done.returncode == 0, done.stderr
    for part in (
        "callouts in time",
        "waited for user",
        "context",
        "+++ upstream request",
        "answer: 200, by the upstream",
    ):
        assert part in done.stdout
    for secret in PLANTED:
        assert secret not in done.stdout + done.stderr


def test_the_upstream_sees_https(folder: Path, stand_ins: StandIns) -> None:
    """A request to https is told to have come over https, whatever the gateway itself listens on."""
    attempt(folder, "kong.yml", "--request", CURL, TRY_CLIENT_SECRET=CLIENT_SECRET)
    (arrived,) = [one for one in stand_ins.take_arrivals() if one.service == "upstream"]
    assert arrived.header("X-Forwarded-Proto") == "https"
    assert arrived.header("X-Forwarded-Port") == "443"
    assert arrived.header("X-Forwarded-Host") == "api.example.com"


def test_no_upstream(folder: Path, stand_ins: StandIns) -> None:
    """With --no-upstream the service is not called, and what it would have got is the answer."""
    done = attempt(
        folder, "kong.yml", "--request", CURL, "--no-upstream", "--output", "json", TRY_CLIENT_SECRET=CLIENT_SECRET
    )
    told = orjson.loads(done.stdout)
    assert done.returncode == 0
    assert not [one for one in stand_ins.take_arrivals() if one.service == "upstream"]
    assert orjson.loads(told["answer"]["body"])["method"] == "POST"
    assert "+x-user: Bret" in told["upstream"]["diff"]


def test_record_and_replay(tmp_path: Path) -> None:
    """A recording without secrets gives the same answer when nobody listens any more, and needs no credentials."""
    with StandIns({}) as stand_ins:
        (tmp_path / "kong.yml").write_text(configuration(stand_ins.addresses, CLIENT_ID))
        options = ["--record", "rec.har", "--output", "json"]
        recorded = attempt(tmp_path, "kong.yml", "--request", CURL, *options, TRY_CLIENT_SECRET=CLIENT_SECRET)
    assert recorded.returncode == 0, recorded.stderr
    text = (tmp_path / "rec.har").read_text()
    for secret in PLANTED:
        assert secret not in text
    assert stat.S_IMODE((tmp_path / "rec.har").stat().st_mode) == 0o600
    log = orjson.loads(text)["log"]
    assert (log["version"], log["_requestCallout"], len(log["entries"])) == ("1.2", 1, 4)
    options = ["--replay", "rec.har", "--output", "json"]
    replayed = attempt(tmp_path, "kong.yml", "--request", CURL, *options, TRY_CLIENT_SECRET="another")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    before, after = orjson.loads(recorded.stdout), orjson.loads(replayed.stdout)
    assert _unnumbered(after["answer"]["body"]) == _unnumbered(before["answer"]["body"])
    assert after["context"].keys() == before["context"].keys()
    assert "+x-user: Bret" in after["upstream"]["diff"]


def _unnumbered(text: str) -> str:
    return re.sub(r"redacted-\d+", "redacted", text)


def test_unmatched(folder: Path) -> None:
    """A request that is not in the recording is an error that says what differs."""
    attempt(folder, "kong.yml", "--request", CURL, "--record", "rec.har", TRY_CLIENT_SECRET=CLIENT_SECRET)
    other = CURL.replace("id=1", "id=2")
    done = attempt(
        folder,
        "kong.yml",
        "--request",
        other,
        "--replay",
        "rec.har",
        "--output",
        "json",
        TRY_CLIENT_SECRET=CLIENT_SECRET,
    )
    told = orjson.loads(done.stdout)
    assert (done.returncode, told["outcome"]) == (1, "not recorded")
    assert "/users/2 is not in the recording" in told["problems"][0]
    assert "/users/1: the scheme, host or path differs" in told["problems"][0]


def test_callee_down(tmp_path: Path) -> None:
    """A callout that ends the request gives status 3, its reason and the request's log lines."""
    with StandIns({}) as stand_ins:
        (tmp_path / "kong.yml").write_text(configuration(stand_ins.addresses, CLIENT_ID))
    done = attempt(tmp_path, "kong.yml", "--request", CURL, "--output", "json", TRY_CLIENT_SECRET=CLIENT_SECRET)
    told = orjson.loads(done.stdout)
    assert (done.returncode, told["outcome"], told["answer"]["status"]) == (3, "failed", 400)
    assert any("callout token" in problem for problem in told["problems"])
    assert any("callout token" in line for line in told["log"])
    assert told["upstream"] is None


def test_no_route(folder: Path) -> None:
    """A request that no route takes gives status 1 and the routes that there are."""
    done = attempt(folder, "kong.yml", "--request", "curl http://elsewhere/", TRY_CLIENT_SECRET=CLIENT_SECRET)
    assert done.returncode == 1
    assert "no route takes GET http://elsewhere/" in done.stdout
    assert "people; hosts api.example.com; paths /people" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--request", "curl --digest http://a/"], "--digest of curl is not supported"),
        (["--request", "curl 'http://a/"], "column 6: a single quote that is not closed"),
        (["--request", "nothing.txt"], "no curl command, and no file that can be read"),
        (["--request", '{"log": {}}'], "no HAR file: log.entries has to be a list"),
        (["--request", "{"], "no HAR file"),
        (["--request", "http://a b/"], "blank or control character"),
        (["--request", "http://a/", "--replay", "kong.yml"], "is no JSON"),
        (["--request", "http://a/", "--serve-option=--no-such"], "ended at its start: No such option"),
        (["--request", "http://a/", "--entry", "2"], "--entry is for HAR files only"),
    ],
)
def test_mistakes(folder: Path, arguments: list[str], message: str) -> None:
    """A mistake gives status 1, one message, and no traceback."""
    done = attempt(folder, "kong.yml", *arguments, TRY_CLIENT_SECRET=CLIENT_SECRET)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "header", ["Cookie: session=" + "planted-cookie" * 3000, "planted-cookie: 1"], ids=["long", "many"]
)
def test_a_request_that_is_too_large(folder: Path, header: str) -> None:
    """What the gateway can't read is told with what it can, without a traceback, and without quoting it."""
    often = 1 if len(header) > 1000 else 33000
    (folder / "request").write_text("curl http://api.example.com/people " + f"-H '{header}' " * often)
    done = attempt(folder, "kong.yml", "--request", "request", TRY_CLIENT_SECRET=CLIENT_SECRET)
    assert done.returncode == 1
    assert "each of its headers may have 32768 bytes, and it may have 32768 headers" in done.stderr
    assert "Traceback" not in done.stderr
    assert "planted" not in done.stderr


@pytest.mark.parametrize(
    ("source", "named"),
    [("/dev/zero", "/dev/zero: has"), ("curl http://h/ -d @/dev/zero", "-d names the file /dev/zero, which has")],
)
def test_a_file_without_an_end_is_not_read(monkeypatch: pytest.MonkeyPatch, source: str, named: str) -> None:
    """A device, or any file that is too large to be a request, is told by its name."""
    monkeypatch.setattr("request_callout.cli.try_.request.MOST_BYTES", 2 * 1024 * 1024)
    with pytest.raises(BadRequest, match=f"{named} more than 2 MiB, and is not read"):
        read_request(source, None)


def test_wrong_configuration(folder: Path) -> None:
    """A configuration that is wrong is told as by validate, and nothing is sent."""
    wrong = (folder / "kong.yml").read_text().replace("method: POST", "methood: POST")
    (folder / "wrong.yml").write_text(wrong)
    done = attempt(folder, "wrong.yml", "--request", CURL, TRY_CLIENT_SECRET=CLIENT_SECRET)
    assert done.returncode == 1
    assert "methood" in done.stderr
    assert "Traceback" not in done.stderr
