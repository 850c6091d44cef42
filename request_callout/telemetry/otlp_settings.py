"""Where the collector is and how it is reached, as OpenTelemetry's standard variables say; a wrong one is refused.

Of a variable for all signals and its form for traces (``OTEL_EXPORTER_OTLP_TRACES_…``) the latter counts. What is not
used need not be right. https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
import re
import ssl
from urllib.parse import unquote, urlsplit

import requests
from opentelemetry.util.re import parse_env_headers

from request_callout.telemetry.otel_environment import variable
from request_callout.telemetry.otlp_sending import COMPRESSIONS, Target

_TIMEOUT_S = 10.0
_ENDPOINT = "http://localhost:4318"
_PROTOCOL = "http/protobuf"
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")


def is_exported() -> bool:
    """Whether spans are sent at all. Raises ValueError for a variable that says neither."""
    exporter = variable("OTEL_TRACES_EXPORTER")
    if exporter.lower() not in ("", "otlp", "none"):
        raise ValueError(f"OTEL_TRACES_EXPORTER is {exporter!r}; it may be otlp or none")
    return exporter.lower() != "none"


def secrets() -> list[str]:
    """What must be in no log: values of headers, and what a URL has of credentials."""
    given = _of_traces("HEADERS")[1]
    values = [pair.partition("=")[2].strip() for pair in given.split(",")]
    found = {given, *values, *map(unquote, values)}
    try:
        url = urlsplit(_of_traces("ENDPOINT")[1])
        found |= {url.netloc.rpartition("@")[0], url.query, url.password or ""}
    except ValueError:  # no URL: nothing is sent to it
        pass
    return sorted((one for one in found if one), key=len, reverse=True)


def target() -> Target:
    """The collector. Raises ValueError for a variable that can't be used."""
    protocol, given = _of_traces("PROTOCOL")
    if given.lower() not in ("", _PROTOCOL):
        raise ValueError(f"{protocol} is {given!r}; spans are exported by {_PROTOCOL} only: leave it out")
    compression, given = _of_traces("COMPRESSION")
    if given.lower() not in ("", *COMPRESSIONS):
        raise ValueError(f"{compression} is {given!r}; it may be one of {', '.join(COMPRESSIONS)}")
    url = _endpoint()
    is_tls = urlsplit(url).scheme == "https"
    return Target(
        url,
        _headers(),
        timeout_s=_timeout_s(),
        compression=given.lower() or "none",
        verify=_authorities() if is_tls else True,
        certificate=_certificate() if is_tls else None,
    )


def _endpoint() -> str:
    name, given = _of_traces("ENDPOINT")
    if given and not _is_http(given):
        raise ValueError(f"{name} must be a URL that starts with http:// or https://, such as {_ENDPOINT}")
    return given if "_TRACES_" in name else f"{(given or _ENDPOINT).removesuffix('/')}/v1/traces"


def _is_http(url: str) -> bool:
    try:
        requests.Request("POST", url).prepare()
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (requests.RequestException, ValueError):
        return False


def _headers() -> dict[str, bytes]:
    """Those for the collector, their values in UTF-8."""
    name, given = _of_traces("HEADERS")
    headers: dict[str, bytes] = {}
    for pair in filter(str.strip, given.split(",")):
        one = parse_env_headers(pair, liberal=True) if "=" in pair else {}
        if not one or any(not _NAME.fullmatch(key) or not value.isprintable() for key, value in one.items()):
            raise ValueError(f"{name} must be NAME=VALUE, or several of these with commas between, values URL-encoded")
        headers |= {key: value.encode() for key, value in one.items()}
    return headers


def _authorities() -> str | bool:
    """The file or folder of certificates that the collector's is checked against; True for the usual ones."""
    name, path = _of_traces("CERTIFICATE")
    if not path:
        return True
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        raise _unreadable(name, path, error) from None
    return path


def _certificate() -> str | tuple[str, str] | None:
    """The files of our own certificate and of its key, or the one that has both; None without."""
    (certificate, path), (key, key_path) = _of_traces("CLIENT_CERTIFICATE"), _of_traces("CLIENT_KEY")
    if not path:
        if key_path:
            raise ValueError(f"{key} needs {key.removesuffix('KEY')}CERTIFICATE beside it")
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path, key_path or None, password="")
    except OSError as error:
        raise _unreadable(f"{certificate} or {key}" if key_path else certificate, path, error) from None
    return (path, key_path) if key_path else path


def _unreadable(name: str, path: str, error: OSError) -> ValueError:
    return ValueError(f"{name} can't be used: {path}: {error.strerror}; it must be a file in PEM format")


def _timeout_s() -> float:
    name, given = _of_traces("TIMEOUT")
    try:
        seconds = float(given or _TIMEOUT_S)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{name} is {given!r}; it must be a number of seconds above 0")
    return seconds


def _of_traces(name: str) -> tuple[str, str]:
    """A variable of the exporter, and its value: that for traces, else that for all signals."""
    own, common = f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    return (own, variable(own)) if variable(own) else (common, variable(common))
