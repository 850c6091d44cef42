"""One configuration, compiled as the server compiles it, but with nothing that runs: what ``explain`` looks at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from request_callout.cli.explain.shown import Shown, constants
from request_callout.config import model
from request_callout.config.deck_templates import is_unknown
from request_callout.config.normal import is_reference
from request_callout.config.settings import Settings
from request_callout.config.template import parse
from request_callout.engine.compiled import CompiledCallout, CompiledUpstream, compile_callout, compile_upstream
from request_callout.engine.plan import Plan, make_plan
from request_callout.engine.redaction import Redaction
from request_callout.engine.secret_names import is_secret
from request_callout.lua import Lua


@dataclass(frozen=True, slots=True)
class Subject:
    """A configuration with its plan; ``callouts`` are in their sequence, as the steps of the plan are.

    ``given`` are values that do not stand in the file, but were put into it from the environment.
    """

    config: model.Configuration
    callouts: tuple[CompiledCallout, ...]
    upstream: CompiledUpstream
    plan: Plan
    shown: Shown
    settings: Settings
    given: frozenset[str]

    @property
    def deadline_ms(self) -> int:
        """What bounds all callouts of a request."""
        return self.config.deadline_ms or self.settings.deadline_ms

    def stands_in_file(self, value: str) -> bool:
        """Whether a value is written in the file, with something in it that is no expression."""
        return not is_reference(value) and value not in self.given and not is_unknown(value) and any(constants(value))

    def keeps(self, callout: CompiledCallout) -> bool:
        """Whether responses of a callout may come from a cache."""
        return callout.may_cache(self.config.cache.strategy)


def subject(config: model.Configuration, lua: Lua, settings: Settings, given: frozenset[str] = frozenset()) -> Subject:
    """Compile a configuration that has been loaded with the same ``lua``'s check."""
    compiled = [compile_callout(callout, place, lua) for place, callout in enumerate(config.callouts, 1)]
    upstream = compile_upstream(config.upstream, lua)
    plan = make_plan(config, compiled, upstream)
    return Subject(
        config=config,
        callouts=tuple(step.callout for step in plan.steps),
        upstream=upstream,
        plan=plan,
        shown=Shown(Redaction(_secrets(config) | given)),
        settings=settings,
        given=given,
    )


def named_values(config: model.Configuration) -> Iterator[tuple[str, str, str]]:
    """Every value that has a name of its own: its path, its name, and the value as it is configured."""
    for place, callout in enumerate(config.callouts, 1):
        where = f"config.callouts[{place}].request"
        request = callout.request
        yield from _custom(request.query, f"{where}.query")
        yield from _custom(request.headers, f"{where}.headers")
        yield from _custom(request.body, f"{where}.body")
        if request.error.fallback is not None:
            path = f"{where}.error.fallback.headers"
            yield from ((f"{path}.{name}", name, value) for name, value in request.error.fallback.headers.items())
        if request.auth is not None:
            path = f"{where}.auth.extra_parameters"
            yield from ((f"{path}.{name}", name, value) for name, value in request.auth.extra_parameters.items())
    yield from _custom(config.upstream.query, "config.upstream.query")
    yield from _custom(config.upstream.headers, "config.upstream.headers")
    yield from _custom(config.upstream.body, "config.upstream.body")
    if config.upstream.respond is not None:
        headers = config.upstream.respond.headers.items()
        yield from ((f"config.upstream.respond.headers.{name}", name, value) for name, value in headers)


def _custom(part: model.Parameters | model.Body, path: str) -> Iterator[tuple[str, str, str]]:
    yield from ((f"{path}.custom.{name}", name, value) for name, value in part.custom.items() if value is not None)


def _secrets(config: model.Configuration) -> set[str]:
    """What must not be shown anywhere: encrypted fields, and constants whose name says that they let somebody in.

    A reference to a vault is none, and of a value with expressions it is what stands around them.
    """
    named = [value for _, name, value in named_values(config) if is_secret(name)]
    return set(_constants([*config.secrets, *named]))


def _constants(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        if is_reference(value):
            continue
        if parse(value).is_constant:
            yield value
        yield from constants(value)
