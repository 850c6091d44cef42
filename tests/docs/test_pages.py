"""Every page is run from its first block to its last, and every configuration in it is checked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from lupa.luajit21 import LuaRuntime, LuaSyntaxError

from request_callout.cli import main
from tests.docs.pages import MARKS, REASONS, ROOT, Block, blocks_in, blocks_of, pages, written_pages
from tests.docs.terminal import Terminal, known_options

LANGUAGES = {
    "sh",
    "yaml",
    "json",
    "lua",
    "ini",
    "text",
    "hcl",
    "nginx",
    "python",
    "xml",
    "diff",
    "dockerfile",
    "promql",
}
DIRECTIVES = ("{toctree}", "{include}")
OURS = re.compile(r"(?:^|[\s/])request-callout[ \t]+((?!--)[a-z][a-z-]*\b[^\n#>|&;)`\"]*)", re.MULTILINE)

BLOCKS = [block for page in pages() for block in blocks_of(page)]


def some(*languages: str) -> list[object]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("page", [page for page in written_pages() if blocks_of(page)])
def test_page_runs(page: str, tmp_path: Path) -> None:
    """What a page tells the reader to type works, in its order, and prints what the page shows."""
    with Terminal(tmp_path) as terminal:
        terminal.run_all(blocks_of(page))


@pytest.mark.parametrize("block", some("sh", "ini"))
def test_commands_have_the_options_that_are_shown(block: Block) -> None:
    """A command line names a command of ours and options that it has, also where it can't be run."""
    for line in OURS.findall(block.text.replace("\\\n", " ")):
        given, known = known_options(line)
        assert given <= known, f"{block.place}: request-callout {line}"


@pytest.mark.parametrize("block", some("yaml"))
def test_configuration_is_valid(block: Block, tmp_path: Path) -> None:
    """A declarative file is what `validate` takes, and so is a list of plugins or a plugin's configuration alone."""
    documents = [document for document in yaml.safe_load_all(block.text) if isinstance(document, dict)]
    for number, document in enumerate(documents):
        whole = declarative(document)
        if whole is None:
            continue
        file = tmp_path / f"{number}.yml"
        file.write_text(block.text if whole is document and len(documents) == 1 else json.dumps(whole))
        result = CliRunner().invoke(main, ["validate", "--allow-unset", str(file)])
        assert (result.exit_code == 0) != ("wrong" in block.marks), f"{block.place}: {result.output}"


def declarative(document: dict[str, object]) -> dict[str, object] | None:
    """A declarative file of a part of one; None if a document is none of ours."""
    if "_format_version" in document:
        return document
    if "plugins" in document:
        return {"_format_version": "3.0", "plugins": document["plugins"]}
    if document.keys() & {"callouts", "upstream", "cache", "deadline_ms"}:
        plugin = {"name": "request-callout", "config": {"callouts": [], **document}}
        return {"_format_version": "3.0", "plugins": [plugin]}
    return None


@pytest.mark.parametrize("block", some("json"))
def test_json_is_json(block: Block) -> None:
    """What is shown as JSON can be read as such, unless it is output with parts left out."""
    if "…" not in block.text:
        json.loads(block.text)


@pytest.mark.parametrize("block", some("lua"))
def test_lua_is_lua(block: Block) -> None:
    """A script in a page has no syntax error, in the dialect that Kong runs."""
    try:
        LuaRuntime().compile(block.text)
    except LuaSyntaxError as error:
        raise AssertionError(f"{block.place}: {error}") from None


@pytest.mark.parametrize("block", [pytest.param(block, id=block.place) for block in BLOCKS])
def test_block_follows_the_convention(block: Block) -> None:
    """Language and marks of a block are known ones, and a block that is not run says why, in few words for all."""
    assert block.language.startswith(DIRECTIVES) or block.language in LANGUAGES, block.place
    assert block.marks.keys() <= set(MARKS), block.place
    if "not run" in block.marks and block.language == "sh":
        assert block.marks["not run"].startswith(REASONS), f"{block.place}: the reasons are {REASONS}"
    if "checked by" in block.marks:
        assert (ROOT / block.marks["checked by"]).is_file(), block.place
    if "copy of" in block.marks:
        assert block.text == (ROOT / block.marks["copy of"]).read_text(), f"{block.place}: run `make docs`"


def test_pages_and_marks_are_found() -> None:
    """The tests above have something to look at, and see marks and blocks in a list too."""
    assert len(BLOCKS) >= 20
    text = "1. Do\n\n   <!-- not run: needs root: it writes -->\n   <!-- status: 3 -->\n   ```sh\n   true\n   ```\n"
    (block,) = blocks_in("page", text)
    assert (block.language, block.text, block.line) == ("sh", "true\n", 5)
    assert block.marks == {"not run": "needs root: it writes", "status": "3"}


def page(text: str) -> list[Block]:
    return blocks_in("page", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\nfalse\n```\n", "ended with 1, not 0"),
        ("```sh\nfalse\ntrue\n```\n", "ended with 1, not 0"),
        ("<!-- status: 3 -->\n```sh\ntrue\n```\n", "ended with 0, not 3"),
        ("```sh\necho a\necho b\n```\n<!-- output -->\n```text\nb\na\n```\n", "not printed, or not in this order: a"),
        ("```sh\nrequest-callout serve --socket /no/directory/s\n```\n", "the server ended"),
    ],
)
def test_a_wrong_page_is_found(text: str, message: str, tmp_path: Path) -> None:
    """A command that fails, another status, other output and a server that does not start are told with their place."""
    with Terminal(tmp_path) as terminal, pytest.raises(AssertionError, match=message):
        terminal.run_all(page(text))


def test_a_page_is_one_terminal(tmp_path: Path) -> None:
    """Directory, variables and files go from block to block, a server runs until the end, a gateway beside a block."""
    text = """
<!-- file: sub/a.txt -->
```text
one
```
```sh
cd sub
export NUMBER=2
```
```sh
cat a.txt; echo $NUMBER
```
<!-- output -->
```text
on…
2
```
```sh
mkdir -p /run/request-callout
request-callout serve --socket /run/request-callout/kong.sock &
```
```sh
request-callout health --socket /run/request-callout/kong.sock
```
```sh
request-callout serve --socket "$PWD/kong.sock" --metrics 127.0.0.1:9542 --ready-file ready 2> server.log & server=$!
until test -e ready; do sleep 0.1; done
curl -sS http://127.0.0.1:9542/healthz
kill $server && wait $server
grep -c 'listening on' server.log
```
<!-- output -->
```text
{"status": "ok"…
1
```
<!-- gateway: examples/header-echo/kong.yml -->
```sh
curl -sS -i http://localhost:8000/mock/x -H 'X-Request-Echo: Hello'
```
<!-- output -->
```text
HTTP/1.1 200 OK
X-Response-Echo: Hello
```
"""
    with Terminal(tmp_path) as terminal:
        terminal.run_all(page(text))
