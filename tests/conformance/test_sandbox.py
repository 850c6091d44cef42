"""What scripts and expressions can reach, and what stops them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib

import pytest

from tests.conformance.site import Site

ABSENT = [
    *("load", "loadstring", "loadfile", "dofile", "getfenv", "setfenv", "rawget", "rawset", "rawequal", "rawlen"),
    *("getmetatable", "setmetatable", "collectgarbage", "print", "module", "newproxy"),
    *("io", "debug", "package", "ffi", "jit", "python", "bit"),
    *("string.dump", "os.execute", "os.exit", "os.getenv", "os.remove", "os.rename", "os.setlocale", "os.tmpname"),
]
BASE = "assert error ipairs next pairs pcall select tonumber tostring type unpack xpcall"
STRING = "byte char find format gmatch gsub len lower match rep reverse sub upper"
MATH = (
    "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp ldexp log log10 max min modf pow "
    "rad random sin sinh sqrt tan tanh"
)
PRESENT = [
    *BASE.split(),
    *(f"string.{name}" for name in STRING.split()),
    *(f"table.{name}" for name in "concat insert maxn remove sort".split()),  # noqa: SIM905
    *(f"math.{name}" for name in MATH.split()),
    *(f"coroutine.{name}" for name in "create resume running status wrap yield".split()),  # noqa: SIM905
    *("os.time", "os.date", "os.clock", "os.difftime"),
]


def types(names: list[str]) -> str:
    """A script that gives the type of each of these dotted names."""
    listed = ", ".join(f'["{name}"] = type({_safely(name)})' for name in names)
    return f"return {{ {listed} }}"


def _safely(name: str) -> str:
    owner, _, member = name.rpartition(".")
    return f"({owner} or {{}}).{member}" if owner else name


def test_dangerous_functions_are_absent(site: Site) -> None:
    """There is no load, no raw access, no metatables, no io, debug, package, ffi, jit, and of os only the clock."""
    assert {name for name, kind in site.returns(types(ABSENT)).items() if kind != "nil"} == set()


def test_library_is_there(site: Site) -> None:
    """The functions of Kong's own sandbox are there."""
    assert {name for name, kind in site.returns(types(PRESENT)).items() if kind != "function"} == set()


@pytest.mark.parametrize(
    "script",
    [
        "string.upper = function() return 'mine' end",
        "table.concat = nil",
        "math.extra = 1",
        'local s = "x" s.upper = nil',
        "ngx.md5 = nil",
    ],
)
def test_library_cannot_be_replaced(site: Site, script: str) -> None:
    """Library tables and string methods can't be replaced, for this run or for others."""
    seen = site.returns(
        f"local ok = pcall(function() {script} end) "
        "return {ok = ok, upper = string.upper('a'), method = ('a'):upper(), concat = table.concat({1, 2}), "
        "md5 = #ngx.md5('')}"
    )
    assert seen["ok"] is False
    assert (seen["upper"], seen["method"], seen["concat"], seen["md5"]) == ("A", "A", "12", 32)


def test_string_metatable_is_out_of_reach(site: Site) -> None:
    """What a script does to a global string does not outlive it."""
    site.returns("local ok = pcall(function() string = {upper = function() return 'mine' end} end) return {ok = ok}")
    assert site.get().status == 200
    assert site.returns("return {v = ('a'):upper()}") == {"v": "A"}


def test_no_foreign_object_reaches_a_script(site: Site) -> None:
    """Nothing that a script can reach is a userdata, but ngx.null."""
    script = """
    local found, seen = {}, {}
    local function walk(value, path, depth)
      if type(value) == "userdata" or type(value) == "cdata" or type(value) == "thread" then
        if value ~= ngx.null then found[#found + 1] = path end
      elseif type(value) == "table" and not seen[value] and depth < 4 then
        seen[value] = true
        for key, inner in pairs(value) do walk(inner, path .. "." .. tostring(key), depth + 1) end
      end
    end
    walk({kong = kong, ngx = ngx, string = string, table = table, math = math, os = os, coroutine = coroutine}, "", 0)
    return {found = table.concat(found, " ")}
    """
    assert site.returns(script) == {"found": ""}


def test_cjson_can_be_required(site: Site) -> None:
    """Require of cjson and cjson.safe works."""
    script = """
    local cjson, safe = require("cjson"), require("cjson.safe")
    local nothing, message = safe.decode("{")
    local value = cjson.decode('{"b": [null]}')
    return {text = cjson.encode({a = {1}}), value = value, bad = nothing == nil, m = type(message)}
    """
    assert site.returns(script) == {"text": '{"a":[1]}', "value": {"b": [None]}, "bad": True, "m": "string"}


