r"""The characters of Perl-compatible patterns: escapes that stand for one, and classes, written for ``regex``.

What a class means is spelled out as hexadecimal codes, since the two dialects differ in nearly every shorthand
(``\v``, ``\h``, ``\s``, POSIX names, nested sets). ``pcre.py`` builds the rest of a pattern around these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import regex


class PatternError(Exception):
    """A pattern that can't be compiled; ``position`` counts bytes from its start."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


_DIGIT = "0-9"
_WORD = "0-9A-Za-z_"
_SPACE = r"\x09-\x0d\x20"
_POSIX = {
    "alpha": "A-Za-z",
    "digit": "0-9",
    "alnum": "0-9A-Za-z",
    "upper": "A-Z",
    "lower": "a-z",
    "space": _SPACE,
    "blank": r"\x09\x20",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "print": r"\x20-\x7e",
    "graph": r"\x21-\x7e",
    "cntrl": r"\x00-\x1f\x7f",
    "xdigit": "0-9A-Fa-f",
    "word": _WORD,
    "ascii": r"\x00-\x7f",
}
_SIMPLE = {"a": 7, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9}
_HORIZONTAL_BYTES = r"\x09\x20\xa0"
_HORIZONTAL = _HORIZONTAL_BYTES + r"\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"
_VERTICAL_BYTES = r"\x0a-\x0d\x85"
_VERTICAL = _VERTICAL_BYTES + r"\u2028\u2029"


