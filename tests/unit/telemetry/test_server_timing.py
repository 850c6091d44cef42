"""The value of ``Server-Timing``."""

from __future__ import annotations

from request_callout.telemetry.server_timing import Metric, server_timing


def test_the_whole_comes_first() -> None:
    """The whole, then a metric a callout, in order."""
    value = server_timing(12.34, [Metric("a", 1.0, "200"), Metric("b", 2.26)])
    assert value == 'request-callout;dur=12.3, a;dur=1.0;desc="200", b;dur=2.3'


def test_names_become_tokens_and_descriptions_are_quoted() -> None:
    """Nothing in a name or description can end it (RFC 9110: token, quoted-string)."""
    assert str(Metric('a b,;"é', 1.0, 'say "\\" é\r\n')) == 'a_b____;dur=1.0;desc="say \\"\\\\\\" ???"'
    assert str(Metric("", -1.0)) == "_;dur=0.0"


def test_the_header_stays_short() -> None:
    """What would make it longer than a proxy takes is left out, whole metrics at a time."""
    value = server_timing(1.0, [Metric(f"callout-{n}", 1.0, "200") for n in range(1000)])
    assert len(value) <= 4000
    assert value.endswith('desc="200"')