@pytest.mark.parametrize("module", ["io", "os", "ffi", "debug", "python", "resty.http", "kong.globalpatches"])
def test_other_modules_cannot_be_required(site: Site, module: str) -> None:
    """Require of anything else is an error."""
    seen = site.returns(
        f'local ok, message = pcall(require, "{module}") return {{ok = ok, message = tostring(message)}}'
    )
    assert seen["ok"] is False


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("ngx.encode_args({a = 'x y&z'})", "a=x%20y%26z"),
        ("ngx.decode_args('a=1&a=2&b=x%20y').b", "x y"),
        ("table.concat(ngx.decode_args('a=1&a=2').a, ',')", "1,2"),
        ("ngx.escape_uri('a b/ä')", "a%20b%2F%C3%A4"),
        ("ngx.unescape_uri('a%20b+c')", "a b c"),
        ("ngx.encode_base64('hello')", base64.b64encode(b"hello").decode()),
        ("ngx.decode_base64('aGVsbG8=')", "hello"),
        ("ngx.md5('hello')", hashlib.md5(b"hello").hexdigest()),
        ("ngx.encode_base64(ngx.md5_bin('x'))", base64.b64encode(hashlib.md5(b"x").digest()).decode()),
        ("ngx.encode_base64(ngx.sha1_bin('x'))", base64.b64encode(hashlib.sha1(b"x").digest()).decode()),
        ("ngx.encode_base64(ngx.hmac_sha1('k', 'x'))", base64.b64encode(hmac.digest(b"k", b"x", "sha1")).decode()),
        ("ngx.crc32_short('hello')", str(zlib.crc32(b"hello"))),
        ("ngx.crc32_long('hello')", str(zlib.crc32(b"hello"))),
        ("ngx.http_time(1547900100)", "Sat, 19 Jan 2019 12:15:00 GMT"),
        ("ngx.parse_http_time('Sat, 19 Jan 2019 12:15:00 GMT')", "1547900100"),
        ("ngx.cookie_time(1547900100)", "Sat, 19-Jan-19 12:15:00 GMT"),
        ("ngx.re.match('hello 42', '([a-z]+) (\\\\d+)')[2]", "42"),
        ("ngx.re.match('key=v', '(?<name>\\\\w+)=').name", "key"),
        ("tostring(ngx.re.match('a', 'b'))", "nil"),
        ("ngx.re.find('hello', 'l+')", "3"),
        ("ngx.re.sub('hello', 'l', 'L')", "heLlo"),
        ("ngx.re.gsub('hello', 'l', '[$0]')", "he[l][l]o"),
        ("ngx.re.match('HELLO', 'hello', 'i')[0]", "HELLO"),
        ('ngx.quote_sql_str("it\'s")', "'it\\'s'"),
        ("type(ngx.null)", "userdata"),
        ("ngx.var.uri", "ROUTE/x"),
        ("ngx.var.http_x_thing", "thing"),
        ("ngx.var.arg_q", "1"),
        ("ngx.var.query_string", "q=1"),
    ],
)
def test_ngx_functions(site: Site, call: str, value: str) -> None:
    """The functions of ngx give what OpenResty's give."""
    seen = site.returns(f"return {{v = tostring(({call}))}}", "/x?q=1", {"X-Thing": "thing"})
    assert seen == {"v": value.replace("ROUTE", site.path)}


def test_ngx_gmatch(site: Site) -> None:
    """ngx.re.gmatch iterates over the matches."""
    script = "local all = {} for m in ngx.re.gmatch('a1 b2', '[a-z]([0-9])') do all[#all + 1] = m[1] end return all"
    assert site.returns(script) == ["1", "2"]


@pytest.mark.parametrize(
    ("call", "pattern"),
    [
        ("ngx.time()", r"\d{10}"),
        ("ngx.now()", r"\d{10}(\.\d+)?"),
        ("ngx.today()", r"\d{4}-\d\d-\d\d"),
        ("ngx.localtime()", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
        ("ngx.utctime()", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
    ],
)
def test_ngx_clock(site: Site, call: str, pattern: str) -> None:
    """Ngx tells the time in OpenResty's formats."""
    assert re.fullmatch(pattern, site.returns(f"return {{v = string.format('%s', {call})}}")["v"])


def test_ngx_log(site: Site) -> None:
    """ngx.log takes a level and anything else."""
    assert site.returns("ngx.log(ngx.ERR, 'a ', 1, nil, true) return {ok = type(ngx.DEBUG)}") == {"ok": "number"}


LOOP = "while true do end"
GREEDY = "local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end"


@pytest.mark.parametrize(
    "script",
    [
        LOOP,
        f"pcall(function() {LOOP} end)",
        f"while true do pcall(function() {LOOP} end) end",
        f"xpcall(function() {LOOP} end, function() {LOOP} end)",
        f"local co = coroutine.create(function() {LOOP} end) while true do coroutine.resume(co) end",
        f"coroutine.wrap(function() pcall(function() {LOOP} end) end)() {LOOP}",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "('x'):gsub('x', function() while true do end end)",
        GREEDY,
        f"while true do pcall(function() {GREEDY} end) end",
        "local s = 'x' while true do s = s .. s end",
        "return ('x'):rep(2 ^ 40)",
        "return ('a'):rep(100000):find(('.-'):rep(30) .. 'b')",
        "return ('a'):rep(100000):match(('a*'):rep(30) .. 'b')",
        "return ('a'):rep(100000):gsub(('a-'):rep(30) .. 'b', '')",
        "for _ in ('a'):rep(100000):gmatch(('a*'):rep(30) .. 'b') do end",
        "return ngx.re.match(('a'):rep(60) .. '!', '^(a+)+$') or error('no match within the limits')",
        "local function deep() return deep() + 1 end deep()",
    ],
)
def test_scripts_that_take_too_much_are_ended(site: Site, script: str) -> None:
    """A script that takes too long or too much memory ends with 500, whatever it catches; the next is served."""
    site.configure(upstream={"by_lua": f"if kong.request.get_header('X-Bad') then {script} end"})
    answer = site.get(headers={"X-Bad": "1"})
    assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert not site.upstream.received()
    assert site.get().status == 200


def test_expressions_that_take_too_long_are_ended(site: Site) -> None:
    """An endless loop in an expression ends with 500 too."""
    site.configure(upstream={"headers": {"custom": {"X": "$((function() while true do end end)())"}}})
    assert site.get().status == 500
