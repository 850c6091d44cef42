"""Text in the character sets that the web has (WHATWG Encoding Standard, section 4.2), to Unicode.

A callee may name any charset. Python's own look-up would import a module by that name and keep what it does not know
for ever, so only names in this table ever reach it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CODECS: Mapping[str, str] = {
    **{name: name for name in ("utf-8", "utf-16", "utf-16le", "utf-16be", "koi8-r", "koi8-u")},
    **{name: name for name in ("big5", "gbk", "gb18030", "hz-gb-2312", "euc-kr", "euc-jp", "shift_jis", "iso-2022-jp")},
    **{f"iso-8859-{part}": f"iso-8859-{part}" for part in (*range(1, 12), *range(13, 17))},
    **{f"windows-{page}": f"cp{page}" for page in (874, *range(1250, 1259))},
    **{f"cp{page}": f"cp{page}" for page in (437, 850, 866, *range(1250, 1259))},
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "latin1": "iso-8859-1",
    "ibm866": "cp866",
    "gb2312": "gbk",
    "shift-jis": "shift_jis",
    "sjis": "shift_jis",
    "macintosh": "mac-roman",
}

_PARAMETER = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))


class CharsetError(ValueError):
    """Bytes that are not what their charset says."""


def charset_of(content_type: str | None) -> str | None:
    """The name of the charset that a ``Content-Type`` gives, in lower case; None if it gives none."""
    found = None if content_type is None else _PARAMETER.search(content_type)
    return None if found is None else found.group(1).lower()


def is_known(charset: str | None) -> bool:
    """Whether text in this charset can be read."""
    return charset in _CODECS


def decode_charset(data: bytes, charset: str) -> str:
    """The text of bytes in a known charset, without a byte order mark; raises CharsetError."""
    try:
        return data.decode(_CODECS[charset]).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise CharsetError(f"byte {error.start} is no {charset}") from None


def marked_charset(data: bytes) -> str | None:
    """The charset that a byte order mark at the start tells."""
    return next((charset for mark, charset in _MARKS if data.startswith(mark)), None)
