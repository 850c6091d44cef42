"""The options of the commands that start the embedded gateway: how its plugin server is started and talked to."""

from __future__ import annotations

import click

protocol = click.option(
    "--protocol",
    type=click.Choice(["protobuf", "msgpack"]),
    default="protobuf",
    show_default=True,
    help="How the gateway talks to the plugin server.",
)

serve_options = click.option(
    "--serve-option",
    "serve_options",
    multiple=True,
    metavar="OPTION",
    help="An option for the plugin server, as --serve-option=--untrusted-lua=on; may be repeated.",
)
