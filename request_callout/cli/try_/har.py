"""Requests out of HAR 1.2 files, and recordings as such files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from request_callout import __version__
from request_callout.cli.try_.request import BadRequest, Request, made, whole
from request_callout.transport.exchanges import Exchange, NoExchange, from_entry, to_entry
from request_callout.transport.recorded import PLACEHOLDER, shown

FORMAT = 1
"""The version of a recording's own members."""

_LISTED = 20


def request(document: Any, number: int | None) -> Request:
    """The request of one entry, from 1; raises BadRequest."""
    entries = _entries(document)
    if number is None and len(entries) > 1:
        told = [f"  {place}: {_told(entry)}" for place, entry in enumerate(entries[:_LISTED], 1)]
        told += ["  …"] if len(entries) > _LISTED else []
        raise BadRequest("\n".join([f"the HAR file has {len(entries)} entries; choose one with --entry:", *told]))
    if not entries:
        raise BadRequest("the HAR file has no entries")
    number = number or 1
    if not 1 <= number <= len(entries):
        raise BadRequest(f"--entry {number}: the HAR file has {len(entries)} entries")
    entry = entries[number - 1]
    where = f"log.entries[{number}]"
    asked = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(asked, dict):
        raise BadRequest(f"{where}.request: has to be an object")
    try:
        exchange = from_entry({"request": asked, "response": {"status": 200}}, where)
    except NoExchange as error:
        raise BadRequest(str(error)) from None
    # ":authority" and the like are HTTP/2's way to write the request line and Host.
    headers = [(name, value) for name, value in exchange.request_headers if not name.startswith(":")]
    authority = next((value for name, value in exchange.request_headers if name.lower() == ":authority"), None)
    names = {name.lower() for name, _ in headers}
    if authority and "host" not in names:
        headers.insert(0, ("Host", authority))
    cookies = asked.get("cookies") or []
    if not isinstance(cookies, list) or not all(isinstance(one, dict) for one in cookies):
        raise BadRequest(f"{where}.request.cookies: has to be a list of objects with name and value")
    if cookies and "cookie" not in names:
        headers.append(("Cookie", "; ".join(f"{one.get('name', '')}={one.get('value', '')}" for one in cookies)))
    posted = asked.get("postData")
    body = exchange.request_body
    defaults: tuple[tuple[str, str], ...] = ()
    if isinstance(posted, dict):
        if not body and posted.get("params"):
            body = _form(posted["params"], where)
        mime = str(posted.get("mimeType") or "")
        defaults = (("Content-Type", mime),) if mime else ()
    return made(exchange.method, exchange.url.partition("#")[0], headers, body, defaults)


def _form(params: Any, where: str) -> bytes:
    if not isinstance(params, list) or not all(isinstance(one, dict) for one in params):
        raise BadRequest(f"{where}.request.postData.params: has to be a list of objects with name and value")
    if any("fileName" in one for one in params):
        raise BadRequest(f"{where}.request.postData: a form with files and without its text can't be made again")
    return urlencode([(one.get("name", ""), one.get("value", "")) for one in params]).encode()


def _told(entry: Any) -> str:
    asked = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(asked, dict):
        return "(no request)"
    return f"{asked.get('method', '?')} {shown(str(asked.get('url', '?')))}"


def _entries(document: Any) -> list[Any]:
    log = document.get("log") if isinstance(document, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise BadRequest("no HAR file: log.entries has to be a list")
    return entries


def load(path: Path) -> list[Exchange]:
    """The exchanges of a recording; raises BadRequest."""
    try:
        with path.open("rb") as file:
            document = orjson.loads(whole(file))
    except BadRequest as error:
        raise BadRequest(f"{path}: {error}") from None
    except OSError as error:
        raise BadRequest(f"{path}: can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise BadRequest(f"{path}: is no JSON: {error}") from None
    try:
        entries = _entries(document)
        version = document["log"].get("_requestCallout", FORMAT)
        if version != FORMAT:
            raise BadRequest(f"log._requestCallout: the format {version!r} is not known here, only {FORMAT}")
        return [from_entry(entry, f"log.entries[{number}]") for number, entry in enumerate(entries, 1)]
    except (BadRequest, NoExchange) as error:
        raise BadRequest(f"{path}: {error}") from None


def highest_placeholder(exchanges: Sequence[Exchange]) -> int:
    """The highest number of a placeholder for a secret in a recording; 0 if there is none."""
    text = orjson.dumps([to_entry(one) for one in exchanges]).decode()
    return max((int(found.rpartition("-")[2]) for found in PLACEHOLDER.findall(text)), default=0)


def save(path: Path, exchanges: Sequence[Exchange]) -> None:
    """Write a recording, readable for its owner only; an older one is replaced as a whole. Raises OSError."""
    log = {
        "version": "1.2",
        "creator": {"name": "request-callout", "version": __version__},
        "_requestCallout": FORMAT,
        "entries": [to_entry(exchange) for exchange in exchanges],
    }
    content = orjson.dumps({"log": log}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    descriptor, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
