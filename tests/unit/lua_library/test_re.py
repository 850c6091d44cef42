"""ngx.re."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

Run = Callable[[str], str]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("match('hello, 1234', '[0-9]+')", '{0="1234"}'),
        ("match('hello, 1234', '([0-9])[0-9]+')", '{0="1234",1="1"}'),
        ("match('hello, 1234', '([0-9])(?<remaining>[0-9]+)')", '{0="1234",1="1",2="234",remaining="234"}'),
        (
            "match('hello, world', '(world)|(hello)|(?<named>howdy)')",
            '{0="hello",1=false,2="hello",3=false,named=false}',
        ),
        (
            r"match('hello, world', '(?<named>\\w+), (?<named>\\w+)', 'D')",
            '{0="hello, world",1="hello",2="world",named={1="hello",2="world"}}',
        ),
        ("match('hello, world', 'HEL LO', 'ix')", '{0="hello"}'),
        ("match('hello, 美好生活', 'HELLO, (.{2})', 'iu')", '{0="hello, 美好",1="美好"}'),
        ("match('美', '.')", '{0="\ufffd"}'),
        ("match('a\\nb', '^b', 'm')", '{0="b"}'),
        ("match('a\\nb', 'a.b'), ngx.re.match('a\\nb', 'a.b', 's')", 'nil {0="a\\\nb"}'),
        ("match('xa', 'a', 'a')", "nil"),
        ("match('foobar', 'foo|foobar', 'd')", '{0="foobar"}'),
        ("match('none', 'x')", "nil"),
        ("match(1234, '2')", '{0="2"}'),
        ("match('abc', '(?i)B')", '{0="b"}'),
        (r"match('a.b', '\\Qa.b\\E')", '{0="a.b"}'),
        (r"match('1\195\169t', '\\p{L}+', 'u')", '{0="ét"}'),
        (r"gsub('1\195t', '\\p{L}', '')", '"1" 2'),
        (r"gsub('aB1', '[\\p{Lu}1]', '-')", '"a--" 2'),
        (r"gsub('aB1', '\\PL', '-')", '"aB-" 1'),
        (r"gsub('aB1', '\\p{Greek}|[\\p{Greek}]', '-')", '"aB1" 0'),
        (r"match('foobar', 'foo\\Kbar')", '{0="bar"}'),
        (r"match('((x))', '\\((?:[^()]|(?R))*\\)')", '{0="((x))"}'),
        (r"match('ab', '(?|a(b)|c(d))')", '{0="ab",1="b"}'),
        (r"match('aXbb', '(?<l>b)\\k<l>')", '{0="bb",1="b",l="b"}'),
        ("find('hello, 1234', '([0-9])([0-9]+)', 'jo')", "8 11"),
        ("find('hello, 1234', '([0-9])([0-9]+)', 'jo', nil, 2)", "9 11"),
        ("find('hello', 'x')", "nil"),
        ("find('a', '(a)', '', nil, 5)", 'nil nil "nth out of bound"'),
        ("find('é-é', 'é$', 'u')", "4 5"),
        ("sub('hello, 1234', '([0-9])[0-9]', '[$0][$1]')", '"hello, [12][1]34" 1'),
        ("sub('hello, 1234', '[0-9]', '${0}00')", '"hello, 100234" 1'),
        ("sub('hello, 1234', '[0-9]', '$$')", '"hello, $234" 1'),
        ("sub('a', '(a)|(b)', '<$2>')", '"<>" 1'),
        ("gsub('hello, world', '([a-z])[a-z]+', '[$0,$1]', 'i')", '"[hello,h], [world,w]" 2'),
        ("gsub('hello, world', '([a-z])[a-z]+', function(m) return '<' .. m[1] .. '>' end)", '"<h>, <w>" 2'),
        ("gsub('abc', '', '-')", '"-a-b-c-" 4'),
        ("gsub('aé', '', '-', 'u')", '"-a-é-" 3'),
        ("gsub('abc', 'x', '-')", '"abc" 0'),
        ("gsub('abc', '[b-c]', {})", None),
    ],
)
def test_documented_behaviour(run: Run, call: str, expected: str | None) -> None:
    """The functions give what lua-nginx-module's documentation shows."""
    got = run(f"return ngx.re.{call}")
    if expected is None:
        assert got.startswith('"atable: ')
    else:
        assert got == expected.replace("\ufffd", "\udce7")


