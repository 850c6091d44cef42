"""A declarative document as text: YAML that Kong and decK read as it was meant, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import yaml

Format = Literal["yaml", "json"]

_WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """Scripts as blocks, and no anchors: those are easily missed by a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def written(document: Mapping[str, Any], form: Format) -> str:
    """The document in the order of its keys."""
    if form == "json":
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False
    )
