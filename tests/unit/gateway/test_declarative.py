"""The declarative format."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.gateway import declarative
from request_callout.gateway.declarative import InvalidDeclaration
from request_callout.gateway.entities import KEY_AUTH
from request_callout.gateway.flat_errors import told
from request_callout.gateway.model import Configuration
from request_callout.gateway.vault import resolver

PLUGINS = {"key-auth": KEY_AUTH}


def load(text: str) -> Configuration:
    return declarative.load(declarative.parse(text), PLUGINS)


def errors(document: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidDeclaration) as caught:
        declarative.load(document, PLUGINS)
    return sorted(f"{path}: {message}" for path, message in told(caught.value.errors))


def test_recorded_ids() -> None:
    """Ids that are not given are the ones a running Kong makes of the same file."""
    configuration = load(
        """
        _format_version: "3.0"
        services:
        - name: up
          url: http://127.0.0.1:9100
          routes: [{name: cap, paths: [/users]}]
        consumers: [{username: alice}]
        """
    )
    assert list(configuration.entities["routes"]) == ["c14b5fa4-18cb-56c3-a38c-cff9efb33dd6"]
    assert list(configuration.entities["services"]) == ["dea4c45f-3d88-5461-8ebd-05ae5bbbf87a"]
    assert list(configuration.entities["consumers"]) == ["b32379d9-3d28-5683-a79c-72139be6e34f"]


def test_references_by_name_and_nesting_are_the_same() -> None:
    """A plugin that names its route is the same entity as one that stands inside it."""
    nested = load(
        """
        _format_version: "1.1"
        services: [{name: s, url: "https://h/p", routes: [{name: r, paths: [/a], plugins: [{name: key-auth}]}]}]
        """
    )
    flat = load(
        """
        {"_format_version": "3.0", "services": [{"name": "s", "host": "h", "protocol": "https", "port": 443,
         "path": "/p"}], "routes": [{"name": "r", "paths": ["/a"], "service": "s"}],
         "plugins": [{"name": "key-auth", "route": "r"}]}
        """
    )
    assert nested.plugins[0].route_id == flat.plugins[0].route_id == nested.routes[0].id
    assert nested.routes[0].service is not None
    assert flat.routes[0].service is not None
    left, right = nested.routes[0].service, flat.routes[0].service
    assert (left.protocol, left.host, left.port, left.path) == ("https", "h", 443, "/p")
    assert (right.protocol, right.host, right.port, right.path) == ("https", "h", 443, "/p")


def test_dates_stay_text() -> None:
    """What YAML would take for a date is text."""
    assert declarative.parse("a: 2024-01-01") == {"a": "2024-01-01"}


def test_every_problem_at_once() -> None:
    """All that is wrong is told, with its place."""
    document: dict[str, Any] = {
        "_format_version": "3.0",
        "nope": [],
        "upstreams": [],
        "services": [{"name": "s", "hosty": 1, "routes": [{"paths": ["x"], "plugins": [{"name": "other"}]}]}],
        "plugins": [{"name": "key-auth", "config": {"key_names": 1}}],
        "consumers": [{}],
    }
    assert errors(document) == [
        "consumers[1]: at least one of these fields must be non-empty: 'custom_id', 'username'",
        "nope: unknown field",
        "plugins[1].config.key_names: expected an array",
        "services[1].host: required field missing",
        "services[1].hosty: unknown field",
        "services[1].routes[1].paths[1]: should start with: / (fixed path) or ~/ (regex path)",
        "services[1].routes[1].plugins[1].name: plugin 'other' not enabled; add it to the 'plugins' configuration"
        " property (the embedded gateway has request-callout, key-auth, pre-function and post-function only)",
        "upstreams: not supported by the embedded gateway",
    ]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "_format_version: required field missing"),
        ({"_format_version": "2.0"}, "_format_version: expected one of: 1.1, 2.1, 3.0"),
        (
            {"_format_version": "3.0", "services": [{"name": "s", "host": "h"}, {"name": "s", "host": "h"}]},
            "services[2]: uniqueness violation: 'services' entity with name set to 's' already declared",
        ),
        (
            {"_format_version": "3.0", "routes": [{"name": "r"}]},
            "routes[1]: must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'",
        ),
        ({"_format_version": "3.0", "routes": [{"paths": ["~/("]}]}, "routes[1].paths[1]: invalid regex"),
        ({"_format_version": "3.0", "vaults": [{"name": "aws", "prefix": "my-aws"}]}, "vault 'aws' is not installed"),
    ],
)
def test_refused(document: dict[str, Any], message: str) -> None:
    """Each of these is refused as Kong refuses it."""
    assert message in "\n".join(errors(document))


@pytest.mark.parametrize("text", ["- 1", "a: [", "just text"])
def test_no_document(text: str) -> None:
    """A file that is no YAML or JSON object is told so."""
    with pytest.raises(InvalidDeclaration, match="failed parsing declarative configuration"):
        declarative.parse(text)


def test_vaults() -> None:
    """A vault entity puts its prefix before the variable's name; a key picks a member of a JSON secret."""
    configuration = load(
        """
        _format_version: "3.0"
        vaults: [{name: env, prefix: kcsvault, config: {prefix: KC_}}]
        """
    )
    resolve = resolver(configuration.vaults, {"KC_TOKEN_URL": "u", "TOKEN_URL": "v", "MY_SECRET": '{"k":"w"}'})
    assert resolve("{vault://kcsvault/TOKEN_URL}") == "u"
    assert resolve("{vault://kcsvault/token-url}") == "u"
    assert resolve("{vault://env/token_url}") == "v"
    assert resolve("{vault://env/token-url?prefix=KC_}") == "u"
    assert resolve("{vault://env/my-secret/k}") == "w"
    assert resolve("{vault://env/nothing}") is None
    assert resolve("{vault://other/TOKEN_URL}") is None
