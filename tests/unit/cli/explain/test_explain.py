"""The command ``explain``: its text, its JSON, its page, and what it must not show."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from request_callout.config import documents, shape
from tests.unit.cli.explain.explaining import HERE, ROOT, callout, explained, run

GOLDEN = {
    "shop": HERE / "shop.yml",
    "orchestration": ROOT / "examples" / "orchestration" / "kong.yml",
    "redis-cache": ROOT / "examples" / "redis-cache" / "kong.yml",
    "fan-out": ROOT / "examples" / "fan-out" / "kong.yml",
}
SECRET = "s3cr3t-planted-"


@pytest.mark.parametrize("name", GOLDEN)
def test_the_text_is_as_kept(name: str) -> None:
    """The text for a terminal of 100 columns without colours is what tests/unit/cli/explain/golden has."""
    result = run(GOLDEN[name])
    assert result.exit_code == 0
    assert result.output == (HERE / "golden" / f"{name}.txt").read_text(encoding="utf-8")


def test_the_document_has_everything() -> None:
    """The JSON has the plan with its reasons, what is read, sent, kept and answered, times and warnings."""
    result = run(HERE / "shop.yml", "--output", "json")
    document = orjson.loads(result.output)
    (one,) = document["configurations"]
    assert (document["file"], one["path"]) == (str(HERE / "shop.yml"), "services[1].routes[1].plugins[1].config")
    assert one["place"] == "route checkout (/checkout), service shop"
    assert [(callout["name"], callout["level"]) for callout in one["callouts"]] == [
        ("customer", 0),
        ("stock", 0),
        ("discounts", 1),
        ("prices", 1),
        ("reserve", 2),
    ]
    stock, prices = one["callouts"][1], one["callouts"][3]
    assert [(wait["name"], wait["why"], wait["where"]) for wait in prices["waits_for"]] == [
        ("customer", "reads", "request.query.custom.tier"),
        ("stock", "reads", "for_each.items"),
    ]
    assert stock["reads"] == [
        {"what": "query parameter ids", "where": "request.query.custom.ids"},
        {"what": "all headers", "where": "request.headers.forward"},
    ]
    assert stock["sends"]["query"]["items"] == [
        {"name": "ids", "value": "$(query_params.ids)"},
        {"name": "api_key", "value": "***"},
    ]
    assert stock["caches"]["key"] == [
        *("route", "plugin", "consumer", "consumer groups", "callout", "method", "URL", "query ids, api_key"),
        "headers (all of the client's)",
    ]
    assert one["upstream"]["answers"] is None
    assert one["reads"] == ["headers", "query", "route", "consumer"]
    assert one["whole"]["critical_path"] == ["stock", "prices", "reserve"]


def test_what_is_read_from_the_client_is_told() -> None:
    """Expressions and scripts tell which headers, parameters, captures and bodies they read, and where."""
    script = 'local x = kong.request.get_header("X-In-Script"); local y = kong.request.get_path()'
    one = callout(
        url="https://h.example/$(ngx.escape_uri(uri_captures.id))",
        headers={"custom": {"X-A": "$(headers.x_user_id or headers['X-Other'])"}},
        query={"custom": {"a": "$(kong.request.get_body().a)"}},
        by_lua=script,
    )
    reads = [(read["what"], read["where"]) for read in explained({"callouts": [one]})["callouts"][0]["reads"]]
    assert reads == [
        ("URI capture id", "request.url"),
        ("the body", "request.query.custom.a"),
        ("header x-user-id", "request.headers.custom.X-A"),
        ("header x-other", "request.headers.custom.X-A"),
        ("header x-in-script", "request.by_lua"),
        ("the request's path", "request.by_lua"),
    ]


def planted() -> dict[str, Any]:
    """A configuration with a secret wherever one may stand."""
    count = iter(range(1000))

    def secret() -> str:
        return f"{SECRET}{next(count)}"

    one = callout(
        url=f"https://{secret()}:{secret()}@h.example/p?token={secret()}&page={secret()}&x=$(headers.x)",
        method="POST",
        headers={"custom": {"Authorization": f"Bearer {secret()}", "X-Plain": secret(), "Cookie": f"a={secret()}"}},
        query={"custom": {"api_key": secret(), "page": secret()}},
        body={"custom": {"password": secret(), "note": secret()}},
        http_opts={
            "proxy": {
                "http_proxy": f"http://{secret()}:{secret()}@p:1",
                "auth_username": "proxy-user",
                "auth_password": secret(),
            },
            "ssl_verify": False,
        },
        error={"on_error": "continue", "fallback": {"headers": {"X-Token": secret()}, "body": secret()}},
        by_lua=f'local token = "{secret()}"',
        cache={"vary_on": [secret()]},
    )
    two = callout(
        "b",
        when=f'$(headers["x-key"] == "{secret()}" --[[ {secret()} ]])',
        auth={"type": "basic", "username": "user", "password": secret()},
    )
    three = callout("c", auth={"type": "bearer", "token": secret()})
    four = callout(
        "d",
        auth={
            "type": "oauth2_client_credentials",
            "token_url": f"https://t.example/?key={secret()}",
            "client_id": "client",
            "client_secret": secret(),
            "extra_parameters": {"resource_key": secret()},
        },
    )
    five = callout(
        "e", headers={"custom": {"X-Key": f'$("{secret()}" .. headers.x)', "X-B": f"{secret()}$(headers.x)"}}
    )
    return {
        "callouts": [one, two, three, four, five],
        "upstream": {
            "headers": {"custom": {"X-Secret": secret(), "X-Other": secret()}},
            "query": {"custom": {"page": secret()}},
            "body": {"custom": {"x": secret()}},
            "by_lua": f'local password = "{secret()}"',
        },
        "cache": {"strategy": "redis", "redis": {"password": secret(), "sentinel_password": secret()}},
    }


@pytest.mark.parametrize("output", ["text", "json", "html"])
def test_secrets_are_not_shown(output: str, tmp_path: Path) -> None:
    """No secret of the file, nor a constant that may be one, is in any output; the names of the fields are."""
    document = yaml.safe_dump(
        {"_format_version": "3.0", "plugins": [{"name": "request-callout", "config": planted()}]}, width=10_000
    )
    assert document.count(SECRET) == 34
    page = tmp_path / "page.html"
    result = run("-", *(["--html", page] if output == "html" else ["--output", output]), text=document)
    assert result.exit_code == 0, result.output
    shown = result.output + (page.read_text(encoding="utf-8") if output == "html" else "")
    assert SECRET not in shown
    assert "X-Plain" in shown


def test_values_of_the_environment_are_not_shown() -> None:
    """What decK puts in from the environment is hidden, and does not count as standing in the file."""
    text = (
        '{_format_version: "3.0", plugins: [{name: request-callout, config: {deadline_ms: 1000, callouts: [{name: a, '
    )
    text += 'request: {url: https://h.example/x, headers: {custom: {X-Key: ${{ env "DECK_SECRET" }}}}}}]}}]}'
    result = run("-", text=text)
    assert result.exit_code == 0, result.output
    assert "from-the-environment" not in result.output
    assert "plain-secret" not in result.output


class _Tags(HTMLParser):
    """The names of the elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_texts_are_texts(tmp_path: Path) -> None:
    """Markup in names, URLs, expressions and messages gets no element and no attribute into the page."""
    page = tmp_path / "page.html"
    assert run(HERE / "hostile.yml", "--html", page).exit_code == 0
    tags = _Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    assert not tags.found & {"script", "img", "iframe", "b", "i", "link", "object"}
    assert not {name for name in tags.attributes if name.startswith("on")}


