r"""Perl-compatible patterns in the syntax of the ``regex`` package.

``ngx.re`` speaks PCRE; ``regex`` is close to it and has a time limit for matching, but differs in escapes, classes,
the meaning of ``\Z`` and ``\v``, the reach of inline options and duplicate group names. ``translate`` parses the
pattern once and writes it anew with everything explicit: classes as lists of hexadecimal codes, groups by number
only (their names are kept beside), extended-mode blanks and comments gone. A pattern without ``u`` is about bytes.

What neither can express is refused with PCRE's position: start options such as ``(*UTF8)``, ``\C``, callouts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from request_callout.lua.pcre_characters import Characters, PatternError, literal

MAX_REPEAT = 65535
MAX_DEPTH = 250
MAX_SIZE = 20_000
"""Items of a pattern, with what is repeated n times at least counted n times: ``regex`` writes these out."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The pattern for ``regex``, its number of groups, and the (number, name) of the named ones, in order of name.

    ``size`` counts its items as ``MAX_SIZE`` does; ``repeated`` is how often at most one of them is written out.
    """

    pattern: str
    groups: int
    names: tuple[tuple[int, str], ...]
    size: int
    repeated: int


_GROUP_OPENINGS = ("?:", "?=", "?!", "?>", "?<=", "?<!")
_NOTHING_TO_REPEAT = "quantifier does not follow a repeatable item"
_VERBS = ("FAIL", "F", "PRUNE", "SKIP", "ACCEPT", "COMMIT")


def translate(pattern: str, *, utf8: bool, extended: bool, multiline: bool, javascript: bool) -> Translation:
    """Rewrite a PCRE pattern; raises PatternError where it is malformed or can't be expressed."""
    return _Translator(pattern, utf8, javascript).run(extended, multiline)


