"""What the schema can't say of certificates and keys in ``callouts[].request.http_opts``: PEM (RFC 7468).

No message holds any part of a value: it may come from a vault.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config.normal import is_reference
from request_callout.config.problems import Problem

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<content>.*?)-----END (?P=label)-----", re.DOTALL)
_KEYS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
_DER_SEQUENCE = b"\x30"


def certificates(http_opts: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """``client_certificate``, ``client_key`` and ``ca_certificates`` of ``callouts[].request.http_opts``."""
    for name in ("client_certificate", "ca_certificates"):
        text = http_opts.get(name)
        if _is_given(text) and not _holds(str(text), ("CERTIFICATE",)):
            message = "is no certificate in PEM form; it has to hold -----BEGIN CERTIFICATE----- and what follows"
            yield Problem(f"{path}.{name}", message + _single_line(str(text)))
    text = http_opts.get("client_key")
    if not _is_given(text):
        return
    if "-----BEGIN ENCRYPTED PRIVATE KEY-----" in str(text) or "Proc-Type: 4,ENCRYPTED" in str(text):
        yield Problem(f"{path}.client_key", "the key is encrypted; decrypt it with openssl pkey, and use a vault")
    elif not _holds(str(text), _KEYS):
        message = "is no private key in PEM form; it has to hold -----BEGIN PRIVATE KEY----- and what follows"
        yield Problem(f"{path}.client_key", message + _single_line(str(text)))


def _is_given(text: Any) -> bool:
    return isinstance(text, str) and text != "" and not is_reference(text)


def _holds(text: str, labels: tuple[str, ...]) -> bool:
    """Whether there is such a block, and every one of them can be read."""
    blocks = [block for block in _BLOCK.finditer(text) if block["label"] in labels]
    return bool(blocks) and all(_is_der(block["content"]) for block in blocks)


def _is_der(content: str) -> bool:
    try:
        return base64.b64decode("".join(content.split()), validate=True).startswith(_DER_SEQUENCE)
    except (binascii.Error, ValueError):
        return False


def _single_line(text: str) -> str:
    if "\\n" in text:
        return " (its line breaks are written as \\n; put real ones there)"
    return ""
