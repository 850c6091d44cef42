from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.config.template import Expression, TemplateError, literal, parse

_WORDS = st.text(alphabet="ab $#'\"[]=-\n\\x", max_size=8).filter(lambda text: "$(" not in text)

# Lua that ends only at its own parenthesis, whatever its strings and comments hold.
_ATOMS = st.sampled_from(
    [
        *("x", " ", "\n", "1 - 2", "a.b", "t[1]", "t[ [[)]] ]", "[==[ ]] ) ]==]", "'('", '")"', r"'\')'", r'"\\"'),
        *("'$(x)'", "--[[ ) ]]", "-- )\n", "'--'", '"[["', "'\\\n)'", "'\\z \n )'"),
    ]
)
_EXPRESSIONS = st.recursive(
    st.lists(_ATOMS, min_size=1, max_size=4).map(" ".join), lambda inner: inner.map(lambda source: f"f({source})")
)


@given(st.lists(st.tuples(_WORDS, _EXPRESSIONS), max_size=4), _WORDS)
def test_parts_are_those_that_were_put_together(pairs: list[tuple[str, str]], end: str) -> None:
    """A text built of literals and balanced expressions is split into exactly these."""
    wanted: list[tuple[str, str]] = []
    text = ""
    for words, source in pairs:
        joined = words.rstrip("$")  # a $ before $( stays a literal, which is a test of its own
        text += f"{joined}$({source})"
        wanted += [("literal", joined)] * bool(joined) + [("expression", source)]
    text += end
    wanted += [("literal", end)] * bool(end)
    parts = parse(text).parts
    found = [("expression", part.source) if isinstance(part, Expression) else ("literal", part) for part in parts]
    assert found == wanted


@given(st.lists(st.tuples(_WORDS, _EXPRESSIONS), max_size=4), _WORDS)
def test_offsets_and_lines_point_at_the_source(pairs: list[tuple[str, str]], end: str) -> None:
    """The text at an expression's offset is its source, and its line is the count of line breaks before it."""
    text = "".join(f"{words}$({source})" for words, source in pairs) + end
    for part in parse(text).expressions:
        assert text[part.offset : part.offset + len(part.source)] == part.source
        assert part.line == 1 + text[: part.offset].count("\n")


@given(st.text(alphabet="$()'\"[]=-\\\n#ax", max_size=30))
def test_any_text_is_split_without_loss_or_refused_with_a_line(text: str) -> None:
    """Whatever the text, the parts put together again are the text, or the error names one of its lines."""
    parts: tuple[str | Expression, ...] = ()
    line: int | None = None
    try:
        parts = parse(text).parts
    except TemplateError as error:
        line = error.line
    if line is not None:
        assert 1 <= line <= text.count("\n") + 1
        return
    assert "".join(f"$({part.source})" if isinstance(part, Expression) else part for part in parts) == text


def test_a_dollar_before_an_expression_is_literal() -> None:
    """``$$(x)`` is a dollar sign and an expression."""
    assert parse("$$(x)").parts == ("$", Expression("x", 3, 1))


def test_a_quoted_opening_is_inside_the_expression() -> None:
    """``$('$(x)')`` is one expression, the Lua string ``$(x)``."""
    assert parse("$('$(x)')").parts == (Expression("'$(x)'", 2, 1),)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("$(", 1, "not closed"),
        ("a\n$(f(x)", 2, "not closed"),
        ("$(a -- b)", 1, "comment"),
        ("$('a)", 1, "string"),
        ("$(\n'a\n')", 2, "string"),
        ("$(\n\n[[ )", 3, "]]"),
        ("$([=[ ]] )", 1, "]=]"),
        ("$(--[[ )", 1, "]]"),
    ],
)
def test_what_is_not_closed_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    """An expression, string, long bracket or comment without an end is an error at the line where it begins."""
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert caught.value.line == line
    assert words in caught.value.message


def test_a_string_without_an_end_is_refused_quickly() -> None:
    """Many escapes in a string that never ends do not make the search for its end grow with their combinations."""
    with pytest.raises(TemplateError):
        parse("$('" + "\\z      " * 200)


@pytest.mark.parametrize(
    ("text", "constant", "alone"),
    [
        ("", True, False),
        ("plain", True, False),
        ("$(x)", False, True),
        (" $(x)", False, False),
        ("$(x)$(y)", False, False),
    ],
)
def test_a_sole_expression_is_the_whole_text(text: str, constant: bool, alone: bool) -> None:
    """Only a text that is one expression and nothing else keeps the expression's type."""
    template = parse(text)
    assert template.is_constant is constant
    assert (template.sole_expression is not None) is alone


@given(st.text(alphabet="$()#'\"ax", max_size=20))
def test_an_escaped_text_holds_no_expression_of_its_own(text: str) -> None:
    """Every expression of an escaped text is a Lua string, and with their values in place it is the text again."""
    escaped = literal(text)
    assert not escaped.startswith("#")
    parts = parse(escaped).parts
    assert "".join(part.source[1:-1] if isinstance(part, Expression) else part for part in parts) == text
