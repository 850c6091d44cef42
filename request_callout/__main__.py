"""``python -m request_callout``: the same as the command ``request-callout``."""

from request_callout.cli import main

main(prog_name="request-callout")
