"""The functions of ngx."""

from __future__ import annotations

import hashlib
import hmac
import time
import zlib
from collections.abc import Callable

import pytest

Run = Callable[[str], str]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("ngx.encode_args({foo = 3, ['b r'] = 'hello world'}):len()", "25"),
        ("ngx.encode_args({baz = {32, 'hello', true}})", '"baz=32&baz=hello&baz"'),
        ("ngx.encode_args({a = true, b = false})", '"a"'),
        ("ngx.encode_args({})", '""'),
        ("ngx.decode_args('a=bar&b=foo&a=baz&c&d=')", '{a={1="bar",2="baz"},b="foo",c=true,d=""}'),
        ("ngx.decode_args('a%20b=1+61%2B&=x&&c=a=b')", '{a b="1 61+",c="a=b"}'),
        ("ngx.decode_args('a=1&b=2&c=3', 2)", '{a="1",b="2"} "truncated"'),
        ("ngx.decode_args('a=1&b=2&c=3', 0)", '{a="1",b="2",c="3"}'),
        ("ngx.escape_uri('a b/c?d=e&f%g+é~-._!()*')", '"a%20b%2Fc%3Fd%3De%26f%25g%2B%C3%A9~-._!()*"'),
        ("ngx.escape_uri('a b/c?d=e&f%g+é', 0)", '"a%20b/c%3Fd=e&f%25g+%C3%A9"'),
        ("ngx.escape_uri(nil), ngx.escape_uri(12)", '"" "12"'),
        ("ngx.unescape_uri('b%20r56+7%2f%zz%4')", '"b r56 7/%zz%4"'),
        ("ngx.encode_base64('hello'), ngx.encode_base64('hello', true)", '"aGVsbG8=" "aGVsbG8"'),
        (
            "ngx.decode_base64('aGVsbG8='), ngx.decode_base64('aGVsbG8'), ngx.decode_base64('a$b')",
            '"hello" "hello" nil',
        ),
        ("ngx.md5('hello'), #ngx.md5_bin('hello'), #ngx.sha1_bin('hello')", '"5d41402abc4b2a76b9719d911017c592" 16 20'),
        ("ngx.md5(nil)", '"d41d8cd98f00b204e9800998ecf8427e"'),
        ("ngx.crc32_short('hello'), ngx.crc32_long('hello')", f"{zlib.crc32(b'hello')} {zlib.crc32(b'hello')}"),
        ("ngx.http_time(1290079655)", '"Thu, 18 Nov 2010 11:27:35 GMT"'),
        ("ngx.http_time(-1), ngx.http_time(0 / 0)", '"Thu, 01 Jan 1970 00:00:00 GMT" "Thu, 01 Jan 1970 00:00:00 GMT"'),
        (
            "ngx.http_time(1e15), ngx.cookie_time(2 ^ 63)",
            '"Fri, 31 Dec 9999 23:59:59 GMT" "Thu, 01-Jan-70 00:00:00 GMT"',
        ),
        (
            "ngx.cookie_time(1290079655), ngx.cookie_time(4000000000)",
            '"Thu, 18-Nov-10 11:27:35 GMT" "Tue, 02-Oct-2096 07:06:40 GMT"',
        ),
        ("ngx.parse_http_time('Thu, 18 Nov 2010 11:27:35 GMT')", "1290079655"),
        ("ngx.parse_http_time('Thursday, 18-Nov-10 11:27:35 GMT')", "1290079655"),
        ("ngx.parse_http_time('Thu Nov 18 11:27:35 2010')", "1290079655"),
        ("ngx.parse_http_time('Sun, 6 Nov 1994 08:49:37 GMT')", "nil"),
        ("ngx.parse_http_time('yesterday'), ngx.parse_http_time('Thu, 38 Nov 2010 11:27:35 GMT')", "nil nil"),
        (r"ngx.quote_sql_str('a\'b\"c\\d\n\0\26é')", r'"' + r"'a\\'b\\\"c\\\\d\\n\\0\\Zé'" + '"'),
        ("ngx.HTTP_OK, ngx.HTTP_GET, ngx.HTTP_POST, ngx.ERR, ngx.DEBUG, ngx.HTTP_TOO_MANY_REQUESTS", "200 2 8 4 8 429"),
    ],
)
def test_functions(run: Run, source: str, expected: str) -> None:
    """The functions give what lua-nginx-module's documentation shows."""
    assert run(f"return {source}") == expected


def test_hmac(machine: Callable[[str], str]) -> None:
    """hmac_sha1 takes the secret first, and gives the bytes of RFC 2202's second case."""
    expected = hmac.digest(b"Jefe", b"what do ya want for nothing?", hashlib.sha1).hex()
    assert expected == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
    assert (
        machine(
            "return (string.gsub(ngx.hmac_sha1('Jefe', 'what do ya want for nothing?'), '.', function(c) "
            "return string.format('%02x', string.byte(c)) end))"
        )
        == f'"{expected}"'
    )


def test_clock(run: Run) -> None:
    """The time has milliseconds in now and none in time, and the three dates are those of this moment."""
    before = time.time()
    now, seconds = run("return string.format('%.3f', ngx.now()), ngx.time()").replace('"', "").split()
    assert before - 1 <= float(now) <= time.time() + 1
    assert abs(int(seconds) - float(now)) <= 1
    today, local, utc = run("return ngx.today(), ngx.localtime(), ngx.utctime()")[1:-1].split('" "')
    assert local.startswith(today)
    assert time.strptime(utc, "%Y-%m-%d %H:%M:%S").tm_year >= 2024


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("ngx.encode_args(nil)", "bad argument #1 to 'encode_args' (table expected, got nil)"),
        ("ngx.encode_args()", "expecting 1 argument but seen 0"),
        ("ngx.encode_args({1})", 'attempt to use a non-string key in the "args" option table'),
        ("ngx.encode_args({a = print})", "attempt to use function as query arg value"),
        ("ngx.decode_args({})", "bad argument #1 to 'decode_args' (string expected, got table)"),
        ("ngx.decode_base64(5)", "string argument only"),
        ("ngx.http_time('x')", "number argument only"),
        ("ngx.escape_uri('x', 9)", '"type" 9 out of range'),
        ("ngx.hmac_sha1('x')", "expecting 2 arguments, but got 1"),
        ("ngx.quote_sql_str({})", "bad argument #1 to 'quote_sql_str' (string expected, got table)"),
        ("ngx.decode_args('', 'x')", "bad argument #2 to 'decode_args' (number expected, got string)"),
    ],
)
def test_misuse(run: Run, call: str, message: str) -> None:
    """A wrong argument raises OpenResty's message with the script's line."""
    assert run(f"local x = {call} return x") == f"error: line:1: {message}"


def test_many_arguments_without_values(run: Run) -> None:
    """Decoding is linear in the text, also without a single equals sign."""
    started = time.perf_counter()
    assert run("local t = ngx.decode_args(string.rep('a&', 500000), 0) return #t.a") == "500000"
    assert time.perf_counter() - started < 5
