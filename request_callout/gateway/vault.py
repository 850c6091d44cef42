"""The vault ``env``: secrets from the environment of the process, as Kong's vault of that name gives them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import orjson

from request_callout.gateway.model import Vault
from request_callout.gateway.schema_rules import is_reference


def resolver(vaults: Mapping[str, Vault], environment: Mapping[str, str] | None = None) -> EnvironmentVault:
    """Resolves references through ``env`` itself and the vault entities of a configuration."""
    return EnvironmentVault(vaults, os.environ if environment is None else environment)


class EnvironmentVault:
    """Resolves ``{vault://env/NAME}`` and ``{vault://PREFIX/NAME[/KEY]}`` references."""

    def __init__(self, vaults: Mapping[str, Vault], environment: Mapping[str, str]) -> None:
        self._vaults = vaults
        self._environment = environment

    def __call__(self, reference: str) -> str | None:
        """The secret that a reference names, None if there is none.

        The variable is the name in upper case with ``_`` for ``-``, after the prefix if one is configured. A KEY
        picks a member of a secret that is a JSON object.
        """
        if not is_reference(reference):
            return None
        parts = urlsplit(reference[1:-1])
        resource, _, key = parts.path.removeprefix("/").partition("/")
        prefix: str | None
        if parts.netloc == "env":
            prefix = None
        elif parts.netloc in self._vaults:
            prefix = self._vaults[parts.netloc].config.get("prefix")
        else:
            return None
        prefix = parse_qs(parts.query).get("prefix", [prefix or ""])[0]
        if not resource:
            return None
        value = self._environment.get((prefix + resource).replace("-", "_").upper())
        if value is None or not key:
            return value
        try:
            member = orjson.loads(value)[key]
        except (ValueError, TypeError, KeyError):
            return None
        return member if isinstance(member, str) else orjson.dumps(member).decode()
