"""What deployment files say to ``request-callout``: whether these are commands and variables of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from request_callout.cli import main

ROOT = Path(__file__).parents[2]
IMAGE_DIRECTORY = "/run/request-callout"
SOCKET = f"{IMAGE_DIRECTORY}/kong.sock"
DESCRIPTION = f"{IMAGE_DIRECTORY}/request-callout.json"
PLUGINSERVER = {
    "plugins": "bundled,request-callout",
    "pluginserver_names": "request_callout",
    "pluginserver_request_callout_socket": SOCKET,
    "pluginserver_request_callout_query_cmd": f"cat {DESCRIPTION}",
    "nginx_http_client_body_buffer_size": "16m",
}
"""What Kong has to be told beside a server that runs as the image does."""


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None, f"there is no command {name}"
    return found


def parse(arguments: Iterable[str], variables: Mapping[str, str] | None = None) -> dict[str, object]:
    """The parameters that a command line of ours comes to; raises click's errors, as the command line does."""
    name, *rest = arguments
    asked = command(name)
    for variable in variables or {}:
        assert any(option.envvar == variable for option in asked.params), f"{variable} is no variable of {name}"
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in (variables or {}).items():
            patch.setenv(variable, value)
        return asked.make_context(name, rest).params


def settings(name: str) -> dict[str, str]:
    """The settings of a kong.conf."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line.strip() and not line.startswith("#")]
    return {key.strip(): value.strip() for key, _, value in pairs}


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all((ROOT / name).read_text(encoding="utf-8")))
