"""What the ``ngx`` functions of scripts need from Python: digests, base64 and times.

Text is bytes. Nothing here calls into Lua; ``prelude/ngx.lua`` checks the arguments and gives the functions their
OpenResty names.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import hashlib
import hmac
import re
import time
import zlib

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LAST_SECOND = calendar.timegm((9999, 12, 31, 23, 59, 59))

_DATE_FORMS = (
    # RFC 9110's IMF-fixdate, RFC 850 and asctime(), section 5.6.7
    re.compile(rb"^\s*[A-Za-z]*,\s*(?P<d>\d\d)\s+(?P<m>[A-Z][a-z]{2})\s+(?P<y>\d{4})\s+(?P<t>\d\d:\d\d:\d\d)"),
    re.compile(rb"^\s*[A-Za-z]*,\s*(?P<d>\d\d)-(?P<m>[A-Z][a-z]{2})-(?P<y>\d{2})\s+(?P<t>\d\d:\d\d:\d\d)"),
    re.compile(rb"^\s*[A-Za-z]{3}\s+(?P<m>[A-Z][a-z]{2})\s+(?P<d>\d{1,2})\s+(?P<t>\d\d:\d\d:\d\d)\s+(?P<y>\d{4})"),
)


def encode_base64(text: bytes, no_padding: bool) -> bytes:
    """``text`` in base64, without the ``=`` at the end if ``no_padding``."""
    encoded = base64.b64encode(text)
    return encoded.rstrip(b"=") if no_padding else encoded


def decode_base64(text: bytes) -> bytes | None:
    """The bytes that ``text`` stands for, its padding optional, as nginx reads it; None if it is no base64."""
    bare = text.split(b"=", 1)[0]
    if len(bare) % 4 == 1:
        return None
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def md5(text: bytes) -> bytes:
    """The MD5 digest in lower-case hexadecimal."""
    return hashlib.md5(text, usedforsecurity=False).hexdigest().encode()


def md5_bin(text: bytes) -> bytes:
    """The 16 bytes of the MD5 digest."""
    return hashlib.md5(text, usedforsecurity=False).digest()


def sha1_bin(text: bytes) -> bytes:
    """The 20 bytes of the SHA-1 digest."""
    return hashlib.sha1(text, usedforsecurity=False).digest()


def hmac_sha1(secret: bytes, text: bytes) -> bytes:
    """The 20 bytes of HMAC-SHA-1 (RFC 2104)."""
    return hmac.digest(secret, text, "sha1")


def crc32(text: bytes) -> int:
    """The CRC-32 of ``text`` as an unsigned number."""
    return zlib.crc32(text)


def now() -> float:
    """Seconds since the epoch, to the millisecond, as nginx keeps them."""
    return time.time_ns() // 1_000_000 / 1000


def seconds() -> int:
    """Whole seconds since the epoch."""
    return int(time.time())


def localtime() -> bytes:
    """The local time as ``yyyy-mm-dd hh:mm:ss``."""
    return time.strftime("%Y-%m-%d %H:%M:%S").encode()


def utctime() -> bytes:
    """The UTC time as ``yyyy-mm-dd hh:mm:ss``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()).encode()


def http_time(at: float) -> bytes:
    """A time in seconds as an HTTP header has it (RFC 9110, IMF-fixdate), from 1970 to 9999 as nginx bounds it."""
    return _formatted(at, " ", short_year=False)


def cookie_time(at: float) -> bytes:
    """A time in seconds as nginx writes it in cookies: dashes, and two digits for years up to 2037."""
    return _formatted(at, "-", short_year=True)


def _formatted(at: float, separator: str, short_year: bool) -> bytes:
    # What is no 64-bit integer becomes a negative one, and those are 1970.
    moment = time.gmtime(min(int(at), _LAST_SECOND) if 0 <= at < 2**63 else 0)
    year = f"{moment.tm_year % 100:02}" if short_year and moment.tm_year <= 2037 else f"{moment.tm_year:04}"
    date = separator.join((f"{moment.tm_mday:02}", _MONTHS[moment.tm_mon - 1], year))
    clock = f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
    return f"{_DAYS[moment.tm_wday]}, {date} {clock} GMT".encode()


def parse_http_time(text: bytes) -> int | None:
    """The seconds that one of HTTP's three date forms stands for; None for anything else."""
    for form in _DATE_FORMS:
        found = form.match(text[:128])
        if found is None:
            continue
        day, year = int(found["d"]), int(found["y"])
        if len(found["y"]) == 2:
            year += 2000 if year < 70 else 1900
        hour, minute, second = (int(part) for part in found["t"].split(b":"))
        month = found["m"].decode()
        if month not in _MONTHS or year < 1970 or hour > 23 or minute > 59 or second > 59:
            return None
        number = _MONTHS.index(month) + 1
        if not 1 <= day <= calendar.monthrange(year, number)[1]:
            return None
        return calendar.timegm((year, number, day, hour, minute, second))
    return None
