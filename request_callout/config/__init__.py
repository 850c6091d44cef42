"""The configuration: its shape (one JSON Schema), its checks, and the typed model that the engine works from."""

from request_callout.config.load import load
from request_callout.config.problems import InvalidConfiguration, Problem
from request_callout.config.sources import SourceCheck

__all__ = ["InvalidConfiguration", "Problem", "SourceCheck", "load"]
