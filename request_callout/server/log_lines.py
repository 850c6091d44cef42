"""How a log record becomes a line: one line whatever is in it, and of bounded length; as text or as JSON.

What a record tells beside its message stands in its ``fields``: all of them in JSON, in text those of which messages
do not tell anyway.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any, Literal

from request_callout.values import printable

Format = Literal["text", "json"]

_MAX_LENGTH = 4096
_MAX_TRACEBACK = 16 * 1024
_IN_TEXT = ("route", "plugin", "result")
_encode = json.JSONEncoder(default=str).encode  # ``dumps`` would make one for every line


class LineFormatter(logging.Formatter):
    """Time, level and message; control characters escaped, so that nothing a client or a script says forges a line.

    ``process_name`` stands before the message. A traceback follows on lines of its own.
    """

    def __init__(self, process_name: str | None = None) -> None:
        super().__init__()
        self._who = f"{process_name}: " if process_name else ""
        self._second = -1
        self._time = ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback if there is one."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._time = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        line = f"{self._time},{int(record.msecs):03d} {record.levelname} {self._who}{record.getMessage()}"
        fields = getattr(record, "fields", None)
        if fields is not None:
            for name in _IN_TEXT:
                value = fields.get(name)
                if value is not None:
                    line += f" {name}={value}"
        line = printable(_bounded(line, _MAX_LENGTH))
        if record.exc_info:
            # Indented: no line of it, whatever an error quotes, is taken for a record.
            told = _bounded(self.formatException(record.exc_info), _MAX_TRACEBACK)
            line = "\n  ".join([line, *map(printable, told.splitlines())])
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, worker, message, and the record's fields.

    A traceback is the field ``traceback``.
    """

    def __init__(self, process_name: str | None = None) -> None:
        super().__init__()
        self._who = process_name
        self._second = -1
        self._time = self._zone = ""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            local = time.localtime(second)
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", local)
            zone = time.strftime("%z", local)
            self._zone = f"{zone[:3]}:{zone[3:]}"
        fields = getattr(record, "fields", None)
        message = record.getMessage()
        told: dict[str, Any] = {
            "time": f"{self._time}.{int(record.msecs):03d}{self._zone}",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if self._who is not None:
            told["process"] = self._who
        if fields is not None:
            message = message.removeprefix(f"[{fields.get('request_id')}] ")
        told["message"] = _bounded(message, _MAX_LENGTH)
        if fields is not None:
            for name, value in fields.items():
                if value is not None:
                    told[name] = _bounded(value, _MAX_LENGTH) if isinstance(value, str) else value
        if record.exc_info:
            told["traceback"] = _bounded(self.formatException(record.exc_info), _MAX_TRACEBACK)
        # ASCII only: no reader takes anything in it for the end of the line, and text that is no Unicode is told too.
        return _encode(told)


def formatter(style: Format, process_name: str | None = None) -> logging.Formatter:
    """What makes lines of this format; ``process_name`` says which process of the server it is."""
    return JsonFormatter(process_name) if style == "json" else LineFormatter(process_name)


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
