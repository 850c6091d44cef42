from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from request_callout.cache.store import CachedResponse
from request_callout.cli import main
from request_callout.config import model
from tests.servers.redis_cluster import cluster
from tests.servers.redis_sentinels import MASTER_NAME, sentinels
from tests.servers.redis_server import HOST, PASSWORD, USERNAME, RedisServer, SecureRedis, running, secure_redis
from tests.unit.cache.redis.reaching import RESPONSE, settings, store_of

PLUGIN = """_format_version: "3.0"
plugins:
- name: request-callout
  config:
    cache: {strategy: redis, redis: REDIS}
    callouts: [{name: auth, request: {url: "http://a"}}]
"""


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.command("FLUSHALL")
    return shared_server


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureRedis]:
    with secure_redis() as secure:
        yield secure


def run(*arguments: str, url: str | None = None, text: str = "") -> Result:
    """A command of ``request-callout cache``, which never ends in a traceback."""
    environment = {"REQUEST_CALLOUT_REDIS_URL": url, "REQUEST_CALLOUT_CA_FILE": None}
    result = CliRunner().invoke(main, ["cache", *arguments], env=environment, input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def on(server: RedisServer, *arguments: str, text: str = "") -> Result:
    return run(*arguments, url=f"redis://127.0.0.1:{server.port}", text=text)


def fill(server: RedisServer, **entries: CachedResponse) -> None:
    with store_of(settings(server.port)) as store:
        for key, response in entries.items():
            store.put(key, response, 60)


def keys(server: RedisServer) -> set[str]:
    return set(server.command("KEYS", "*"))


def listed(result: Result) -> dict[str, dict[str, object]]:
    assert result.exit_code == 0, result.output
    entries = [json.loads(line) for line in result.stdout.splitlines()]
    return {entry["key"]: entry for entry in entries}


ONE = replace(RESPONSE, callout="auth", plugin_id="p1")
TWO = replace(RESPONSE, callout="profile", plugin_id="p1", status=404)
THREE = replace(RESPONSE, callout="auth", plugin_id="p2")


def test_ls_tells_of_each_entry(server: RedisServer) -> None:
    """Each entry is listed with whose it is, its status, age, time left, size and whether it is fresh."""
    now = time.time()
    fill(server, new=replace(ONE, stored_at=now, fresh_s=50), old=replace(TWO, stored_at=now - 100, fresh_s=90))
    server.command("SET", "request-callout:other", "of another version", "PX", 5000)
    server.command("SET", "another's", "x")
    entries = listed(on(server, "ls", "--json"))
    assert entries.keys() == {"new", "old", "other"}
    new, old, other = entries["new"], entries["old"], entries["other"]
    assert (new["callout"], new["plugin_id"], new["status"], new["state"]) == ("auth", "p1", 200, "fresh")
    assert (old["callout"], old["plugin_id"], old["status"], old["state"]) == ("profile", "p1", 404, "stale")
    assert (other["callout"], other["status"], other["state"]) == (None, None, "unreadable")
    assert isinstance(old["age_s"], float)
    assert 100 <= old["age_s"] < 160
    assert isinstance(new["ttl_s"], float)
    assert 0 < new["ttl_s"] <= 60
    assert (new["size_bytes"], other["size_bytes"]) == (server.command("STRLEN", "request-callout:new"), 18)


def test_ls_is_a_table_for_people(server: RedisServer) -> None:
    """Without --json there is a heading and a line for each entry."""
    fill(server, new=replace(ONE, stored_at=time.time() - 7200), old=replace(TWO, fresh_s=0))
    heading, *rows = sorted(on(server, "ls").stdout.splitlines(), key=lambda line: "STATUS" not in line)
    assert heading.split() == ["STATUS", "STATE", "AGE", "LEFT", "BYTES", "CALLOUT", "PLUGIN", "KEY"]
    assert sorted(line.split()[-3:] for line in rows) == [["auth", "p1", "new"], ["profile", "p1", "old"]]
    assert any("120 m" in line for line in rows)
    assert {line.split()[1] for line in rows} == {"fresh", "stale"}


def test_ls_of_a_callout_or_plugin(server: RedisServer) -> None:
    """The filters of ls let through what is of both."""
    fill(server, one=ONE, two=TWO, three=THREE)
    assert listed(on(server, "ls", "--json", "--callout", "auth")).keys() == {"one", "three"}
    assert listed(on(server, "ls", "--json", "--plugin", "p1")).keys() == {"one", "two"}
    assert listed(on(server, "ls", "--json", "--plugin", "p2", "--callout", "auth")).keys() == {"three"}


def test_ls_of_nothing_is_nothing(server: RedisServer) -> None:
    """An empty cache is no error."""
    result = on(server, "ls")
    assert (result.output, result.exit_code) == ("", 0)


def test_ls_lists_more_than_a_batch(server: RedisServer) -> None:
    """Thousands of entries are all listed."""
    fill(server, one=ONE)
    script = (
        "local value = redis.call('GET', 'request-callout:one') "
        "for number = 1, 5000 do redis.call('SET', 'request-callout:' .. number, value) end"
    )
    server.command("EVAL", script, 0)
    entries = listed(on(server, "ls", "--json"))
    assert entries.keys() == {"one", *map(str, range(1, 5001))}


def test_a_lease_is_no_entry(server: RedisServer) -> None:
    """Leases are neither listed nor purged."""
    with store_of(settings(server.port)) as store:
        assert store.lease("k", 60) is not None
    assert listed(on(server, "ls", "--json")) == {}
    assert on(server, "purge", "--yes").output == "0 entries deleted\n"
    assert len(keys(server)) == 1


def test_nothing_acts_on_the_terminal(server: RedisServer) -> None:
    """Control characters in what is shown are escaped."""
    fill(server, **{"\x1b[2J": replace(ONE, callout="\x1b[1m", headers={"a": "\x1b"}, raw_body=b"\x1b]0;x\x07")})
    for arguments in (("ls",), ("get", "\x1b[2J"), ("get", "--json", "\x1b[2J")):
        result = on(server, *arguments)
        assert result.exit_code == 0
        assert "\x1b" not in result.output


def test_get_shows_the_response(server: RedisServer) -> None:
    """The entry of a key is shown with its headers and body; the key may be given as it stands in Redis."""
    headers: dict[str, str | list[str]] = {"Content-Type": "text/plain", "Set-Cookie": ["a=1", "b=2"]}
    fill(server, k=replace(ONE, headers=headers, raw_body=b"line 1\nline 2", varies={"accept": "a", "accept-x": None}))
    result = on(server, "get", "k")
    assert result.exit_code == 0
    assert on(server, "get", "request-callout:k").exit_code == 0
    about, shown, body = result.output.split("\n\n")
    assert {"key: k", "callout: auth", "status: 200", "varies: accept: a", "varies: accept-x: (not sent)"} <= set(
        about.splitlines()
    )
    assert shown.splitlines() == ["Content-Type: text/plain", "Set-Cookie: a=1", "Set-Cookie: b=2"]
    assert body == "line 1\nline 2\n"


def test_get_as_json_has_everything(server: RedisServer) -> None:
    """With --json the headers and the body come too, a body that is no text as base64."""
    fill(server, text=replace(ONE, raw_body="ä".encode()), binary=ONE)
    text, binary = (json.loads(on(server, "get", "--json", key).output) for key in ("text", "binary"))
    assert (text["body"], text["headers"]) == ("ä", ONE.headers)
    assert base64.b64decode(binary["body_base64"]) == ONE.raw_body
    assert "(5 bytes that are no text; --json has them)" in on(server, "get", "binary").output


def test_get_of_a_value_that_can_not_be_read(server: RedisServer) -> None:
    """A value of another version is told as such; so is one that is no string."""
    server.command("SET", "request-callout:k", "x")
    server.command("RPUSH", "request-callout:list", "x")
    for key in ("k", "list"):
        result = on(server, "get", key)
        assert (result.exit_code, "unreadable" in result.output) == (0, True)


def test_get_of_nothing(server: RedisServer) -> None:
    """A key that nothing is kept under is an error of one line."""
    result = on(server, "get", "none")
    assert result.exit_code == 1
    assert result.output == f"Error: nothing is kept under none in the Redis at 127.0.0.1:{server.port}\n"


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--callout", "auth"], {"two", "unreadable"}),
        (["--plugin", "p1"], {"three", "unreadable"}),
        (["--plugin", "p1", "--callout", "auth"], {"two", "three", "unreadable"}),
        (["--callout", "none"], {"one", "two", "three", "unreadable"}),
        (["--yes"], set()),
    ],
)
def test_purge_deletes_what_it_is_told_to(server: RedisServer, arguments: list[str], left: set[str]) -> None:
    """A filter purges what it lets through; without one all goes, what can't be read too, and nothing else."""
    fill(server, one=ONE, two=TWO, three=THREE)
    server.command("SET", "request-callout:unreadable", "x")
    server.command("SET", "another's", "x")
    result = on(server, "purge", *arguments)
    assert result.exit_code == 0
    assert result.output.startswith(f"{4 - len(left)} entr")
    assert keys(server) == {"another's", *(f"request-callout:{key}" for key in left)}


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_purge_of_all_asks_first(server: RedisServer, answer: str, left: int) -> None:
    """Without a filter and --yes it deletes only after a yes."""
    fill(server, one=ONE)
    result = on(server, "purge", text=answer)
    assert "--yes" in result.output
    assert len(keys(server)) == left
    assert result.exit_code == left


