"""The words of a command as a shell would make them: quotes, escapes, ``$'..'``, line continuations, variables.

Only what stands in commands that people copy: what a shell would run or redirect is refused by its name. Positions in
messages are line and column, from 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from request_callout.cli.try_.request import BadRequest

_ESCAPES = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_REFUSED = {
    ";": "a second command after ';'",
    "&": "'&', which a shell takes for the end of the command (put the URL in quotes)",
    "<": "a redirection with '<'",
    "(": "'(', which is for the shell (put it in quotes)",
    ")": "')', which is for the shell (put it in quotes)",
    "`": "a command in backquotes",
}


def words(command: str, environment: Mapping[str, str]) -> list[str]:
    """The words up to a pipe or an output redirection, which do not matter here; raises BadRequest."""
    return _Reader(command, environment).words()


class _Reader:
    def __init__(self, command: str, environment: Mapping[str, str]) -> None:
        self._text = command.replace("\r\n", "\n")
        self._at = 0
        self._environment = environment
        self._word: list[str] | None = None
        self._words: list[str] = []

    def words(self) -> list[str]:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in " \t\n":
                self._end_word()
                if character == "\n" and self._words and self._text[self._at :].strip():
                    self._refuse("a second command on a new line (end a line that goes on with a backslash)")
                self._at += 1
            elif character == "#" and self._word is None:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif character in "|>":
                if character == ">" and self._word is not None and "".join(self._word) in ("1", "2"):
                    self._word = None
                self._end_word()
                return self._words
            elif character in _REFUSED:
                self._refuse(_REFUSED[character])
            else:
                self._piece(character)
        self._end_word()
        return self._words

    def _piece(self, character: str) -> None:
        if character == "'":
            self._add(self._until("'", "a single quote"))
        elif character == '"':
            self._add(self._double_quoted())
        elif character == "\\":
            following = self._text[self._at + 1 : self._at + 2]
            self._at += 2
            if following not in ("", "\n"):
                self._add(following)
        elif character == "$" and self._text[self._at + 1 : self._at + 2] == "'":
            self._at += 1
            self._add(self._ansi_quoted())
        elif character == "$":
            self._add(self._variable())
        else:
            self._add(character)
            self._at += 1

    def _add(self, piece: str) -> None:
        if self._word is None:
            self._word = []
        self._word.append(piece)

    def _end_word(self) -> None:
        if self._word is not None:
            self._words.append("".join(self._word))
            self._word = None

    def _until(self, quote: str, name: str) -> str:
        end = self._text.find(quote, self._at + 1)
        if end < 0:
            self._refuse(f"{name} that is not closed")
        found = self._text[self._at + 1 : end]
        self._at = end + 1
        return found

    def _double_quoted(self) -> str:
        start = self._at
        pieces: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return "".join(pieces)
            if character == "`":
                self._refuse(_REFUSED["`"])
            if character == "\\" and self._text[self._at + 1 : self._at + 2] in ("$", "`", '"', "\\", "\n"):
                escaped = self._text[self._at + 1]
                pieces.append("" if escaped == "\n" else escaped)
                self._at += 2
            elif character == "$":
                pieces.append(self._variable())
            else:
                pieces.append(character)
                self._at += 1
        self._at = start
        self._refuse("a double quote that is not closed")
        return ""

    def _ansi_quoted(self) -> str:
        start = self._at
        pieces: list[bytes] = []
        self._at += 1
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == "'":
                return b"".join(pieces).decode("utf-8", "surrogateescape")
            pieces.append(self._escape() if character == "\\" else character.encode("utf-8", "surrogateescape"))
        self._at = start
        self._refuse("a quote after $ that is not closed")
        return ""

    def _escape(self) -> bytes:
        character = self._text[self._at : self._at + 1]
        self._at += 1
        if character in _ESCAPES:
            return _ESCAPES[character].encode()
        most = {"x": 2, "u": 4, "U": 8}.get(character)
        if most is not None:
            digits = self._digits("0123456789abcdefABCDEF", most)
            number = int(digits, 16) if digits else 0
            if character == "x" and digits:
                return bytes([number])
            if digits and number <= 0x10FFFF:
                return chr(number).encode("utf-8", "replace")
        elif character and character in "01234567":
            self._at -= 1
            return bytes([int(self._digits("01234567", 3), 8) & 0xFF])
        return b"\\" + character.encode("utf-8", "surrogateescape")

    def _digits(self, alphabet: str, most: int) -> str:
        start = self._at
        while self._at < start + most and self._text[self._at : self._at + 1] in tuple(alphabet):
            self._at += 1
        return self._text[start : self._at]

    def _variable(self) -> str:
        """The value of a variable of the environment; a lone ``$`` is itself."""
        following = self._text[self._at + 1 : self._at + 2]
        if following == "(":
            self._refuse("a command in $(…); put what it prints in its place")
        braced = following == "{"
        start = self._at + 1 + braced
        end = start
        while _is_of_name(self._text[end : end + 1]):
            end += 1
        name = self._text[start:end]
        if not name or name[0].isdigit():
            if braced or following.isdigit():
                self._refuse("a variable that is no plain name")
            self._at += 1
            return "$"
        if braced and self._text[end : end + 1] != "}":
            self._refuse(f"${{{name}…: only ${{{name}}} alone is known")
        if name not in self._environment:
            self._refuse(f"the variable ${name}, which is not set here; export it, or put its value in its place")
        self._at = end + braced
        return self._environment[name]

    def _refuse(self, what: str) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1
        raise BadRequest(f"line {line}, column {column}: {what}")


def _is_of_name(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalnum())
