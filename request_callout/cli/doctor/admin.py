"""A running Kong's Admin API, read only."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

_MOST_PAGES = 1000


class Unreachable(Exception):
    """The Admin API can't be asked at all; the message says why."""


class AdminApi:
    """``GET`` on the Admin API at ``url``; ``verify`` and ``certificate`` as ``requests`` takes them."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        verify: bool | str = True,
        certificate: tuple[str, str] | str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._url = url.rstrip("/") + "/"
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.headers.update(headers)
        self._session.verify = verify
        self._session.cert = certificate

    def get(self, path: str) -> tuple[int, Any]:
        """The status and the decoded body, None if that is no JSON; raises Unreachable."""
        url = urljoin(self._url, path.lstrip("/"))
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            return 0, None  # the headers, with their token, are for this Admin API alone
        try:
            response = self._session.get(url, timeout=self._timeout_s, allow_redirects=False)
        except requests.exceptions.SSLError as error:
            raise Unreachable(f"TLS failed: {_reason(error)}") from None
        except requests.exceptions.ConnectTimeout:
            raise Unreachable(f"no connection within {self._timeout_s:g} s") from None
        except requests.exceptions.Timeout:
            raise Unreachable(f"no answer within {self._timeout_s:g} s") from None
        except (requests.exceptions.RequestException, ValueError, OSError) as error:
            raise Unreachable(_reason(error)) from None
        try:
            return response.status_code, response.json()
        except (ValueError, RecursionError):
            return response.status_code, None

    def all(self, path: str) -> list[dict[str, Any]] | None:
        """The entities of a list, page by page; None if there is no such list. Raises Unreachable."""
        found: list[dict[str, Any]] = []
        following: str | None = path
        for _ in range(_MOST_PAGES):
            status, page = self.get(following or path)
            if status != 200 or not isinstance(page, dict) or not isinstance(page.get("data"), list | dict):
                return None
            found += [one for one in page["data"] if isinstance(one, dict)]
            following = page.get("next")
            if not isinstance(following, str):
                break
        return found


def _reason(error: Exception) -> str:
    """The innermost reason, without the URL and what may be in it."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    if isinstance(inner, HTTPException):
        return "what listens there does not speak HTTP"
    return str(getattr(inner, "strerror", None) or inner) or type(error).__name__
