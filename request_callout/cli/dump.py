"""``request-callout dump``: what Kong's ``query_cmd`` prints."""

from __future__ import annotations

import json

import click

from request_callout.config.kong_schema import plugin_info
from request_callout.server.whole_file import write_whole

_PROTOCOLS = {"protobuf": "ProtoBuf:1", "msgpack": "MsgPack:1"}


@click.command()
@click.option(
    "--protocol",
    type=click.Choice(list(_PROTOCOLS)),
    default="protobuf",
    show_default=True,
    envvar="REQUEST_CALLOUT_PROTOCOL",
    show_envvar=True,
    help="The protocol that the server is started with.",
)
def dump(protocol: str) -> None:
    """Print the plugin's name, phases, priority, version and schema as one JSON document.

    Kong takes it from `pluginserver_NAME_query_cmd`: this command, or `cat` of a file that holds what it prints.
    """
    click.echo(description(protocol))


def description(protocol: str) -> str:
    """What Kong has to know of the plugin, as its ``query_cmd`` is to print it."""
    return json.dumps({"Protocol": _PROTOCOLS[protocol], "Plugins": [plugin_info()]})


def write_description(path: str, protocol: str) -> None:
    """Write the description into a file, in one step for whoever reads it meanwhile. Raises OSError."""
    write_whole(path, description(protocol) + "\n")
