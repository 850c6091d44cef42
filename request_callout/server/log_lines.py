"""How a log record becomes a line: one line whatever is in it, and of bounded length."""

from __future__ import annotations

import logging

_MAX_LENGTH = 4096


class LineFormatter(logging.Formatter):
    """Time, level and message; control characters escaped, so that nothing a client or a script says forges a line.

    ``process_name`` stands before the message. A traceback follows on lines of its own.
    """

    def __init__(self, process_name: str | None = None) -> None:
        who = f"{process_name}: ".replace("%", "%%") if process_name else ""
        super().__init__(f"%(asctime)s %(levelname)s {who}%(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name is logging's)
        """The line, without what may follow it."""
        line = super().formatMessage(record)
        if len(line) > _MAX_LENGTH:
            line = f"{line[:_MAX_LENGTH]}... ({len(line)} characters)"
        return line if line.isprintable() else "".join(map(_printable, line))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
