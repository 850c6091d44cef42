"""What decK's variables stand for, kept out of the findings: a value may be a password.

It is hidden as a whole wherever it stands. Read as YAML or Lua it may also come apart, or mean something else: ``*a``
is an alias, ``a, b`` are two names, an escape is a character. So in the findings of a line that it was put into, its
words are hidden too: in what is quoted, and in the name that the path ends with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import yaml

from request_callout.config.problems import Problem

_SHORT_SECRET = 3
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\$\(.*?\)(?=: )|callouts\.\S+")
_WORD = re.compile(rf"\w{{{_SHORT_SECRET + 1},}}")


def without_values(problem: Problem, values: Mapping[str, str], here: Mapping[str, str]) -> Problem:
    """A problem without the values of variables; ``here`` are those that were put into its line."""
    message, path = problem.message, problem.path
    for name, value in sorted(values.items(), key=lambda one: -len(one[1])):
        for secret in sorted({value, repr(value)[1:-1], *value.splitlines()}, key=len, reverse=True):
            if len(secret) > _SHORT_SECRET:
                message = message.replace(secret, _shown(name))
                path = path.replace(secret, _shown(name))
    for name, value in here.items():
        words = set(_words(value))
        message = _QUOTED.sub(lambda found: _without(words, found[0], name), message)  # noqa: B023  (called at once)
        around, mark, last = path.partition("$(") if "$(" in path else path.rpartition(".")
        path = around + mark + _without(words, last, name)
    return replace(problem, message=message, path=path)


def _shown(name: str) -> str:
    return f"(value of {name})"


def _words(value: str) -> Iterator[str]:
    yield from _WORD.findall(value)
    try:
        written = yaml.safe_load(f'"{value}"')
    except yaml.YAMLError:
        return
    yield from _WORD.findall(str(written))


def _without(words: set[str], text: str, name: str) -> str:
    return _WORD.sub(lambda found: _shown(name) if found[0] in words else found[0], text)