def test_keys_is_never_used(server: RedisServer) -> None:
    """The server is not held up: keys are looked for with SCAN."""
    fill(server, one=ONE)
    server.command("CONFIG", "RESETSTAT")
    on(server, "ls")
    on(server, "purge", "--yes")
    stats = server.command("INFO", "commandstats")
    assert "cmdstat_scan" in stats
    assert "cmdstat_keys" not in stats


def config(tmp_path: Path, *redis: str) -> str:
    plugins = [PLUGIN.replace("REDIS", one).partition("plugins:\n")[2] for one in redis]
    path = tmp_path / "kong.yml"
    path.write_text('_format_version: "3.0"\nplugins:\n' + "".join(plugins))
    return str(path)


def test_a_configuration_says_where_redis_is(server: RedisServer, tmp_path: Path) -> None:
    """With --config the settings of the plugin are used, also where the variable says something else."""
    fill(server, one=ONE)
    path = config(tmp_path, f"{{port: {server.port}}}", f"{{port: {server.port}}}")
    assert listed(run("ls", "--json", "--config", path, url="redis://127.0.0.1:1")).keys() == {"one"}


def test_all_nodes_of_a_cluster_are_looked_at(tmp_path: Path) -> None:
    """In a cluster the entries of all its masters are listed and purged, wherever one begins."""
    with cluster() as group:
        nodes = [{"ip": HOST, "port": group.nodes[0].port}]
        path = config(tmp_path, json.dumps({"cluster_nodes": nodes}))
        in_cluster = settings(6379, cluster_nodes=(model.HostPort(HOST, group.nodes[0].port),))
        with store_of(in_cluster) as store:
            for number in range(30):
                store.put(str(number), ONE, 60)
        assert all(node.command("DBSIZE") for node in group.nodes)
        assert listed(run("ls", "--json", "--config", path)).keys() == set(map(str, range(30)))
        assert run("get", "7", "--config", path).exit_code == 0
        assert run("purge", "--yes", "--config", path).output == "30 entries deleted\n"
        assert not any(node.command("DBSIZE") for node in group.nodes)


