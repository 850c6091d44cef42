"""Keeping secrets out of what people read: logs, traces, explanations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from request_callout.engine.query import split_url
from request_callout.engine.sharing import shown_url
from request_callout.transport import TransportError
from request_callout.transport.url import parse_url
from request_callout.values import printable

_SHORT_SECRET = 3


class Redaction:
    """Replaces the secrets of one configuration, and what would be shown of those that are URLs.

    Those too short to be told from other text are left.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = set(secrets)
        for secret in list(forms):
            if "://" in secret:
                base, _ = split_url(secret)
                forms |= {base, shown_url(secret), urlsplit(base).path, *_of_host(secret)}
        self._secrets = sorted((form for form in forms if len(form) > _SHORT_SECRET), key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def line(self, line: str) -> str:
        """A text without the secrets, and on one line whatever is in it."""
        return printable(self.text(line))


def _of_host(url: str) -> Iterator[str]:
    """The host of a URL as messages name it; a single word is told from other words by the scheme before it."""
    try:
        target = parse_url(url)
    except TransportError:
        return
    if "." in target.host or ":" in target.host:
        yield target.host
    else:
        yield target.origin.rpartition(":")[0]
