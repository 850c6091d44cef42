"""PEM texts for OpenSSL, which reads certificates and keys from files only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_file(text: str) -> Iterator[str]:
    """A path under which ``text`` can be read, for as long as the ``with`` statement runs.

    Where the system allows it is memory without a name, so that nothing is left behind however the process ends; else a
    file for this user alone, removed at once.
    """
    data = text.encode("utf-8", "surrogatepass")
    descriptor = _unnamed()
    if descriptor is not None:
        try:
            _write(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp()
    try:
        try:
            _write(descriptor, data)
        finally:
            os.close(descriptor)
        yield path
    finally:
        os.unlink(path)


def _unnamed() -> int | None:
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.memfd_create("pem")
    except OSError:  # a sandbox that forbids it
        return None


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
