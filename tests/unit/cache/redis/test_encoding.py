from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.cache.redis.encoding import VERSION, decode, encode
from request_callout.cache.store import NOT_DECODED, CachedResponse
from request_callout.values import text

RECEIVED = st.binary(max_size=30).map(text)
RESPONSES = st.builds(
    CachedResponse,
    status=st.integers(100, 599),
    headers=st.dictionaries(RECEIVED, RECEIVED | st.lists(RECEIVED)),
    raw_body=st.binary(),
    stored_at=st.floats(allow_nan=False, allow_infinity=False),
    fresh_s=st.floats(allow_nan=False),
    callout=RECEIVED,
    plugin_id=RECEIVED,
    varies=st.dictionaries(RECEIVED, st.none() | RECEIVED),
)
GOLDEN = CachedResponse(
    status=200,
    headers={"Content-Type": "text/plain", "Set-Cookie": ["a=1", "b=\udcff"]},
    raw_body=b"\xff\x00ok",
    stored_at=1700000000.25,
    callout="auth",
    plugin_id="3f1c",
    varies={"accept": "*/*", "accept-language": None},
)
GOLDEN_BYTES = (
    b"\x01\x98\xcc\xc8"
    b"\x82\xacContent-Type\xaatext/plain\xaaSet-Cookie\x92\xa3a=1\xa3b=\xff"
    b"\xc4\x04\xff\x00ok"
    b"\xcb\x41\xd9\x54\xfc\x40\x10\x00\x00"
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"
    b"\xa4auth\xa43f1c"
    b"\x82\xa6accept\xa3*/*\xafaccept-language\xc0"
)
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS: tuple[Any, ...] = (200, {"a": "b"}, b"body", 1.5, 60.0, "auth", "3f1c", {"accept": None})
WRONG: dict[int, list[Any]] = {
    0: [True, 200.0, "200", None],
    1: [[], None, {"a": 1}, {"a": [1]}, {b"a": "b"}, {1: "b"}, {"a": None}],
    2: ["body", None, [1]],
    3: [math.inf, math.nan, True, "1", None],
    4: [math.nan, False, "1", None],
    5: [b"auth", None, 1],
    6: [b"3f1c", None, 1],
    7: [[], {"accept": 1}, {"accept": ["a"]}, {b"accept": None}, None],
}


def packed(*fields: Any) -> bytes:
    return bytes([VERSION]) + bytes(msgpack.packb(fields))


def test_releases_agree_on_the_bytes() -> None:
    """A response gives the same bytes in every release, and they give the response again."""
    assert encode(GOLDEN) == GOLDEN_BYTES
    assert decode(GOLDEN_BYTES) == GOLDEN


@given(RESPONSES)
def test_what_is_encoded_is_decoded(response: CachedResponse) -> None:
    """Every response comes back as it was."""
    assert decode(encode(response)) == response


def test_the_decoded_body_is_left_out() -> None:
    """A decoded body is not kept: the bytes of the body are."""
    entry = decode(encode(CachedResponse(200, {}, b"[1]", [1])))
    assert entry is not None
    assert (entry.raw_body, entry.body) == (b"[1]", NOT_DECODED)


@given(st.binary())
def test_garbage_is_unreadable(value: bytes) -> None:
    """Bytes of any kind after the version are a response, or None; nothing is raised."""
    entry = decode(bytes([VERSION]) + value)
    assert entry is None or decode(encode(entry)) == entry


@given(RESPONSES, st.data())
def test_a_truncated_value_is_unreadable(response: CachedResponse, data: st.DataObject) -> None:
    """No part of a value is taken for a value."""
    value = encode(response)
    assert decode(value[: data.draw(st.integers(0, len(value) - 1))]) is None


@given(RESPONSES, st.binary(min_size=1))
def test_what_follows_makes_it_unreadable(response: CachedResponse, more: bytes) -> None:
    """A value with more bytes at its end is none."""
    assert decode(encode(response) + more) is None


@given(RESPONSES, st.integers(0, 255).filter(lambda version: version != VERSION))
def test_another_version_is_unreadable(response: CachedResponse, version: int) -> None:
    """A value of another version is not guessed at."""
    assert decode(bytes([version]) + encode(response)[1:]) is None


@given(JSON_LIKE)
def test_another_document_is_unreadable(document: Any) -> None:
    """A well-formed document that has not the fields is None."""
    assert decode(bytes([VERSION]) + bytes(msgpack.packb(document))) is None


@pytest.mark.parametrize(
    ("place", "value"),
    [(place, value) for place, values in WRONG.items() for value in values],
)
def test_a_wrong_type_is_unreadable(place: int, value: Any) -> None:
    """A field of another type makes the whole value unreadable."""
    assert decode(packed(*FIELDS)) is not None
    assert decode(packed(*FIELDS[:place], value, *FIELDS[place + 1 :])) is None


@pytest.mark.parametrize("fields", [FIELDS[:-1], (*FIELDS, None), ()])
def test_the_number_of_fields_counts(fields: tuple[Any, ...]) -> None:
    """A value with more or fewer fields is unreadable."""
    assert decode(packed(*fields)) is None


@pytest.mark.parametrize("value", [None, 1, "text", [GOLDEN_BYTES]])
def test_what_is_not_bytes_is_unreadable(value: object) -> None:
    """A reply of Redis that is no string is no value."""
    assert decode(value) is None


def test_text_without_bytes_is_refused() -> None:
    """Text that stands for no bytes is a ValueError, as of any text that can't be encoded."""
    with pytest.raises(ValueError, match="surrogates"):
        encode(CachedResponse(200, {}, b"", callout="\ud800"))
