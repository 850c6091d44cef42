"""What the commands tell of a file with secrets, before it is deployed: none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from request_callout.cli import main
from tests.conformance.callee import Callee
from tests.conformance.site import default_upstream
from tests.secrets.everywhere import everywhere
from tests.secrets.places import ENCRYPTED, Vault, places
from tests.secrets.planted import Planted, Services, configurations, services
from tests.secrets.quoting import quote_back, quoting
from tests.secrets.site import kong_file

IN_EXPLAIN = {"vault: header", "basic: user"}
"""What ``explain`` shows on purpose: texts within expressions (here one that is a vault's too), and user names."""

OUTPUTS = ("text", "json", "sarif", "github")
TRIED = ("quoted", "an opaque token", "script quotes a header")
TRIED_WITH_A_VAULT = ("URL", "URL's host, guarded", "quoted", "basic", "OAuth", "answer")


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def to(planted: Planted) -> Iterator[Services]:
    with services(planted) as to:
        quote_back(to, planted)
        yield to


@pytest.fixture
def upstream() -> Iterator[Callee]:
    upstream = Callee(default_upstream())
    yield upstream
    upstream.close()


def run(*arguments: str, **environment: str) -> str:
    """What a command prints, on whichever of its outputs."""
    result = CliRunner(env={"COLUMNS": "200", **environment}).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


def test_files_are_told_of_without_their_secrets(tmp_path: Path, planted: Planted, to: Services) -> None:
    """``validate`` and ``explain`` show no constant that may be a secret, in any output."""
    failing = configurations(planted, to, redis_port=1)
    configs = {
        **failing,
        **{f"quoting: {name}": one for name, one in quoting(planted, to, 1).items()},
        **{f"vault: {name}": one for name, one in everywhere(planted, to, 1).items()},
    }
    wrong = {"misconfigured": configs.pop("misconfigured")}
    texts = {}
    for name, some in (("wrong", {**configs, **wrong}), ("right", configs)):
        text, variables, _ = kong_file(some, "http://127.0.0.1:1")
        file = tmp_path / f"{name}.yml"
        file.write_text(text)
        for output in OUTPUTS:
            texts[f"validate {name} {output}"] = run("validate", str(file), "--output", output, **variables)
        if name == "right":
            page = tmp_path / "page.html"
            texts["explain text"] = run("explain", str(file), "--html", str(page), **variables)
            texts["explain json"] = run("explain", str(file), "--output", "json", **variables)
            texts["explain page"] = page.read_text()
    assert [name for name, text in texts.items() if not text] == ["validate right github"]  # it has no finding
    assert "nonsense" in texts["validate wrong json"]
    assert "refused" in texts["explain page"]
    by_design = {name: IN_EXPLAIN if name.startswith("explain") else set() for name in texts}
    found = {name: set(planted.seen_in(text)) - by_design[name] for name, text in texts.items()}
    assert found == {name: set() for name in texts}


def test_what_kong_would_encrypt_is_hidden_without_a_vault(tmp_path: Path, planted: Planted, to: Services) -> None:
    """``validate`` and ``explain`` show no constant of a field that the schema marks as encrypted."""
    vault = Vault(planted, locked=True)
    text, _, _ = kong_file(everywhere(planted, to, 1, vault), "http://127.0.0.1:1")
    secret = set().union(*(vault.planted[place] for place in places(ENCRYPTED)))
    assert {"client key", "vault: azure_client_secret", "vault: sentinel password", "vault: token"} <= secret
    file, page = tmp_path / "kong.yml", tmp_path / "page.html"
    file.write_text(text)
    told = [run("validate", str(file), "--output", output) for output in OUTPUTS]
    told += [run("explain", str(file), "--html", str(page)), run("explain", str(file), "--output", "json")]
    shown = {place for one in (*told, page.read_text()) for place in planted.seen_in(one)}
    assert shown & secret == set()
    assert "vault: user" in shown


FIELDS = [
    ("method", "{}"),
    ("auth", {"type": "{}"}),
    ("auth", {"type": "basic", "username": "{}", "password": ["{}"]}),
    ("auth", {"type": "oauth2_client_credentials", "client_secret": "{}"}),
    ("auth", {"type": "oauth2_client_credentials", "token_url": "ftp://u:{}@h/", "client_id": "a"}),
    ("url", "http://user:{}@h:port/?a={}"),
    ("url", "{}"),
    ("headers", {"custom": {"Authorization": ["{}"]}}),
    ("headers", {"custom": {"Authorization": "$(1 + '{}"}}),
    ("headers", {"custom": {"Authorization": "$('{}"}}),
    ("http_opts", {"proxy": {"auth_password": "{}"}}),
    ("http_opts", {"proxy": {"http_proxy": "socks://u:{}@h", "auth_username": "u"}}),
    ("http_opts", {"client_key": "{}", "client_certificate": "{}"}),
    ("http_opts", {"timeouts": {"read": "{}"}}),
    ("by_lua", "local a = '{}"),
    ("by_lua", "x = {} y"),
]
"""Fields of a request and wrong values of them that hold a secret; ``{}`` stands for it."""


@pytest.mark.parametrize("place", ["a constant", "a variable of decK"])
def test_wrong_values_are_not_quoted(tmp_path: Path, planted: Planted, place: str) -> None:
    """A value that is wrong where a secret would stand is told by its place, not by what it is."""
    found = {}
    for number, (field, value) in enumerate(FIELDS):
        secret = planted(f"{number}: {field}")
        in_file = secret if place == "a constant" else '${{ env "DECK_SECRET" }}'
        callout = {"name": "a", "request": {"url": "http://h/", field: value}}
        plugin = {"name": "request-callout", "config": {"callouts": [callout]}}
        text = yaml.safe_dump({"_format_version": "3.0", "plugins": [plugin]}, width=1000)
        file = tmp_path / f"{number}.yml"
        file.write_text(text.replace("{}", in_file))
        for command in (*(("validate", "--output", one) for one in OUTPUTS), ("explain",)):
            told = run(*command, str(file), DECK_SECRET=secret)
            if planted.seen_in(told):
                found[f"{number} {field} {command}"] = told
    assert found == {}


@pytest.mark.parametrize(("protocol", "output"), [("protobuf", "json"), ("msgpack", "text")])
def test_tried_requests_hide_their_secrets(
    tmp_path: Path, planted: Planted, to: Services, upstream: Callee, protocol: str, output: str
) -> None:
    """``try`` prints no secret and records none, on either protocol, whatever a callee quotes back."""
    filled = everywhere(planted, to, 1)
    configs = {
        **{name: one for name, one in quoting(planted, to, 1).items() if name in TRIED},
        **{f"vault: {name}": filled[name] for name in TRIED_WITH_A_VAULT},
    }
    text, variables, paths = kong_file(configs, upstream.url)
    (tmp_path / "kong.yml").write_text(text)
    found = {}
    for name, path in zip(configs, paths, strict=True):
        request = (
            f"curl http://gateway.test{path}?key={planted('client: query')} -d password={planted('client: body')} "
            f"-H 'Authorization: Bearer {planted('client: Authorization')}' -b session={planted('client: Cookie')}"
        )
        arguments = ["kong.yml", "--request", request, "--output", output, "--protocol", protocol, "--record", "r.har"]
        told = subprocess.run(
            [sys.executable, "-m", "request_callout", "try", *arguments],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert told.returncode in (0, 3), told.stderr
        assert "a" in told.stdout
        record = tmp_path / "r.har"
        assert record.stat().st_mode & 0o077 == 0
        found[name] = {
            "told": planted.seen_in(told.stdout + told.stderr),
            "recorded": planted.seen_in(record.read_text()),
        }
    assert found == {name: {"told": [], "recorded": []} for name in configs}


def test_reports_of_conversions_hold_no_secret(tmp_path: Path, planted: Planted, to: Services) -> None:
    """``convert`` writes what stood in the source into the result, and into no report; the result is its owner's."""
    configs = {**configurations(planted, to, redis_port=1), **quoting(planted, to, 1)}
    del configs["misconfigured"]  # it would not be converted
    text, _, _ = kong_file(configs, "http://127.0.0.1:1")
    (tmp_path / "kong.yml").write_text(text)
    result, report = tmp_path / "result.yml", tmp_path / "report.json"
    told = run("convert", str(tmp_path / "kong.yml"), "--output", str(result), "--report", str(report))
    assert planted.seen_in(told) == []
    assert planted.seen_in(report.read_text()) == []
    assert planted.seen_in(result.read_text()) != []
