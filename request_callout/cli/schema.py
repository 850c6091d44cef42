"""``request-callout schema``: the JSON Schema of configurations and of files, for editors and other tools."""

from __future__ import annotations

import json

import click

from request_callout.config.editor_schema import editor_schema


@click.command()
@click.argument("kind", type=click.Choice(["config", "file", "kubernetes", "plugin"]), default="file")
def schema(kind: str) -> None:
    """Print a JSON Schema, with every field's description and default.

    KIND is file (default; Kong's declarative files and decK's), kubernetes (KongPlugin), plugin (JSON of the Admin
    API), or config (the configuration alone; what the plugin itself checks by). All but the last leave free what is not
    this plugin's.

    An editor with the YAML language server takes it from a comment in the file's first line:

    # yaml-language-server: $schema=request-callout.schema.json
    """
    click.echo(json.dumps(editor_schema(kind), indent=2, ensure_ascii=False))