@dataclass
class _Translator(Characters):
    groups: int = 0
    names: list[tuple[int, str]] = field(default_factory=list)
    total: int = 0
    lookarounds: int = 0
    size: int = 0
    repeated: int = 1
    forward_names: dict[str, list[int]] = field(default_factory=dict)

    def run(self, extended: bool, multiline: bool) -> Translation:
        if self.source.startswith("(*") and not self.source.startswith(tuple(f"(*{verb}" for verb in _VERBS)):
            raise PatternError("(*VERB) not recognized or malformed", 2)
        self.total, self.forward_names = _count_groups(self.source)
        out = self._alternatives(extended, multiline, 0)
        if self.at < len(self.source):
            raise PatternError("unmatched closing parenthesis", self.at)
        names = tuple(sorted(self.names, key=lambda named: (named[1], named[0])))
        return Translation(out, self.groups, names, self.size, self.repeated)

    # -- sequences and groups

    def _alternatives(self, extended: bool, multiline: bool, depth: int, reset: bool = False) -> str:
        """Everything up to the closing parenthesis or the end. ``reset``: each branch numbers its groups anew."""
        if depth > MAX_DEPTH:
            raise PatternError("parentheses are too deeply nested", self.at)
        source, out = self.source, []
        first = highest = self.groups
        most_repeated = 1
        while self.at < len(source):
            start, char, size = self.at, source[self.at], self.size
            if char == ")":
                break
            if char == "|":
                self.at += 1
                out.append("|")
                if reset:
                    highest, self.groups = max(highest, self.groups), first
                continue
            if extended and char in " \t\n\r\f\v":
                self.at += 1
                continue
            if extended and char == "#":
                end = source.find("\n", start)
                self.at = len(source) if end < 0 else end + 1
                continue
            if source.startswith("(?#", start):
                end = source.find(")", start)
                if end < 0:
                    raise PatternError("missing ) after (?# comment", len(source))
                self.at = end + 1
                continue
            self.repeated = 1
            if char == "(":
                flags = self._inline_flags(extended, multiline)
                if flags is not None:
                    # From here to the end of the group; later branches keep the options, as in PCRE.
                    text, extended, multiline = flags
                    out.append(text)
                    continue
                item = self._group(extended, multiline, depth)
            elif char == "[":
                item = self.character_class()
            elif char == "\\":
                item = self._escape()
            elif char in "*+?" or (char == "{" and self._braces(start)):
                raise PatternError(_NOTHING_TO_REPEAT, start + 1)
            else:
                self.at += 1
                item = self._plain(char, multiline)
            if item:
                quantifier = self._quantifier(extended)
                if quantifier and (char in "^$" or (char == "\\" and source[start + 1] in "AbBGKzZ")):
                    raise PatternError(_NOTHING_TO_REPEAT, self.at)
                out.append(item + quantifier)
                least = int(quantifier[1:].split("}")[0].split(",")[0]) if quantifier.startswith("{") else 1
                self.size = size + (self.size - size + 1) * max(least, 1)
                self.repeated *= max(least, 1)
                if self.size > MAX_SIZE:
                    raise PatternError("regular expression is too large", self.at)
            most_repeated = max(most_repeated, self.repeated)
        self.repeated = most_repeated
        if reset:
            self.groups = max(highest, self.groups)
        return "".join(out)

    def _plain(self, char: str, multiline: bool) -> str:
        if char == "^":
            # In multi-line mode PCRE's ^ does not match after a newline that ends the subject.
            return r"(?:\A|(?<=\n)(?!\Z))" if multiline else r"\A"
        if char == "$":
            return r"(?=\n|\Z)" if multiline else r"(?=\n?\Z)"
        if char == ".":
            return "."
        return literal(ord(char))

    def _quantifier(self, extended: bool) -> str:
        source = self.source
        if extended:
            while self.at < len(source) and source[self.at] in " \t\n\r\f\v":
                self.at += 1
        if self.at >= len(source):
            return ""
        char = source[self.at]
        if char in "*+?":
            self.at += 1
            text = char
        elif char == "{" and (braces := self._braces(self.at)):
            text, self.at = braces
        else:
            return ""
        if self.at < len(source) and source[self.at] in "?+":
            text += source[self.at]
            self.at += 1
        return text

    def _braces(self, at: int) -> tuple[str, int] | None:
        """A ``{n}``, ``{n,}``, ``{n,m}`` or ``{,m}`` at ``at`` and where it ends; None for a plain brace."""
        end = self.source.find("}", at, at + 24)
        low, comma, high = self.source[at + 1 : end].partition(",") if end > 0 else ("", "", "")
        low, high = low.strip(" \t"), high.strip(" \t")
        if not (_digits(low) or (not low and high)) or (high and not _digits(high)):
            return None
        low = low or "0"
        if int(low) > MAX_REPEAT or (high and int(high) > MAX_REPEAT):
            raise PatternError("number too big in {} quantifier", end)
        if high and int(high) < int(low):
            raise PatternError("numbers out of order in {} quantifier", end)
        return "{" + low + comma + high + "}", end + 1

    def _inline_flags(self, extended: bool, multiline: bool) -> tuple[str, bool, bool] | None:
        """``(?i-x)``: the text for the other options, and the new state of x and m; None if it is no such group."""
        source = self.source
        if not source.startswith("(?", self.at):
            return None
        end = self.at + 2
        while end < len(source) and source[end] in "imsxJU-^":
            end += 1
        if end == self.at + 2 or end >= len(source) or source[end] != ")":
            return None
        parsed = self._flags(source[self.at + 2 : end], extended, multiline)
        self.at = end + 1
        return parsed

    def _flags(self, letters: str, extended: bool, multiline: bool) -> tuple[str, bool, bool]:
        on, off, adding = "", "", True
        for letter in letters:
            if letter == "-":
                adding = False
            elif letter == "x":
                extended = adding
            elif letter == "m":
                multiline = adding
            elif letter == "J":
                continue
            elif letter in "is":
                on, off = (on + letter, off) if adding else (on, off + letter)
            else:
                raise PatternError("unrecognized character after (? or (?-", self.at + 2)
        text = on + ("-" + off if off else "")
        return (f"(?{text})" if text else ""), extended, multiline

    def _group(self, extended: bool, multiline: bool, depth: int) -> str:
        source, start = self.source, self.at
        rest = source[start + 1 : start + 5]
        if rest.startswith("*"):
            return self._verb()
        if rest.startswith("?|"):
            self.at += 3
            return self._closed("(?:", extended, multiline, depth, reset=True)
        for opening in _GROUP_OPENINGS:
            if rest.startswith(opening):
                self.at += 1 + len(opening)
                looks = opening not in ("?:", "?>")
                self.lookarounds += looks
                group = self._closed("(" + opening, extended, multiline, depth)
                self.lookarounds -= looks
                return group
        if not rest.startswith("?"):
            self.at += 1
            self.groups += 1
            return self._closed("(", extended, multiline, depth)
        if (name := self._name_after(("?<", ">"), ("?P<", ">"), ("?'", "'"))) is not None:
            self.groups += 1
            self.names.append((self.groups, name))
            return self._closed("(", extended, multiline, depth)
        if (name := self._name_after(("?P=", ")"))) is not None:
            return self._named_reference(name)
        if (name := self._name_after(("?&", ")"), ("?P>", ")"))) is not None:
            return f"(?{self._numbers_of(name)[0]})"
        if rest.startswith("?("):
            return self._conditional(extended, multiline, depth)
        if rest.startswith(("?R)", "?0)")):
            self.at += 4
            return "(?R)"
        end = source.find(")", start)
        number = source[start + 2 : end] if end > 0 else ""
        if _digits(number.lstrip("+-")) and number[:2] not in ("++", "--"):
            self.at = end + 1
            return f"(?{self._absolute(number)})"
        colon = start + 2
        while colon < len(source) and source[colon] in "imsxJU-^":
            colon += 1
        if colon < len(source) and source[colon] == ":":
            text, extended, multiline = self._flags(source[start + 2 : colon], extended, multiline)
            self.at = colon + 1
            opening = text[:-1] + ":" if text else "(?:"
            return self._closed(opening, extended, multiline, depth)
        raise PatternError("unrecognized character after (? or (?-", min(start + 2, len(source)))

    def _closed(self, opening: str, extended: bool, multiline: bool, depth: int, reset: bool = False) -> str:
        inner = self._alternatives(extended, multiline, depth + 1, reset)
        if self.at >= len(self.source):
            raise PatternError("missing closing parenthesis", len(self.source))
        self.at += 1
        return opening + inner + ")"

    def _verb(self) -> str:
        end = self.source.find(")", self.at)
        name = self.source[self.at + 2 : end] if end > 0 else ""
        if name not in ("FAIL", "F", "PRUNE", "SKIP"):
            raise PatternError("(*VERB) not recognized or malformed", self.at + 2)
        self.at = end + 1
        return "(*FAIL)" if name == "F" else f"(*{name})"

    def _conditional(self, extended: bool, multiline: bool, depth: int) -> str:
        start = self.at
        end = self.source.find(")", start)
        test = self.source[start + 3 : end] if end > 0 else ""
        if test == "DEFINE":
            opening = "(?(DEFINE)"
        elif _digits(test.lstrip("+-")) and test:
            opening = f"(?({self._absolute(test)})"
        elif test[:1] in ("<", "'"):
            opening = f"(?({self._numbers_of(test[1:-1])[0]})"
        elif test.startswith(("?=", "?!", "?<=", "?<!")):
            self.at = start + 2
            condition = self._group(extended, multiline, depth)
            return self._closed(f"(?{condition}", extended, multiline, depth)
        elif test in self.forward_names:
            opening = f"(?({self._numbers_of(test)[0]})"
        else:
            raise PatternError("malformed number or name after (?(", start + 3)
        self.at = end + 1
        return self._closed(opening, extended, multiline, depth)

    # -- references

    def _name_after(self, *forms: tuple[str, str]) -> str | None:
        for opening, closing in forms:
            if self.source.startswith("(" + opening, self.at):
                begin = self.at + 1 + len(opening)
                end = self.source.find(closing, begin)
                name = self.source[begin:end] if end > 0 else ""
                if not name or not name.replace("_", "a").isalnum() or name[0].isdigit() or not name.isascii():
                    raise PatternError("syntax error in subpattern name (missing terminator?)", begin)
                if len(name) > 32:
                    raise PatternError("subpattern name is too long (maximum 32 code units)", begin + 32)
                self.at = end + 1
                return name
        return None

    def _numbers_of(self, name: str) -> list[int]:
        numbers = [number for number, known in self.names if known == name] or self.forward_names.get(name)
        if not numbers:
            raise PatternError("reference to non-existent subpattern", self.at)
        return numbers

    def _absolute(self, text: str) -> int:
        number = int(text.lstrip("+-") or "0")
        if text.startswith("-"):
            number = self.groups - number + 1
        elif text.startswith("+"):
            number += self.groups
        if not 1 <= number <= self.total:
            raise PatternError("reference to non-existent subpattern", self.at)
        return number

    def _reference(self, number: int) -> str:
        # In JavaScript mode a reference to a group that has not matched is empty; elsewhere it fails.
        return f"(?({number})\\g<{number}>)" if self.javascript else f"\\g<{number}>"

    def _named_reference(self, name: str) -> str:
        numbers = self._numbers_of(name)
        if len(numbers) == 1:
            return self._reference(numbers[0])
        return "(?:" + "|".join(self._reference(number) for number in numbers) + ")"

    # -- escapes

    def _escape(self) -> str:
        source, start = self.source, self.at
        if start + 1 >= len(source):
            raise PatternError("\\ at end of pattern", len(source))
        char = source[start + 1]
        self.at += 2
        if char == "Q":
            end = source.find("\\E", self.at)
            text = source[self.at :] if end < 0 else source[self.at : end]
            self.at = len(source) if end < 0 else end + 2
            return "".join(literal(ord(quoted)) for quoted in text)
        if char == "E":
            return ""
        negated = char.isupper()
        if (members := self.members(char)) is not None:
            return f"[{'^' if negated else ''}{members}]"
        if char == "K" and self.lookarounds:
            raise PatternError("\\K is not allowed in lookarounds", self.at)
        fixed = self.assertion(char)
        if fixed is not None:
            return fixed
        if char in "gk":
            return self._lettered_reference(char)
        if char in "123456789":
            end = start + 2
            while end < len(source) and source[end].isdigit() and source[end].isascii():
                end += 1
            number = int(source[start + 1 : end])
            if number < 10 or number <= self.total:
                if number > self.total:
                    raise PatternError("reference to non-existent subpattern", end)
                self.at = end
                return self._reference(number)
            if char in "89":
                return literal(ord(char))
        if char in "pP":
            members = self.property_members(char)
            return f"[{members}]" if members else "(?!)"
        code = self.code(char)
        return literal(code)

    def _lettered_reference(self, char: str) -> str:
        source = self.source
        opening = source[self.at : self.at + 1]
        closing = {"{": "}", "<": ">", "'": "'"}.get(opening)
        if closing is None:
            end = self.at
            while end < len(source) and (source[end].isdigit() or (end == self.at and source[end] in "+-")):
                end += 1
            text, after = source[self.at : end], end
        else:
            end = source.find(closing, self.at + 1)
            if end < 0:
                raise PatternError("syntax error in subpattern name (missing terminator?)", len(source))
            text, after = source[self.at + 1 : end], end + 1
        if _digits(text.lstrip("+-")) and char == "g":
            number = self._absolute(text)
            self.at = after
            return f"(?{number})" if opening in ("<", "'") else self._reference(number)
        if closing is None or not text:
            raise PatternError("a numbered reference must not be zero", self.at)
        reference = f"(?{self._numbers_of(text)[0]})" if char == "g" and opening != "{" else self._named_reference(text)
        self.at = after
        return reference


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _count_groups(source: str) -> tuple[int, dict[str, list[int]]]:
    """How many groups a pattern has and the numbers of the named ones: references may point forward.

    A branch reset counts each branch's groups apart here, so only references beyond it see too high a number.
    """
    at, total = 0, 0
    names: dict[str, list[int]] = {}
    while at < len(source):
        char = source[at]
        if char == "\\":
            if source.startswith("\\Q", at):
                end = source.find("\\E", at)
                at = len(source) if end < 0 else end
            at += 2
            continue
        if char == "[":
            at += 1 + source.startswith("^", at + 1)
            at += source.startswith("]", at)
            while at < len(source) and source[at] != "]":
                if source.startswith("[:", at) and (end := source.find(":]", at)) > 0:
                    at = end + 1
                at += 2 if source[at] == "\\" else 1
        elif char == "(":
            for opening, closing in (("(?<", ">"), ("(?P<", ">"), ("(?'", "'")):
                if source.startswith(opening, at) and source[at + len(opening) : at + len(opening) + 1] not in (
                    "=",
                    "!",
                ):
                    total += 1
                    name = source[at + len(opening) : source.find(closing, at + len(opening))]
                    names.setdefault(name, []).append(total)
                    break
            else:
                # Neither `(?...)` nor `(*...)`, nor the test of a condition, `(?(1)...)`.
                if source[at + 1 : at + 2] not in ("?", "*") and source[max(at - 2, 0) : at] != "(?":
                    total += 1
        at += 1
    return total, names
