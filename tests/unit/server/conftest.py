"""Fixtures of the server's tests."""

from tests.unit.server.processes import start

__all__ = ["start"]
