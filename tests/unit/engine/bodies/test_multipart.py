"""Reading multipart bodies of clients."""

from __future__ import annotations

import pytest

from request_callout.engine.multipart import MAX_PARTS, decode_multipart

TYPE = "multipart/form-data; boundary=b"
FIELD = b'--b\r\nContent-Disposition: form-data; name="a"\r\n'


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (FIELD + b"\r\n1\r\n--b--\r\n", {"a": "1"}),
        (b"preamble\r\n" + FIELD + b"\r\n1\r\n--b--\r\nepilogue", {"a": "1"}),
        (FIELD + b"\r\n1\r\n" + FIELD + b"\r\n\r\n--b--", {"a": ["1", ""]}),
        (FIELD + b"\r\n1", {"a": "1"}),
        (FIELD.replace(b"\r\n", b"\n") + b"\nx\n--b--\n", {"a": "x"}),
        (FIELD + b"Content-Type: text/plain\r\n\r\n\r\n--bb\r\n--b --\r\n--b--", {"a": "\r\n--bb\r\n--b --"}),
        (b'--b\r\ncontent-disposition:form-data;filename="name=x; name=\\"y\\"";NAME=z\r\n\r\n1\r\n--b--', {"z": "1"}),
        (b'--b\r\nContent-Disposition: form-data;\r\n name="a \\"b\\" c"\r\n\r\n1\r\n--b--', {'a "b" c': "1"}),
        (b'--b\r\nContent-Disposition: form-data; name="\xc3\xbc\xff"\r\n\r\n\xff\r\n--b--', {"ü\udcff": "\udcff"}),
        (FIELD + b"Content-Transfer-Encoding: base64\r\n\r\nMQ==\r\n--b--", {"a": "1"}),
        (FIELD + b"Content-Transfer-Encoding: base64\r\n\r\n1\r\n--b--", {"a": "1"}),
        (FIELD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=31\r\n--b--", {"a": "1"}),
        (b"--b\r\n\r\n1\r\n--b\r\nX: name=a\r\n\r\n1\r\n--b--", {}),
        (FIELD + b"X: " + b"x" * 9000 + b"\r\n\r\n1\r\n--b--", {}),
        (b"--b--", {}),
        (b"a=1", None),
        (b"", None),
    ],
)
def test_fields(body: bytes, fields: object) -> None:
    """Each part with a name is a field, whatever stands around it, in it or in its other headers."""
    assert decode_multipart(body, TYPE) == fields


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", "boundary=b"])
def test_no_boundary(content_type: str) -> None:
    """Without a boundary nothing can be told apart."""
    assert decode_multipart(FIELD + b"\r\n1\r\n--b--", content_type) is None


def test_a_quoted_boundary() -> None:
    """The boundary may be quoted, and its name written in any way."""
    assert decode_multipart(FIELD + b"\r\n1\r\n--b--", 'Multipart/Form-Data; charset=x; Boundary="b"') == {"a": "1"}


def test_too_many_parts_are_none() -> None:
    """A megabyte of empty parts is refused before they cost anything."""
    assert decode_multipart(b"--b\r\n\r\n" * MAX_PARTS + b"--b--", TYPE) == {}
    assert decode_multipart(b"--b\r\n\r\n" * (MAX_PARTS + 1) + b"--b--", TYPE) is None


NESTED = b"".join(
    b"--b%d\r\nContent-Disposition: form-data; name=a\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n"
    % (i, i + 1)
    for i in range(3000)
)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (NESTED + b"\r\n" * 5_000_000, "multipart/form-data; boundary=b0"),
        (b"--b\r\n\r\n" * 1_000_000, TYPE),
        (b"--b\r\nContent-Disposition: form-data" + b";a*0*=x" * 1_000_000 + b"\r\n\r\n1", TYPE),
        (b"--b\r\nContent-Disposition: form-data; a=" + b"\\" * 8000 + b'"' * 100 + b"\r\n\r\n1", TYPE),
        (b'--b\r\nContent-Disposition: form-data; name=a; x="' + b'\\"' * 3000 + b"\r\n\r\n1", TYPE),
        (b"--b\r\nContent-Disposition: " + b"\r\n " * 2000 + b"\r\n\r\n1", TYPE),
        (b"--b" + b" \t" * 500_000, TYPE),
        (b"--b--b" * 500_000, TYPE),
        (b"\r\n" * 1_000_000, TYPE),
        (FIELD, "multipart/form-data" + ";" * 1_000_000 + "boundary=b"),
        (FIELD, 'multipart/form-data; x="' + "\\a" * 1_000_000),
        (FIELD, "multipart/form-data; " + "x" * 1_000_000),
    ],
)
def test_a_hostile_body_ends_in_time(body: bytes, content_type: str) -> None:
    """What keeps the parser of mail busy for minutes, or overflows its stack, is done within a test's time."""
    found = decode_multipart(body, content_type)
    assert found is None or set(found) <= {"a"}
