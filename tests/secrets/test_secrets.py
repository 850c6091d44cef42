"""Secrets planted everywhere reach nothing that an operator, or a client with an error, gets to see."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.failures.scrape import address_in, get
from tests.failures.stage import PluginServer
from tests.secrets.everywhere import IN_ANSWERS, SURROUNDINGS, everywhere
from tests.secrets.places import ENCRYPTED, REFERENCEABLE, Vault, places
from tests.secrets.planted import Outputs, Planted, Services, configurations, events, services
from tests.secrets.quoting import quote_back, quoting


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)


def outputs_of(folder: Path, planted: Planted, configs: Mapping[str, Mapping[str, Any]], *options: str) -> Outputs:
    """Everything that a server with these options shows of requests that fail in every way."""
    server = PluginServer(folder, "protobuf", ["--log-level", "debug", "--metrics", "127.0.0.1:0", *options])
    try:
        outputs = events(server.path, planted, configs)
        outputs.texts["metrics"] = get(address_in(server.log)).text
    finally:
        server.close()
    outputs.texts["log"] = server.log.read_text()
    return outputs


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def to(planted: Planted) -> Iterator[Services]:
    with services(planted) as to:
        quote_back(to, planted)
        yield to


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_output_holds_a_secret(tmp_path: Path, planted: Planted, to: Services, style: str) -> None:
    """Whatever fails and however, no secret is in the log, the metrics, Kong's log record or an answer."""
    configs = {
        **configurations(planted, to, redis_port=1),
        **{f"quoting: {name}": one for name, one in quoting(planted, to, redis_port=1).items()},
        **{f"vault: {name}": one for name, one in everywhere(planted, to, redis_port=1).items()},
    }
    outputs = outputs_of(tmp_path, planted, configs, "--log-format", style)
    log = outputs.texts["log"]
    found = {name: planted.seen_in(text) for name, text in outputs.texts.items()}
    assert found == {name: [] for name in outputs.texts} | {"answers": sorted(IN_ANSWERS)}
    assert set(outputs.texts) == {"log", "metrics", "Kong's log record", "answers"}
    assert log.count("attempt 1") > 20  # it was fine enough to tell
    assert "request_callout_attempts_total{" in outputs.texts["metrics"]
    if style == "json":
        assert all(isinstance(json.loads(line), dict) for line in log.splitlines())


def test_what_kong_would_encrypt_is_hidden_without_a_vault(tmp_path: Path, planted: Planted, to: Services) -> None:
    """The constants of fields that the schema marks as encrypted are hidden like what comes from a vault."""
    vault = Vault(planted, locked=True)
    outputs = outputs_of(tmp_path, planted, everywhere(planted, to, redis_port=1, vault=vault))
    secret = {name for place in places(ENCRYPTED) for name in vault.planted[place]}
    shown = {name for text in outputs.texts.values() for name in planted.seen_in(text)}
    assert shown & secret == set()
    assert "vault: host" in shown  # as in any log, without a vault


def test_every_place_for_a_secret_has_one(planted: Planted, to: Services) -> None:
    """Wherever the schema lets a vault fill a value, or Kong keep it encrypted, one of the secrets here stands."""
    vault = Vault(planted)
    everywhere(planted, to, redis_port=1, vault=vault)
    assert sorted(vault.planted) == sorted(places(REFERENCEABLE, ENCRYPTED))


def test_what_is_planted_is_found(planted: Planted) -> None:
    """A secret is found as it is, in a URL, and within Base64, wherever it begins."""
    secret = planted.keep("place", "p/ss w0rd")
    for text in (f"x{secret}x", "a?b=p%2Fss%20w0rd", "dTpwL3NzIHcwcmQ=", "dXU6cC9zcyB3MHJk", "cC9zcyB3MHJk"):
        assert planted.seen_in(text) == ["place"], text
    assert planted.seen_in("nothing") == []