def test_the_master_is_purged(tmp_path: Path) -> None:
    """With sentinels the master is purged, also where the cache is read from its replica."""
    with sentinels() as group:
        nodes = [{"host": HOST, "port": sentinel.port} for sentinel in group.sentinels]
        master = group.servers[0]
        fill(master, one=ONE)
        where = {"sentinel_nodes": nodes, "sentinel_master": MASTER_NAME, "sentinel_role": "slave"}
        path = config(tmp_path, json.dumps(where))
        assert run("purge", "--yes", "--config", path).output == "1 entry deleted\n"
        assert keys(master) == set()


def test_a_secure_redis_is_reached(secure: SecureRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS, user and password come from the configuration, secrets of the vault env from the environment."""
    monkeypatch.setenv("SECRET_OF_REDIS", PASSWORD)
    where = f"{{port: {secure.server.port}, ssl: true, server_name: redis.example, username: {USERNAME}, "
    path = config(tmp_path, where + 'password: "{vault://env/secret-of-redis}"}')
    result = run("purge", "--yes", "--config", path, "--ca-file", secure.ca_file)
    assert (result.output, result.exit_code) == ("0 entries deleted\n", 0)
    result = run("ls", "--config", path)
    assert (result.exit_code, "certificate" in result.output) == (1, True)


def test_a_url_says_all_of_it(secure: SecureRedis) -> None:
    """A URL has user, password with escapes, port and database; rediss:// is TLS."""
    with running("--requirepass", "p@ss#1") as server:
        where = f"127.0.0.1:{server.port}/3"
        with store_of(settings(server.port, password="p@ss#1", database=3)) as store:
            store.put("k", ONE, 60)
        assert listed(run("ls", "--json", "--redis", f"redis://:p%40ss%231@{where}")).keys() == {"k"}
        assert listed(run("ls", "--json", "--redis", f"redis://default:p%40ss%231@{where}")).keys() == {"k"}
    result = run("ls", "--redis", f"rediss://127.0.0.1:{secure.server.port}", "--ca-file", secure.ca_file)
    assert "IP address mismatch" in result.output


@pytest.mark.parametrize(
    ("arguments", "url", "told"),
    [
        ([], None, "Give --redis URL"),
        (["--redis", "redis://h", "--config", "kong.yml"], None, "leave one out"),
        (["--redis", "http://u:s3cret@h"], None, "--redis: the URL does not begin with redis://"),
        (["--redis", "redis://u:s3cret@"], None, "--redis: the URL names no host"),
        (["--redis", "redis://u:s3cret@h:x"], None, "--redis: is no URL"),
        (["--redis", "redis://u:s3cret@h/x"], None, "--redis: the URL has a path"),
        (["--redis", "redis://u:s3#cret@h"], None, "%23"),
        ([], "redis://u:s3cret@h?a=s3cret", "REQUEST_CALLOUT_REDIS_URL: the URL has a ?"),
        (["--config", "none.yml"], None, "--config: none.yml can't be read: No such file"),
        (["--redis", "redis://u:s3cret@127.0.0.1:1"], None, "Connection refused"),
        ([], "redis://:s3cret@127.0.0.1:1", "user and password of REQUEST_CALLOUT_REDIS_URL"),
    ],
)
def test_errors_name_the_option(arguments: list[str], url: str | None, told: str) -> None:
    """What is wrong is one line that names the option and what to do, without the password; the status is 1."""
    for command in (["ls"], ["get", "k"], ["purge", "--yes"]):
        result = run(*command, *arguments, url=url)
        assert result.exit_code == 1
        assert told in result.output
        assert result.output.count("\n") == 1
        assert "s3cret" not in result.output


@pytest.mark.parametrize(
    ("redis", "told"),
    [
        ([], "no request-callout plugin with cache.strategy redis"),
        (["{port: 1}", "{port: 2}"], "2 different caches"),
        (["{port: nonsense}"], "plugins[1].config.cache.redis.port"),
        (['{password: "{vault://hcv/redis}"}'], "plugins[1].config.cache.redis.password"),
    ],
)
def test_errors_of_a_configuration(tmp_path: Path, redis: list[str], told: str) -> None:
    """A file that does not say where Redis is is one line that says why."""
    result = run("ls", "--config", config(tmp_path, *redis))
    assert result.exit_code == 1
    assert told in result.output
    assert result.output.count("\n") == 1


def test_a_wrong_password_is_told_without_it(secure: SecureRedis, tmp_path: Path) -> None:
    """A user or password that is refused is one line without it."""
    where = f"{{port: {secure.server.port}, ssl: true, server_name: redis.example, username: u, password: s3cret}}"
    result = run("ls", "--config", config(tmp_path, where), "--ca-file", secure.ca_file)
    assert result.exit_code == 1
    assert "password" in result.output
    assert "s3cret" not in result.output


def test_output_that_nobody_reads_ends_the_command(server: RedisServer) -> None:
    """A reader that closes the pipe, as head does, ends ls without an error message."""
    fill(server, **{f"{number}": ONE for number in range(2000)})
    environment = {**os.environ, "REQUEST_CALLOUT_REDIS_URL": f"redis://127.0.0.1:{server.port}"}
    command = [sys.executable, "-m", "request_callout", "cache", "ls"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"STATUS" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(30)
