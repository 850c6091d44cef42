"""The configuration: its shape (one JSON Schema), its checks, and the typed model that the engine works from."""

from request_callout.config.checks import SourceCheck
from request_callout.config.load import load
from request_callout.config.problems import InvalidConfiguration, Problem

__all__ = ["InvalidConfiguration", "Problem", "SourceCheck", "load"]
