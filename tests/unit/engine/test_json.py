from __future__ import annotations

from typing import Any

import pytest

from request_callout.engine import json
from request_callout.lua import Lua
from tests.unit.lua.recording_host import Bench


@pytest.mark.parametrize(
    "value", [True, "a", 0, 1, -1, 10**14 - 1, 10**14, 2**53, 10**20, 1.5, 0.1, 1e21, -2.0, 1e-7, 1 / 3]
)
def test_scalars_read_as_in_lua(value: Any) -> None:
    """What Python puts in an expression's place is what Lua's ``tostring`` gives."""
    bench = Bench({}, lua=Lua())
    bench.context.set(("callouts",), {"v": value})
    assert json.lua_text(value) == bench.result("return tostring(kong.ctx.shared.callouts.v)")


@pytest.mark.parametrize("value", [None, False])
def test_nothing_is_the_empty_string(value: Any) -> None:
    """Nil, null and false give the empty string."""
    assert json.lua_text(value) == ""


def test_tables_are_left_to_lua() -> None:
    """Only Lua can tell what a table reads as."""
    assert json.lua_text({}) is None
    assert json.lua_text([1]) is None


@pytest.mark.parametrize("container", ["list", "dict"])
def test_a_value_too_deep_is_an_error_and_no_crash(container: str) -> None:
    """However deep a value nests, encoding it ends in an error that can be caught: compiled code has no other limit."""
    value: Any = 1
    for _ in range(100_000):
        value = [value] if container == "list" else {"a": value}
    with pytest.raises(RecursionError):
        json.encode(value)


def test_a_document_of_too_many_objects_and_lists_is_refused() -> None:
    """A body of a few megabytes must not become gigabytes, nor stop the worker: what its texts hold does not count."""
    most = json.MAX_CONTAINERS
    assert len(json.decode(b"[" + b"{}," * (most - 2) + b"[]]")) == most - 1
    assert json.decode(b'["' + b'[\\"{' * most + b'"]') == ['["{' * most]
    for hostile in (b"[" + b"[]," * most + b"[]]", b"{" * (most + 1), b'"' + b"[" * (most + 1)):
        with pytest.raises(json.NotJsonError, match="more than 1,000,000 objects and lists"):
            json.decode(hostile)
