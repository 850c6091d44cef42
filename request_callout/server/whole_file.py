"""Files that are there as a whole or not at all, also in a folder where others write."""

from __future__ import annotations

import contextlib
import os
import secrets


def write_whole(path: str, content: str) -> os.stat_result:
    """Put a text at ``path``, in one step for whoever reads it meanwhile; gives what the file is. Raises OSError.

    It is written under a name that nobody can foresee and that must not be there: no link of another user's leads the
    writing elsewhere.
    """
    written = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            found = os.fstat(descriptor)
        os.rename(written, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(written)
        raise
    return found
