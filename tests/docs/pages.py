"""The fenced blocks of a page, with the marks above them that say how they are run.

A mark is an HTML comment, which no reader sees, on the lines directly above a block; several may stand there:

``<!-- not run: REASON -->``
    A ``sh`` block that no test can run; REASON begins with one of ``REASONS``.
``<!-- wrong -->``
    A configuration with errors: ``validate`` has to refuse it.
``<!-- file: NAME -->``
    The block is written to the file NAME before the commands after it run.
``<!-- copy of: FILE -->``
    The block is the file of this repository, which ``docs/generate.py`` puts there.
``<!-- gateway: FILE [OPTION...] -->``
    ``request-callout gateway FILE`` runs beside the ``sh`` block, and beside those after it.
``<!-- redis -->``
    A Redis runs beside the page; it is what the page calls ``redis.internal:6379``, and ``port: 6379`` on 127.0.0.1.
``<!-- collector -->``
    A collector of OpenTelemetry's runs beside the page; it is what the page calls ``localhost:4318``.
``<!-- spans: NAME, NAME -->``
    After the ``sh`` block, the collector gets spans with these names.
``<!-- status: N -->``
    The status that the ``sh`` block ends with, where it is not 0.
``<!-- output -->``
    Lines that the ``sh`` block before it prints, in this order; ``…`` stands for anything.
``<!-- checked by: TEST -->``
    A ``sh`` block that the named test file runs, since it needs more than a shell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ("docs/reference/",)

REASONS = (
    "needs another machine",
    "needs Docker",
    "needs a Docker engine",
    "needs a cluster",
    "needs a Helm release",
    "needs a running Kong",
    "needs decK",
    "needs root",
    "needs systemd",
    "needs the internet",
    "needs a terminal",
    "installs packages",
    "takes minutes",
)
MARKS = (
    "not run",
    "file",
    "copy of",
    "gateway",
    "redis",
    "collector",
    "spans",
    "status",
    "output",
    "checked by",
    "wrong",
)

_FENCE = re.compile(r"^( *)(`{3,})([^`]*)$")
_MARK = re.compile(r"^ *<!-- ([a-z ]+?)(?:: (.*?))? -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language, its text, and the marks above it."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def place(self) -> str:
        """For messages: ``docs/try.md:12``."""
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """README.md, CHANGELOG.md and every page of docs/, by path."""
    return ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


def written_pages() -> list[str]:
    """The pages that people write; the others come from docs/generate.py."""
    return [page for page in pages() if not page.startswith(GENERATED)]


def text_of(page: str) -> str:
    """A page as it stands."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return blocks_in(page, text_of(page))


def blocks_in(page: str, text: str) -> list[Block]:
    """The fenced blocks of a text; an assertion error names one without an end."""
    blocks: list[Block] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        indent, fence, language = opening.groups()
        end = number + 1
        while end < len(lines) and lines[end].strip() != fence:
            end += 1
        assert end < len(lines), f"{page}:{number + 1}: the block has no end"
        inside = "".join(line.removeprefix(indent) + "\n" for line in lines[number + 1 : end])
        blocks.append(Block(page, number + 1, language.strip(), inside, _marks_above(lines, number)))
        number = end + 1
    return blocks


def _marks_above(lines: list[str], number: int) -> dict[str, str]:
    marks: dict[str, str] = {}
    while number and (found := _MARK.match(lines[number - 1])):
        marks[found[1]] = found[2] or ""
        number -= 1
    return marks
