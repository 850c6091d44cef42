"""``request-callout explain``: what a configuration will do, told before it does it.

``examining`` makes an ``explanation`` of a compiled configuration; ``terminal`` and ``page`` show it, and ``graph``
draws the plan, for the trace page too.
"""

from request_callout.cli.explain.command import explain

__all__ = ["explain"]
