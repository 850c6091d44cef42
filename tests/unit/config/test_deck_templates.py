"""decK's templates: what stands in their place, and what is told where nothing can."""

from __future__ import annotations

import pytest

from request_callout.config.deck_templates import UNKNOWN, render
from request_callout.config.places import Place, Source

ENVIRONMENT = {"DECK_A": "one", "DECK_N": "-12", "DECK_F": "1.50", "DECK_T": "T", "DECK_M": "x\ny", "OTHER": "o"}


def rendered(text: str) -> str:
    """The text as YAML will read it."""
    return render(Source(text), ENVIRONMENT).source.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a: ${{ env "DECK_A" }}', "a: one"),
        ("a: ${{env `DECK_A`}}", "a: one"),
        ('a: ${{ env "DECK_N" | toInt }}', "a: -12"),
        ('a: ${{ env "DECK_F" | toFloat }}', "a: 1.5"),
        ('a: ${{ env "DECK_T" | toBool }}', "a: true"),
        ('a: |\n  ${{ env "DECK_M" | indent 2 }}', "a: |\n  x\n  y"),
        ("a: ${{/* a comment */}}b", "a: b"),
        ("${{/* a comment alone */}}", ""),
        ("no templates", "no templates"),
        ("", ""),
    ],
)
def test_values(text: str, expected: str) -> None:
    """Variables, converted as decK does; comments are nothing."""
    assert rendered(text) == expected


def test_blanks_around_templates_that_ask_for_it() -> None:
    """A minus takes the blanks on its side."""
    assert rendered('a: ${{- env "DECK_A" }} b') == "a:one b"
    assert rendered('a: ${{ env "DECK_A" -}}  \n b') == "a: oneb"


@pytest.mark.parametrize(
    ("text", "says", "unset"),
    [
        ('${{ env "DECK_NO" }}', "the environment variable DECK_NO is not set", True),
        ('${{ env "OTHER" }}', "rename 'OTHER' to DECK_OTHER", False),
        ('${{ env "DECK_A" | b64enc }}', "this template is not known here", False),
        ("${{ now }}", "this template is not known here", False),
        ('${{ env "DECK_A" | toInt }}', "the value of DECK_A is no whole number, as toInt asks", False),
        ('${{ env "DECK_F" | toInt }}', "the value of DECK_F is no whole number, as toInt asks", False),
        ('${{ env "DECK_A" | toFloat }}', "the value of DECK_A is no number, as toFloat asks", False),
        ('${{ env "DECK_A" | toBool }}', "the value of DECK_A is no true or false, as toBool asks", False),
    ],
)
def test_what_can_not_be_known(text: str, says: str, unset: bool) -> None:
    """Each is told where it stands, with the variable and never with its value, and stands for anything."""
    found = render(Source(f"a:\n  b: {text} c"), ENVIRONMENT)
    (problem,) = found.problems
    assert (says in problem.message, problem.unset) == (True, unset), problem
    assert found.source.text == f"a:\n  b: {UNKNOWN} c"
    assert problem.index == len("a:\n  b: ")


@pytest.mark.parametrize("before", ["", "a: "])
def test_a_template_that_is_not_closed(before: str) -> None:
    """It is told where it begins, at the very beginning too, and the text stays."""
    found = render(Source(f'{before}${{{{ env "DECK_A"'), ENVIRONMENT)
    (problem,) = found.problems
    assert (problem.index, problem.message) == (len(before), "${{ is not closed by }}")
    assert found.source.text == f'{before}${{{{ env "DECK_A"'


def test_places_are_those_of_the_file() -> None:
    """What follows a value has its place in the file; all of a value has that of its template."""
    text = 'a: ${{ env "DECK_M" }} b\nc: ${{ env "DECK_A" }}${{ env "DECK_A" }}'
    found = render(Source(text), ENVIRONMENT)
    assert found.source.text == "a: x\ny b\nc: oneone"
    assert found.source.place(found.source.text.index("y")) == Place(1, 4)
    assert found.source.place(found.source.text.index("b")) == Place(1, text.index(" b") + 2)
    assert found.source.place(found.source.text.index("oneone") + 3) == Place(2, 4 + len('${{ env "DECK_A" }}'))
    assert found.lines == {"DECK_M": {1}, "DECK_A": {2}}
    assert found.substituted == {"DECK_M": "x\ny", "DECK_A": "one"}
