"""What entries and leases are called in Redis."""

from __future__ import annotations

import hashlib

PREFIX = "request-callout:"
LEASE_PREFIX = f"{PREFIX}lock:{{{PREFIX}"


def entry_name(key: str) -> str:
    """The name of the entry with this key; one that is no text, as a script may make it, is named by its SHA-256."""
    try:
        key.encode()
    except UnicodeEncodeError:
        key = "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return PREFIX + key


def lease_name(name: str) -> str:
    """The name of an entry's lease: in the same slot of a cluster, by the entry's name as the hash tag.

    See https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags.
    """
    return f"{PREFIX}lock:{{{name}}}"
