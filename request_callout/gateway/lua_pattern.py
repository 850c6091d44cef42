"""Lua's own string patterns, as the ``match`` rules of Kong's schemas use them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import lupa.luajit21 as lupa

from request_callout.values import raw


@lru_cache(maxsize=1)
def _string_match() -> Any:
    # One byte, one character: patterns such as %w then see what they see in Kong.
    runtime = lupa.LuaRuntime(encoding="latin-1", register_eval=False)
    return runtime.eval("string.match")


def matches(value: str, pattern: str) -> bool:
    """Whether ``string.match(value, pattern)`` finds something; raises ValueError for a malformed pattern."""
    try:
        found = _string_match()(raw(value).decode("latin-1"), raw(pattern).decode("latin-1"))
    except lupa.LuaError as error:
        raise ValueError(f"not a Lua pattern: {pattern!r} ({error})") from None
    return found is not None