def test_context_carries_the_position(run: Run) -> None:
    """The search starts at ctx.pos, which is set behind the match, and left alone when there is none."""
    assert (
        run(
            "local ctx = {} ngx.re.match('1234, hello', '[0-9]+', '', ctx) local first = ctx.pos "
            "ctx.pos = 2 local m = ngx.re.match('1234, hello', '[0-9]+', '', ctx) local second = ctx.pos "
            "local none = ngx.re.match('1234, hello', '[0-9]+', 'a', ctx) return first, m, second, none, ctx.pos"
        )
        == '5 {0="234"} 5 nil 5'
    )


def test_result_table_is_used(run: Run) -> None:
    """The table given as the fifth argument of match is filled and returned."""
    assert run("local t = {old = 1} local m = ngx.re.match('ab', '(a)', '', nil, t) return m == t, t") == (
        'true {0="a",1="a",old=1}'
    )


def test_gmatch_goes_through_all_matches(run: Run) -> None:
    """An iterator gives match after match, empty ones too, then nil for ever."""
    assert (
        run("local it = ngx.re.gmatch('hello, world!', '([a-z]+)', 'i') return it()[1], it()[1], it(), it()")
        == '"hello" "world" nil nil'
    )
    assert run("local n = 0 for m in ngx.re.gmatch('abc', 'x*') do n = n + 1 end return n") == "4"


def test_interleaved_iterators(run: Run) -> None:
    """Two iterations, and searches in between, don't disturb each other."""
    assert (
        run(
            "local a, b = ngx.re.gmatch('a1b2', '[0-9]'), ngx.re.gmatch('x7y8z9', '[0-9]') local out = {} "
            "for m in a do out[#out+1] = m[0] .. b()[0] .. ngx.re.match('q5', '[0-9]')[0] end return out"
        )
        == '{1="175",2="285"}'
    )


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(abc", 'pcre2_compile() failed: missing closing parenthesis in "(abc"'),
        ("a)b", 'pcre2_compile() failed: unmatched closing parenthesis in "a)b" at ")b"'),
        ("[a", 'pcre2_compile() failed: missing terminating ] for character class in "[a"'),
        ("a**b", None),
        ("*a", 'pcre2_compile() failed: quantifier does not follow a repeatable item in "*a" at "a"'),
        ("(?<n>a)(?<n>b)", None),
        ("(a{60000}){60000}", None),
        ("x" * 5000, None),
    ],
)
def test_malformed_patterns(run: Run, pattern: str, message: str | None) -> None:
    """A pattern that can't be compiled gives nil and a message, in the place that each function has for it."""
    got = run(f"return ngx.re.match('x', [==[{pattern}]==])")
    if message is None:
        if pattern != "a**b":
            assert got.startswith('nil "pcre2_compile() failed: ')
        else:
            assert got.startswith('nil "pcre2_compile() failed: quantifier')
    else:
        assert got == "nil " + '"' + message.replace('"', '\\"') + '"'
    assert run(f"return ngx.re.find('x', [==[{pattern}]==])").startswith('nil nil "pcre2_compile()')
    assert run(f"return ngx.re.gsub('x', [==[{pattern}]==], '')").startswith('nil nil "pcre2_compile()')


def test_unknown_option(run: Run) -> None:
    """An unknown option raises, as in OpenResty."""
    assert run("local m = ngx.re.match('x', 'x', 'q') return m") == 'error: line:1: unknown flag "q" (flags "q")'


def test_broken_template(run: Run) -> None:
    """A replacement with a name or a lone dollar is refused."""
    for template in ("$name", "a$", "${1", "$ x"):
        assert run(f"return ngx.re.sub('x', 'x', '{template}')") == (
            'nil nil "failed to compile the replacement template"'
        )


@pytest.mark.parametrize(
    ("subject", "pattern"),
    [
        ("string.rep('a', 1e5) .. 'b'", "(a|aa)+$"),
        ("string.rep(' ', 1e6) .. 'x'", "\\\\s+$"),
        ("string.rep(',', 1e5)", ".*?,.*?,.*?z"),
    ],
)
def test_searches_that_explode_are_given_up(run: Run, subject: str, pattern: str) -> None:
    """A search that takes too long ends with PCRE's error for its match limit."""
    started = time.perf_counter()
    assert run(f"return ngx.re.match({subject}, '{pattern}')") == 'nil "pcre_exec() failed: -47"'
    assert time.perf_counter() - started < 2


def test_invalid_utf8(run: Run) -> None:
    """With u the subject has to be UTF-8; with U nobody looks."""
    assert run("return ngx.re.match('a\\255', 'a', 'u')") == 'nil "pcre_exec() failed: -10"'
    assert run("return ngx.re.match('a\\255', 'a', 'U')") == '{0="a"}'
