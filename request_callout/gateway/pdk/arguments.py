"""What the functions of the PDK share: their ways to fail, and checks of their arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from request_callout.gateway.exchange import Exchange
from request_callout.gateway.model import Consumer
from request_callout.values import Value, raw

# Control characters in a header's value, and all that no token may hold in its name, are percent-encoded by OpenResty.
_UNSAFE_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNSAFE_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


class PdkFailure(Exception):
    """An error that the PDK raises: in Kong it ends the plugin, and the client gets 500."""


class Exited(Exception):
    """The exchange has its answer (``exchange.exit``): the plugin that called ends here."""


@dataclass(frozen=True, slots=True)
class Failure:
    """``nil, err``."""

    message: str


@dataclass(frozen=True, slots=True)
class RawBody:
    """What ``kong.request.get_raw_body`` finds: the body, or the file it was written to."""

    content: bytes | None
    path: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What PDK functions need beside the exchange: consumers, upstreams and vaults of the configuration."""

    consumers: Sequence[Consumer]
    resolve: Callable[[str], str | None]


def string(value: Value, what: str) -> str:
    """A string argument; raises PdkFailure for anything else."""
    if not isinstance(value, str):
        raise PdkFailure(f"{what} must be a string")
    return value


def kind_of(value: Value) -> str:
    """Lua's name for the type of a value."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "table"


def header_values(name: Value, value: Value) -> list[str]:
    """A header's value as the lines to send; raises PdkFailure for what Kong refuses."""
    if not isinstance(name, str):
        raise PdkFailure(f'invalid header name "{name}": got {kind_of(name)}, expected string')
    if isinstance(value, list):
        elements = [one for one in value if one is not None]
        wrong = next((one for one in elements if not isinstance(one, str)), None)
        if wrong is not None:
            raise PdkFailure(f'invalid header value in array "{name}": got {kind_of(wrong)}, expected string')
        return [safe_value(one) for one in elements]
    if isinstance(value, dict):  # only the elements of its list count
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (int, float)):
        return [f"{value:.14g}"]
    if isinstance(value, str):
        return [safe_value(value)]
    raise PdkFailure(
        f'invalid header value for "{name}": got {kind_of(value)}, expected array of string, string, number or boolean'
    )


def safe_value(value: str) -> str:
    """A header's value as OpenResty writes it: control characters percent-encoded, a space if it is empty."""
    return _UNSAFE_VALUE.sub(lambda found: f"%{ord(found[0]):02X}", value) or " "


def safe_name(name: str) -> str:
    """A header's name as OpenResty writes it: percent-encoded where no token may be."""
    return _UNSAFE_NAME.sub(lambda found: "".join(f"%{byte:02X}" for byte in raw(found[0])), name)


def maximum(value: Value, what: str) -> int:
    """How many headers or arguments are asked for: 1 to 1000, 100 unless given."""
    if value is None:
        return 100
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise PdkFailure(f"{what} must be a number")
    if value < 1:
        raise PdkFailure(f"{what} must be >= 1")
    if value > 1000:
        raise PdkFailure(f"{what} must be <= 1000")
    return int(value)


def single(values: dict[str, list[str]]) -> dict[str, Value]:
    """Lists of one as their element, as Lua gets headers."""
    return {name: lines[0] if len(lines) == 1 else lines for name, lines in values.items()}


def checked_headers(headers: Value) -> dict[str, list[str]]:
    """A table of headers, name by name the lines to send; raises PdkFailure."""
    if headers == []:
        return {}
    if not isinstance(headers, dict):
        raise PdkFailure("headers must be a table")
    return {name: header_values(name, value) for name, value in headers.items()}


def shown(entity: Mapping[str, Any]) -> dict[str, Any]:
    """An entity as plugins see it: without what is not set."""
    return {name: value for name, value in entity.items() if value is not None}


def json_text(value: Value) -> bytes:
    """A table as cjson writes it: an empty one is an object, slashes are escaped."""
    try:
        encoded = b"{}" if value == [] else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
        return encoded.replace(b"/", b"\\/")
    except TypeError as error:
        raise PdkFailure(f"body encoding failed while flushing response: {error}") from None


def wrong_phase(only_in: str) -> Callable[..., Any]:
    """A function that Kong refuses in the access phase."""

    def refuse(x: Exchange, around: Surroundings, *_: Value) -> None:
        raise PdkFailure(f"function cannot be called in access phase (only in: {only_in})")

    return refuse
