"""``request-callout demo``: the documents' scenarios with stand-ins of the services that they call."""

from request_callout.cli.demo.command import demo

__all__ = ["demo"]
