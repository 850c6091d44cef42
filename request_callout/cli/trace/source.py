"""Asking a running server for its traces, over its trace socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import quote

_TIMEOUT_S = 10.0


class NoTraces(Exception):
    """The traces can't be had; says why and what to do."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


class TraceSource:
    """The traces behind one socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def since(self, trace_id: str | None = None) -> list[dict[str, Any]]:
        """What the traces after this one are, newest first; all without one. Raises NoTraces."""
        status, data = self.ask("/traces" if trace_id is None else f"/traces?since={quote(trace_id)}")
        value = self._value(status, data)
        return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []

    def get(self, trace_id: str) -> dict[str, Any] | None:
        """The record of one trace. Raises NoTraces."""
        status, data = self.ask(f"/traces/{quote(trace_id, safe='')}")
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        value = self._value(status, data)
        return value if isinstance(value, dict) else None

    def find(self, words: str) -> dict[str, Any] | None:
        """The newest trace whose id, or Kong's id of whose request, begins so; ``last`` is the newest."""
        for summary in self.since():
            ids = (str(summary.get("id")), str(summary.get("request_id")))
            if words == "last" or any(one.startswith(words) for one in ids):
                return self.get(ids[0])
        return None

    def ask(self, target: str) -> tuple[int, bytes]:
        """Status and body of an answer. Raises NoTraces."""
        connection = _UnixConnection(self._path)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            return response.status, response.read()
        except FileNotFoundError:
            raise NoTraces(f"there is no socket {self._path}: start the server with --trace-socket PATH") from None
        except PermissionError:
            raise NoTraces(f"{self._path} is for the server's user alone: run this as that user") from None
        except ConnectionRefusedError:
            raise NoTraces(f"no server listens on {self._path} any more: start it with --trace-socket PATH") from None
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise NoTraces(f"the server at {self._path} does not answer: {why}") from None
        finally:
            connection.close()

    def _value(self, status: int, data: bytes) -> Any:
        if status == http.HTTPStatus.OK:
            try:
                return json.loads(data)
            except ValueError:
                pass
        raise NoTraces(f"{self._path} is no trace socket (status {status}): give the one of --trace-socket")
