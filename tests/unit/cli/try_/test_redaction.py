"""The placeholders of ``try`` in values of JSON."""

from __future__ import annotations

from request_callout.cli.try_.redaction import Redactor


def test_a_pair_of_name_and_value() -> None:
    """The value beside the name of a secret is one, and hidden wherever it is repeated."""
    redactor = Redactor()
    pairs = [{"name": "X-Api-Key", "value": "planted-one"}, {"name": "X-Note", "value": "of planted-one"}]
    assert redactor.value(pairs) == [
        {"name": "X-Api-Key", "value": "redacted-1"},
        {"name": "X-Note", "value": "of redacted-1"},
    ]
