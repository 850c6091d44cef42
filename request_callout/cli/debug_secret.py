"""The secret with which clients ask for traces: from a file or from the environment, never from the command line."""

from __future__ import annotations

import logging
import os
import shlex
import stat
from collections.abc import Mapping

import click

VARIABLE = "REQUEST_CALLOUT_DEBUG_SECRET"
SHORTEST = 16
_OTHERS = stat.S_IROTH | stat.S_IWOTH
_MAKE_ONE = "make one with: openssl rand -hex 24"

_log = logging.getLogger(__name__)


def debug_secret(path: str | None, environment: Mapping[str, str]) -> str | None:
    """The secret in the file, else in the environment; None: nothing is traced. Raises click.UsageError.

    Who else can read the file, or put another secret into it, can have requests traced: that is told in the log.
    """
    if path is not None:
        try:
            with open(path, encoding="ascii") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                secret = file.read().strip()
        except OSError as error:
            raise click.UsageError(f"--debug-secret-file: {path} can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise click.UsageError(f"--debug-secret-file: {_printable_only()}") from None
        checked = _checked(secret, "--debug-secret-file")
        if mode & _OTHERS:
            _log.warning(
                "--debug-secret-file: every user of this machine can %s %s (mode %04o); run: chmod o-rw %s",
                *("change" if mode & stat.S_IWOTH else "read", path, mode, shlex.quote(path)),
            )
        return checked
    given = environment.get(VARIABLE, "").strip()
    return _checked(given, VARIABLE) if given else None


def _checked(secret: str, source: str) -> str:
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise click.UsageError(f"{source}: {_printable_only()}")
    if len(secret) < SHORTEST:
        raise click.UsageError(
            f"{source}: the secret has {len(secret)} characters, and needs at least {SHORTEST}; {_MAKE_ONE}"
        )
    return secret


def _printable_only() -> str:
    return f"the secret must be one line of printable ASCII characters without spaces; {_MAKE_ONE}"
