"""``request-callout validate``: every problem of the plugin's configurations in files, with where it stands."""

from request_callout.cli.validate.command import validate
from request_callout.cli.validate.documents import document_problems

__all__ = ["document_problems", "validate"]
