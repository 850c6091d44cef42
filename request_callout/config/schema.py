"""The JSON Schema of the configuration, read once: the one source of its shape and of its defaults."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

_FILE = "request-callout.schema.json"


@lru_cache(maxsize=1)
def json_schema() -> dict[str, Any]:
    """The schema as a document (JSON Schema 2020-12). Nobody may change it."""
    document: dict[str, Any] = json.loads(schema_text())
    return document


def schema_at(*names: str) -> dict[str, Any]:
    """The schema of the field that these names lead to, through records and the items of lists."""
    node = json_schema()
    for name in names:
        node = node.get("items", node)["properties"][name]
    return node


def schema_text() -> str:
    """The schema as the text of its file."""
    return resources.files("request_callout.config").joinpath(_FILE).read_text(encoding="utf-8")