def test_nothing_of_a_file_acts_on_a_terminal(tmp_path: Path) -> None:
    """Control characters, and those that turn text around, are escaped wherever they stand in a file."""
    nasty = "\x1b[2J\u202e"
    upstream = {"query": {"custom": {f"a{nasty}": f"$(query_params['{nasty}'])"}}, "headers": {"custom": {"A": nasty}}}
    file, page = tmp_path / "nasty.json", tmp_path / "page.html"
    file.write_bytes(orjson.dumps({"callouts": [], "upstream": upstream}))
    for text in (run(file).output, run(file, "--html", page).output, page.read_text(encoding="utf-8")):
        assert [line for line in text.splitlines() if not line.isprintable()] == []
    assert "\\x1b[2J" in run(file).output


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """The page names no address that a browser would fetch, and its policy allows its own style sheet only."""
    page = tmp_path / "page.html"
    assert run(HERE / "shop.yml", "--html", page).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!#)|url\(|@import""", text)
    assert re.search(r'Content-Security-Policy" content="default-src &#x27;none&#x27;; style-src &#x27;sha256-', text)


@pytest.mark.parametrize("name", ["13-missing-url.yml", "02-tab.yml", "28-cycle.yml", "41-kubernetes.yml"])
def test_a_wrong_file_gives_what_validate_says(name: str) -> None:
    """The problems of a file that is not valid are those of validate, and the status is 1."""
    file = ROOT / "tests" / "unit" / "cli" / "wrong" / name
    result = run(file)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith(f"{file}:")


@pytest.mark.parametrize("file", ["missing.yml", "examples"])
def test_a_file_that_cannot_be_read(file: str) -> None:
    """What is no file is told in one line with its name."""
    result = run(ROOT / file)
    assert result.exit_code == 1
    assert "can't be read" in result.output


def test_a_file_without_the_plugin() -> None:
    """A file without a configuration of the plugin can't be explained."""
    result = run("-", text='_format_version: "3.0"\n')
    assert (result.exit_code, result.output) == (
        1,
        "-: there is no configuration of request-callout in it; give a file that has one\n",
    )


def test_strict_is_for_pipelines() -> None:
    """With --strict a warning gives status 1, an advice does not."""
    assert run(HERE / "shop.yml", "--strict").exit_code == 1
    assert run(ROOT / "examples" / "deadline" / "kong.yml", "--strict").exit_code == 0


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    """Where the page can't be written there is one line that says why."""
    result = run(HERE / "shop.yml", "--html", tmp_path / "none" / "page.html")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "can't be written: No such file or directory" in result.output


def test_a_file_is_read_and_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is parsed once and each configuration checked once: files with thousands of them are explained, too."""
    counted: list[str] = []

    def counting(function: Any, name: str) -> Any:
        def counted_function(*arguments: Any) -> Any:
            counted.append(name)
            return function(*arguments)

        return counted_function

    loading = sys.modules["request_callout.config.load"]
    monkeypatch.setattr(documents, "_yaml", counting(documents._yaml, "parsed"))
    monkeypatch.setattr(loading, "shape_problems", counting(shape.shape_problems, "checked"))
    assert run(HERE / "shop.yml").exit_code == 0
    assert counted == ["parsed", "checked"]
