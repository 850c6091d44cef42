"""The words of a command for ``cmd.exe`` of Windows, as browsers copy it, with carets before quotes and line ends."""

from __future__ import annotations

import re

from request_callout.cli.try_.request import BadRequest

_IS_FOR_WINDOWS = re.compile(r'\s*curl(?:\.exe)?(?:\s+-[-\w]+)*\s+\^"|\s*curl(?:\.exe)?\s[^\n]*\s\^\r?\n\s*-')
_CARET = re.compile(r"\^(\n\n?|.)")
_PIECE = re.compile(r'(?P<slashes>\\+)(?P<quote>"?)|(?P<double>"")|(?P<toggle>")|(?P<space>\s+)|(?P<plain>[^\\"\s]+)')


def is_for_windows(command: str) -> bool:
    """Whether a command is written for ``cmd.exe``."""
    return _IS_FOR_WINDOWS.match(command) is not None


def windows_words(command: str) -> list[str]:
    r"""The words of a command; raises BadRequest.

    First ``cmd.exe`` takes its carets away: one before a line break joins the lines, and before two it stands for one.
    Then the program's start takes the words apart: ``\\"`` is a quote, and so is ``""`` between quotes.
    """
    line = _CARET.sub(lambda found: found[1].removeprefix("\n"), command.replace("\r\n", "\n").strip())
    found: list[str] = []
    word: str | None = None
    quoted = False
    for piece in _PIECE.finditer(line):
        if piece["space"] is not None and not quoted:
            if word is not None:
                found.append(word)
            word = None
            continue
        word = word or ""
        if piece["slashes"] is not None:
            slashes = len(piece["slashes"])
            if not piece["quote"]:
                word += piece["slashes"]
                continue
            word += "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            else:
                quoted = not quoted
        elif piece["double"] is not None:
            word += '"' if quoted else ""
        elif piece["toggle"] is not None:
            quoted = not quoted
        else:
            word += piece[0]
    if quoted:
        raise BadRequest("a double quote that is not closed")
    return [*found, *([] if word is None else [word])]
