"""The layer of a callout that gives up calls to a target that keeps failing; the circuits are in ``circuits``."""

from __future__ import annotations

import logging

from request_callout.config import model
from request_callout.engine.answer import CalloutError
from request_callout.engine.call import Call, Handler
from request_callout.engine.circuits import Circuit
from request_callout.engine.context import CalloutResponse
from request_callout.transport import TransportError
from request_callout.transport.url import parse_url


def break_circuit(following: Handler, settings: model.CircuitBreaker) -> Handler:
    """Raise an error of reason ``circuit_open`` without an attempt while the circuit of the target is open.

    Whatever counts as an error of the callout counts as a failure of its target, but for an attempt that was never
    sent. A callout that was ended before there was an outcome counts neither way.
    """

    def handle(call: Call) -> CalloutResponse | None:
        circuits = call.run.instance.engine.circuits
        try:
            origin = parse_url(call.record.params.url).origin
        except TransportError:
            return following(call)  # which says what is wrong with it
        circuit = circuits.of(origin, settings, call.run.instance.redact)
        now = circuits.now()
        if not circuit.let_through(now):
            raise _refusal(circuit, origin, now)
        period, attempts, is_known = circuit.period, call.attempts, False
        try:
            response = following(call)
            is_known = True
            if circuit.succeeded(period, circuits.now()):
                _tell(call, f"the circuit to {origin} is closed again")
            return response
        except CalloutError as error:
            if call.attempts == attempts:
                raise
            is_known = True
            if circuit.failed(period, circuits.now()):
                _tell(call, f"the circuit to {origin} is open for {settings.open_ms} ms: {error.message}")
            if circuit.state == "open":
                error.not_before = circuit.open_until
            raise
        finally:
            if not is_known:
                circuit.unknown(period)

    return handle


def _refusal(circuit: Circuit, origin: str, now: float) -> CalloutError:
    if circuit.state == "open":
        message = f"the circuit to {origin} is open for another {(circuit.open_until - now) * 1000:.0f} ms"
    else:
        message = f"the circuit to {origin} is half open, and its probes are under way"
    error = CalloutError("circuit_open", message)
    error.not_before = float("inf")  # a retry that meets an open circuit ends there
    return error


def _tell(call: Call, what: str) -> None:
    """One line for a change of state: there is at most one such change in ``open_ms``."""
    run = call.run
    run.log.say(logging.WARNING, f"callout {call.name}: {run.instance.redact(what)}", {"callout": call.name})
