"""The engine behind ``ngx.re``: compiled patterns, and the search for one match.

Patterns are PCRE's (see ``pcre.py``), run by the ``regex`` package with a time limit for each search, since a
backtracking search can't be stopped from outside. Subjects are bytes; with ``u`` they are searched as UTF-8 text and
positions are turned into bytes again. A match is told as one number, first * 2**26 + length, which Lua can hold.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import regex
from cachetools import LRUCache

from request_callout.lua.pcre import translate
from request_callout.lua.pcre_characters import PatternError

SEARCH_SECONDS = 0.05
"""CPU time that one search may take."""

NO_MATCH = -1
TOO_LONG = -2
BAD_UTF8 = -3
SPAN = 1 << 26

CACHE_BYTES = 64 * 1024 * 1024
"""Of memory, about, for the compiled patterns of the process; scripts choose their patterns, and how many."""

_PATTERN_BYTES = 128 * 1024
"""For any pattern, with what ``regex`` keeps of a search's backtracking for the next one, see ``_LONG_SECONDS``."""

_LONG_SECONDS = 0.001
"""After a search longer than this (about 0.2 MB of backtracking) a pattern is not kept compiled."""

_ITEM_BYTES, _CODE_BYTES = 300, 64
"""Measured upper bounds of what ``regex`` takes for an item of a pattern, and for a byte of the code it pickles."""
_EMPTY_BYTES = len(pickle.dumps(regex.compile(b"", cache_pattern=False)))


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A pattern ready to search, with what ``ngx.re`` has to know of it."""

    search: Any
    groups: int
    names: tuple[tuple[int, str], ...]
    utf8: bool
    checked: bool
    weight: int


_cache: LRUCache[tuple[bytes, bytes], _Compiled] = LRUCache(CACHE_BYTES, getsizeof=lambda compiled: compiled.weight)


def _compile(pattern: bytes, options: bytes) -> _Compiled:
    known = _cache.get((pattern, options))
    if known is not None:
        return known
    utf8 = b"u" in options or b"U" in options
    try:
        source = pattern.decode("utf-8" if utf8 else "latin-1")
    except UnicodeDecodeError as error:
        raise PatternError("UTF-8 error", error.start) from None
    translated = translate(
        source, utf8=utf8, extended=b"x" in options, multiline=b"m" in options, javascript=b"J" in options
    )
    # The branches of a branch reset give the same number, and may give the same name, several times.
    named = set(translated.names)
    if b"D" not in options and len({name for _, name in named}) < len(named):
        raise PatternError("two named subpatterns have the same name (PCRE2_DUPNAMES not set)", len(source))
    flags = int(regex.V1)
    flags |= regex.IGNORECASE if b"i" in options else 0
    flags |= regex.DOTALL if b"s" in options else 0
    flags |= regex.POSIX if b"d" in options else 0
    text = translated.pattern
    try:
        compiled: Any = regex.compile(cast("Any", text if utf8 else text.encode("latin-1")), flags, cache_pattern=False)
    except regex.error as error:
        raise PatternError(str(error), len(source)) from None
    except (RecursionError, OverflowError, MemoryError):
        raise PatternError("regular expression is too complicated", len(source)) from None
    code_bytes = max(len(pickle.dumps(compiled)) - _EMPTY_BYTES - len(text), 16)
    weight = _PATTERN_BYTES + _ITEM_BYTES * translated.size + _CODE_BYTES * translated.repeated * code_bytes
    if weight > CACHE_BYTES:
        raise PatternError("regular expression is too large", len(source))
    anchored = b"a" in options
    found = _Compiled(
        search=compiled.match if anchored else compiled.search,
        groups=translated.groups,
        names=tuple(sorted(named, key=lambda pair: (pair[1], pair[0]))),
        utf8=utf8,
        checked=b"U" not in options,
        weight=weight,
    )
    _cache[pattern, options] = found
    return found


class Engine:
    """The searches of one Lua state: the subject at hand and the last match in it."""

    def __init__(self) -> None:
        self._subject: bytes = b""
        self._text: str | None = None
        self._ascii = False
        self._match: Any = None
        self._char, self._byte = 0, 0
        self._problem = b""

    def compile(self, pattern: bytes, options: bytes) -> bytes | None:
        """What there is to know of a pattern, ``GROUPS NUMBER:NAME ...``; None and ``problem`` if it is malformed."""
        try:
            compiled = _compile(pattern, options)
        except PatternError as error:
            near = pattern.decode("latin-1")
            at = f' at "{near[error.position :]}"' if error.position < len(near) else ""
            self._problem = f'pcre2_compile() failed: {error.message} in "{near}"{at}'.encode("latin-1", "replace")
            return None
        return " ".join([str(compiled.groups), *(f"{number}:{name}" for number, name in compiled.names)]).encode()

    def problem(self) -> bytes:
        """Why the last ``compile`` or ``search`` gave nothing."""
        return self._problem

    def set_subject(self, subject: bytes) -> None:
        """The text that ``search`` is about from now on."""
        self._subject, self._text, self._match = subject, None, None
        self._char = self._byte = 0

    def search(self, pattern: bytes, options: bytes, position: int) -> int:
        """The first match at or behind byte ``position``: its span, or NO_MATCH, TOO_LONG, BAD_UTF8."""
        compiled = _compile(pattern, options)
        position = int(position)
        started = perf_counter()
        try:
            if not compiled.utf8:
                found = compiled.search(self._subject, position, timeout=SEARCH_SECONDS)
            else:
                if not self._decode(compiled.checked):
                    return BAD_UTF8
                found = compiled.search(self._text, self._char_of(position), timeout=SEARCH_SECONDS)
        except TimeoutError:
            return TOO_LONG
        finally:
            if perf_counter() - started > _LONG_SECONDS:
                _cache.pop((pattern, options), None)
        if found is None:
            return NO_MATCH
        self._match = found
        return self.span(0)

    def span(self, group: int) -> int:
        """The span of a group of the last match; NO_MATCH if it did not take part."""
        first, last = self._match.span(int(group))
        if first < 0:
            return NO_MATCH
        first = min(first, last)  # \K may have moved the start beyond the end
        if self._text is not None and not self._ascii:
            length = len(self._text[first:last].encode("utf-8", "surrogateescape"))
            first = self._byte_of(first)
        else:
            length = last - first
        return int(first * SPAN + length)

    def _decode(self, checked: bool) -> bool:
        if self._text is None:
            try:
                self._text = self._subject.decode("utf-8", "strict" if checked else "surrogateescape")
            except UnicodeDecodeError:
                return False
            self._ascii = len(self._text) == len(self._subject)
        return True

    # Characters and bytes are counted on from the last place that was asked for: a loop over matches stays linear.

    def _byte_of(self, char: int) -> int:
        if char < self._char:
            self._char = self._byte = 0
        self._byte += len((self._text or "")[self._char : char].encode("utf-8", "surrogateescape"))
        self._char = char
        return self._byte

    def _char_of(self, byte: int) -> int:
        if self._ascii:
            return byte
        if byte < self._byte:
            self._char = self._byte = 0
        self._char += len(self._subject[self._byte : byte].decode("utf-8", "surrogateescape"))
        self._byte = byte
        return self._char
