"""``request-callout doctor``: see ``command``."""

from __future__ import annotations

from request_callout.cli.doctor.command import doctor

__all__ = ["doctor"]
