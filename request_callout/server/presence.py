"""Whether the files of unix sockets are still there: a server would serve on without a new connection."""

from __future__ import annotations

import logging

from request_callout.server.sockets import ListeningSocket, SocketError

_log = logging.getLogger(__name__)


class Presence:
    """Makes sockets anew whose files somebody removed."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def restored(self, listening: ListeningSocket, consequence: str) -> bool:
        """Whether the file was gone and is there again; ``consequence`` is for the log if it can't be made."""
        path = listening.path
        if not listening.gone:
            return False
        try:
            listening.bind_again()
        except SocketError as error:
            if path not in self._told:
                self._told.add(path)
                _log.critical(
                    "somebody removed the socket %s: %s; it can't be made anew: %s; tried again every second",
                    *(path, consequence, error),
                )
            return False
        self._told.discard(path)
        _log.error(
            "somebody removed the socket %s; it is there again. Keep cleaners of temporary files away from it", path
        )
        return True
