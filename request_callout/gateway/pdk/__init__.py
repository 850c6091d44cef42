"""Kong's PDK on an exchange, for the ``access`` phase: what each function takes, gives and refuses in Kong 3.9.

Arguments and results are plain values; nil is None. A function that Kong lets raise an error raises ``PdkFailure``;
one that gives ``nil, err`` returns a ``Failure``. Which functions a protocol can reach is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from request_callout.gateway.exchange import Exchange
from request_callout.gateway.pdk import client, request, response, service, surroundings
from request_callout.gateway.pdk.arguments import Exited, Failure, PdkFailure, RawBody, Surroundings
from request_callout.gateway.pdk.request import captures_of
from request_callout.gateway.pdk.response import error_exit
from request_callout.gateway.pdk.surroundings import NODE_ID
from request_callout.values import Value

NEED_BODY = frozenset(
    {
        "kong.request.get_body",
        "kong.request.get_raw_body",
        "kong.service.request.set_body",
        "kong.service.request.set_raw_body",
    }
)
"""The functions for which the client's body has to be there (``Exchange.read_body``)."""

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **client.FUNCTIONS,
    **request.FUNCTIONS,
    **response.FUNCTIONS,
    **service.FUNCTIONS,
    **surroundings.FUNCTIONS,
}


def call(exchange: Exchange, around: Surroundings, method: str, args: Sequence[Value]) -> Any:
    """Call a function of the PDK by its full name; raises KeyError if there is none of that name."""
    function = _FUNCTIONS[method]
    try:
        return function(exchange, around, *args)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise PdkFailure(f"{method}: wrong arguments") from None
        raise


def exists(method: str) -> bool:
    """Whether there is a function of that name."""
    return method in _FUNCTIONS


__all__ = [
    "NEED_BODY",
    "NODE_ID",
    "Exited",
    "Failure",
    "PdkFailure",
    "RawBody",
    "Surroundings",
    "call",
    "captures_of",
    "error_exit",
    "exists",
]
