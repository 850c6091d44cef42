"""No source, however it is broken, ends in a traceback."""

from __future__ import annotations

import copy
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.unit.cli.converting import convert
from tests.unit.cli.test_convert_apigee import BUNDLE
from tests.unit.cli.test_convert_enterprise import ENTERPRISE

KRAKEND = {
    "version": 3,
    "timeout": "3s",
    "host": ["http://a"],
    "extra_config": {"telemetry/x": {}},
    "endpoints": [
        {
            "endpoint": "/u/{id}",
            "method": "POST",
            "input_headers": ["A"],
            "input_query_strings": ["q"],
            "output_encoding": "json",
            "cache_ttl": "1s",
            "extra_config": {"proxy": {"sequential": True}},
            "backend": [
                {
                    "host": ["http://b"],
                    "url_pattern": "/u/{id}",
                    "allow": ["id"],
                    "mapping": {"id": "key"},
                    "group": "g",
                    "extra_config": {
                        "qos/circuit-breaker": {"interval": 1, "timeout": 1, "max_errors": 1},
                        "qos/http-cache": {"max_items": 1},
                        "auth/client-credentials": {
                            "client_id": "a",
                            "client_secret": "b",
                            "token_url": "http://t",
                            "scopes": "s",
                            "endpoint_params": {"audience": ["a"]},
                        },
                    },
                },
                {"url_pattern": "/x/{resp0_g.key}", "deny": ["a"], "target": "t", "encoding": "xml", "method": "GET"},
            ],
        },
        {"endpoint": "/raw", "output_encoding": "no-op", "backend": [{"url_pattern": "/r", "method": "GET"}]},
    ],
}
OTHERS: list[Any] = [None, 7, -1, True, "", "other text $( {x}", [], [None], {}, {"x": None}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in members:
        yield (*path, name)
        yield from places(one, (*path, name))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("document", "source_format"),
    [(KRAKEND, "krakend"), (yaml.safe_load(ENTERPRISE), "enterprise")],
    ids=["krakend", "enterprise"],
)
def test_a_document_with_anything_anywhere(document: Any, source_format: str) -> None:
    """Whatever stands at any place of a document, the command ends with one of its statuses."""
    for path in places(document):
        for value in OTHERS:
            text = json.dumps(replaced(document, path, value))
            assert convert("-", "--from", source_format, text=text).exit_code in (0, 1, 3), (path, value)


def zipped(files: Mapping[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def test_a_bundle_without_any_of_its_parts() -> None:
    """Without any of its files, elements, attributes or texts a bundle ends with one of the statuses."""
    for name, text in BUNDLE.items():
        for part in re.finditer(r"<(\w+)[^<>]*>[^<>]*</\1>|\s\w+=\"[^\"]*\"|(?<=>)[^<>\s][^<>]*(?=<)", text):
            for other in ("", " other='{x}'" if part[0].startswith(" ") else "{x.y"):
                broken = text[: part.start()] + other + text[part.end() :]
                assert convert("-", text=zipped({**BUNDLE, name: broken})).exit_code in (0, 1, 3), broken
        left = {other: text for other, text in BUNDLE.items() if other != name}
        assert convert("-", text=zipped(left)).exit_code in (0, 1, 3), name
