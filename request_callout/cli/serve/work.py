"""What is made in the processes that ``serve`` forks: a worker's engine and server with what observes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from request_callout.config.settings import Settings

if TYPE_CHECKING:
    from request_callout.engine.observing import Observer
    from request_callout.server.instances import Instances
    from request_callout.server.registry import Registry
    from request_callout.server.reports import Reports, Ring
    from request_callout.server.worker import Work
    from request_callout.telemetry.metrics import Metrics


def ring() -> Ring:
    """Keeps the traces; runs in the reporter."""
    from request_callout.telemetry.trace_ring import TraceApp

    return TraceApp()


def observers(reports: Reports, secret: str | None, *, otel: bool, **_: Any) -> list[Observer]:
    """Those that follow requests, as the options say; runs in the worker."""
    found: list[Observer] = []
    if otel:
        found += _spans()
    if secret is not None:
        from request_callout.telemetry.traces import Traces

        found.append(Traces(secret, None if reports.traces is None else reports.emit))
    return found


def _spans() -> list[Observer]:
    """The observer for OpenTelemetry, unless the environment disables it; ValueError if it can't be had."""
    try:
        from request_callout.telemetry.otel_environment import check_limits

        check_limits()
        from request_callout.telemetry.spans import spans
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ValueError("--otel needs more packages: pip install 'kong-request-callout[otel]'") from None
    except ValueError as error:  # OpenTelemetry reads some variables while it is imported
        if "OTEL_" in str(error):
            raise
        raise ValueError(f"OTEL_PROPAGATORS: {error} Known are tracecontext, baggage, b3, b3multi and none") from None
    found = spans()
    return [] if found is None else [found]


def work(
    protocol: str,
    settings: Settings,
    info: dict[str, Any],
    registry: Registry,
    reports: Reports,
    observers: list[Observer],
    tried: str | None = None,
) -> Work:
    """What a worker does; runs in the worker."""
    from request_callout.engine import Engine
    from request_callout.server.instances import Instances
    from request_callout.server.worker import Work

    metrics = _metrics(reports)
    if metrics is not None:
        observers.append(metrics)
    if tried is None:
        engine = Engine(settings, observers=observers)
    else:
        from request_callout.cli.try_.engine import tried_engine

        engine = tried_engine(settings, tried, observers)
    if metrics is not None:
        metrics.follow(engine)
    if protocol == "msgpack":
        from request_callout.server.msgpack import MsgpackServer

        msgpack = MsgpackServer(engine, info, registry=registry)
        sweep = _sweep(msgpack.instances, metrics)
        return Work(msgpack.handle, lambda grace_s, _: msgpack.stop(grace_s), sweep, engine.close)
    from request_callout.server.protobuf import ProtobufServer

    instances = Instances(engine, info["Version"], registry=registry)
    server = ProtobufServer(instances, info)
    return Work(server.handle, server.stop, _sweep(instances, metrics), engine.close, server.share)


def _metrics(reports: Reports) -> Metrics | None:
    """What counts in this worker, if anybody wants to know."""
    if reports.own is None:
        return None
    from request_callout.telemetry.metrics import Metrics

    return Metrics(reports.own, reports.place)


def _sweep(instances: Instances, metrics: Metrics | None) -> Callable[[], None]:
    def sweep() -> None:
        instances.sweep()
        if metrics is not None:
            metrics.sweep()

    return sweep
