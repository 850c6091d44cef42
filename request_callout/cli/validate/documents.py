"""Every problem of the plugin's configurations in a document that is in memory already, as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from request_callout.config.declarative import file_problems, nulls, plugin_configurations

if TYPE_CHECKING:
    from request_callout.config import Problem, SourceCheck
    from request_callout.config.model import Configuration


def document_problems(document: Mapping[str, Any], check: SourceCheck) -> Iterator[str]:
    """Every problem of the plugin's configurations in a declarative document, each with its path."""
    for problem in file_problems(document):
        yield str(problem)
    for configuration in plugin_configurations(document):
        for problem in errors(configuration.raw, check):
            yield str(configuration.placed(problem))


def errors(raw: Any, check: SourceCheck) -> list[Problem]:
    """What keeps the plugin or Kong from taking a configuration."""
    return loaded(raw, check)[1]


def loaded(raw: Any, check: SourceCheck) -> tuple[Configuration | None, list[Problem]]:
    """The configuration if the plugin takes it, and what keeps the plugin or Kong from that."""
    from request_callout.config import InvalidConfiguration, load

    problems = nulls(raw)
    try:
        return load(raw, check), problems
    except InvalidConfiguration as invalid:
        return None, [*problems, *invalid.problems]
