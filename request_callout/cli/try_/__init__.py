"""``request-callout try``: see ``command``."""

from __future__ import annotations

from request_callout.cli.try_.command import try_

__all__ = ["try_"]
