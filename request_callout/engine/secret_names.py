"""The names that say that a value lets somebody in: of headers, parameters, fields of forms, members of JSON.

The one list for all that shows values to people: traces (``telemetry.masking``), ``try`` and its recordings, and
``explain``. It would rather hide too much. Values known to be secret, whatever their name, are for ``redaction``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

WORDS = "token|secret|passw|passphrase|pwd|key|authori[sz]ation|cookie|credential|session|signature|jwt|assertion"
"""Parts of such names that are not likely within other words; for a regular expression that ignores case."""

_NAME = re.compile(rf"{WORDS}|auth(?!or)|(?<![a-z])sig(?![a-z])|^x-callout-debug$", re.IGNORECASE)
_OPEN = frozenset(
    {"token-type", "tokentype", "access-control-allow-credentials", "www-authenticate", "proxy-authenticate"}
)


def is_secret(name: str) -> bool:
    """Whether what has this name is never shown."""
    return _NAME.search(name) is not None and name.lower().replace("_", "-") not in _OPEN


def mentions_secret(text: str) -> bool:
    """Whether a text, such as an expression, has a word of such names in it."""
    return _NAME.search(text) is not None


def secret_members(members: Mapping[Any, Any]) -> frozenset[Any]:
    """Which members of an object of JSON are secret: by name, and ``value`` where its ``name`` or ``key`` says so."""
    named = members.get("name", members.get("key"))
    pair = {"value"} if isinstance(named, str) and is_secret(named) else set()
    return frozenset(name for name in members if name in pair or is_secret(str(name)))