@dataclass
class Characters:
    """A pattern being read, and the place in it; what reads characters and classes there."""

    source: str
    utf8: bool
    javascript: bool
    at: int = 0

    def members(self, char: str) -> str | None:
        r"""The members of the class that ``\d``, ``\W``, ``\h`` and so on stand for, or None."""
        lower = char.lower()
        if lower == "h":
            return _HORIZONTAL if self.utf8 else _HORIZONTAL_BYTES
        if lower == "v":
            return _VERTICAL if self.utf8 else _VERTICAL_BYTES
        return {"d": _DIGIT, "w": _WORD, "s": _SPACE}.get(lower)

    def assertion(self, char: str) -> str | None:
        word = f"[{_WORD}]"
        if char == "R":
            return rf"(?>\x0d\x0a|[{_VERTICAL if self.utf8 else _VERTICAL_BYTES}])"
        return {
            "b": f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))",
            "B": f"(?:(?<={word})(?={word})|(?<!{word})(?!{word}))",
            "A": r"\A",
            "z": r"\Z",
            "Z": r"(?=\n?\Z)",
            "G": r"\G",
            "K": r"\K",
            "N": r"[^\n]",
            "X": r"\X" if self.utf8 else r"[\x00-\xff]",
        }.get(char)

    def property_members(self, char: str) -> str:
        r"""The members of the class that ``\p`` or ``\P`` stands for, maybe none; ``at`` is behind the letter."""
        source = self.source
        if source.startswith("{", self.at):
            end = source.find("}", self.at)
            name = source[self.at + 1 : end] if end > 0 else ""
            self.at = end + 1
        else:
            name = source[self.at : self.at + 1]
            self.at += 1
        if not name.lstrip("^").replace("_", "").replace("&", "").isalnum():
            raise PatternError("malformed \\P or \\p sequence", self.at)
        written = f"\\{char}{{{name}}}"
        bytes_with = _bytes_with(written)
        if bytes_with is None:
            raise PatternError("unknown property after \\P or \\p", self.at)
        return written if self.utf8 else bytes_with

    def code(self, char: str) -> int:
        """The character code of an escape that stands for one; ``at`` is behind ``char``."""
        source = self.source
        if char in _SIMPLE:
            return _SIMPLE[char]
        if char == "c":
            control = source[self.at : self.at + 1]
            if not control or not 32 <= ord(control) <= 126:
                raise PatternError("\\c must be followed by a printable ASCII character", self.at)
            self.at += 1
            return ord(control.upper()) ^ 64
        if char in "x0123456789o":
            base, digits, limit = (16, "0123456789abcdefABCDEF", 2) if char == "x" else (8, "01234567", 3)
            if char in "xo" and source.startswith("{", self.at):
                end = source.find("}", self.at)
                text = source[self.at + 1 : end] if end > 0 else ""
                self.at = end + 1
                if not text or text.strip(digits):
                    raise PatternError("non-hex character in \\x{} (closing brace missing?)", self.at)
            else:
                if char == "o":
                    raise PatternError("missing opening brace after \\o", self.at)
                end = self.at if char == "x" else self.at - 1
                begin = end
                while end < len(source) and end < begin + limit and source[end] in digits:
                    end += 1
                text, self.at = source[begin:end] or "0", end
            code = int(text, base)
            if code > (0x10FFFF if self.utf8 else 0xFF):
                raise PatternError("character code point value in \\x{} or \\o{} is too large", self.at)
            return code
        if char.isascii() and char.isalnum():
            raise PatternError("unrecognized character follows \\", self.at - 1)
        return ord(char)

    def character_class(self) -> str:
        source = self.source
        self.at += 1
        negated = source.startswith("^", self.at)
        self.at += negated
        members: list[str] = []
        nested: list[str] = []
        if source.startswith("]", self.at):
            if self.javascript:
                self.at += 1
                return r"[\s\S]" if negated else r"(?!)"
            self._class_member(members, nested)
        while not source.startswith("]", self.at):
            if self.at >= len(source):
                raise PatternError("missing terminating ] for character class", len(source))
            self._class_member(members, nested)
        self.at += 1
        inner = "".join(members) + "".join(nested)
        if not inner:
            return r"[\s\S]" if negated else "(?!)"
        return f"[{'^' if negated else ''}{inner}]"

    def _class_member(self, members: list[str], nested: list[str]) -> None:
        source = self.source
        low = self._class_item(members, nested)
        if low is None or not source.startswith("-", self.at) or source.startswith("-]", self.at):
            if low is not None:
                members.append(literal(low))
            return
        hyphen = self.at
        self.at += 1
        if self.at >= len(source):
            raise PatternError("missing terminating ] for character class", len(source))
        high = self._class_item(members, nested)
        if high is None:
            # `a-\d`: the hyphen is a plain one.
            members += [literal(low), literal(ord("-"))]
            return
        if high < low:
            raise PatternError("range out of order in character class", hyphen)
        members.append(f"{literal(low)}-{literal(high)}")

    def _class_item(self, members: list[str], nested: list[str]) -> int | None:
        """One item: the code of a single character, or None where it was a whole class and is added already."""
        source, char = self.source, self.source[self.at]
        if char == "[" and source[self.at + 1 : self.at + 2] == ":" and (end := source.find(":]", self.at + 2)) > 0:
            name = source[self.at + 2 : end]
            bare = name.removeprefix("^")
            if bare.isalpha():
                if bare not in _POSIX:
                    raise PatternError("unknown POSIX class name", self.at)
                self.at = end + 2
                (nested if name != bare else members).append(f"[^{_POSIX[bare]}]" if name != bare else _POSIX[bare])
                return None
        if char != "\\":
            self.at += 1
            return ord(char)
        if self.at + 1 >= len(source):
            raise PatternError("\\ at end of pattern", len(source))
        escaped = source[self.at + 1]
        self.at += 2
        if escaped == "b":
            return 8
        if escaped == "Q":
            end = source.find("\\E", self.at)
            end = len(source) if end < 0 else end
            members.extend(literal(ord(quoted)) for quoted in source[self.at : end])
            self.at = min(end + 2, len(source))
            return None
        if escaped == "E":
            return None
        listed = self.members(escaped)
        if listed is not None:
            (nested if escaped.isupper() else members).append(f"[^{listed}]" if escaped.isupper() else listed)
            return None
        if escaped in "pP":
            members.append(self.property_members(escaped))
            return None
        if escaped in "NRXB":
            raise PatternError("escape sequence is invalid in character class", self.at)
        if escaped in "89":
            return ord(escaped)
        return self.code(escaped)


@lru_cache(256)
def _bytes_with(written: str) -> str | None:
    """The bytes that have a property as Latin-1 characters, as members of a class; None for an unknown property."""
    try:
        has_it = regex.compile(written).match
    except regex.error:
        return None
    return "".join(literal(code) for code in range(256) if has_it(chr(code)))


def literal(code: int) -> str:
    """A character that stands for itself, inside and outside a class."""
    char = chr(code)
    if char.isascii() and (char.isalnum() or char == "_"):
        return char
    if code < 256:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
