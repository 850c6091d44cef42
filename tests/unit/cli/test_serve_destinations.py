"""The rules for destinations on the command line of ``serve``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from request_callout.cli import main


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--allow-hosts", "a.test,http://b.test", "http://b.test: expected a host name"),
        ("--deny-networks", "10.0.0.0/8, 10.0.0.1/8", "10.0.0.1/8: expected a network without bits beyond its length"),
    ],
)
def test_bad_rules(tmp_path: Path, option: str, value: str, expected: str) -> None:
    """A pattern or network that is none is refused before anything listens, with the option's name and the remedy."""
    path = tmp_path / "s"
    result = CliRunner().invoke(main, ["serve", "--socket", str(path), option, value])
    assert result.exit_code == 2
    assert option in result.output
    assert expected in " ".join(result.output.split())
    assert not path.exists()
