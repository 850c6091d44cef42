"""One proxied request: the callouts by their plan, then what becomes of the upstream request or of the answer.

The engine knows nothing of sockets, Kong's wire format, the command line or the embedded gateway.
"""

from request_callout.engine.instance import BrokenInstance, Engine, Instance

__all__ = ["BrokenInstance", "Engine", "Instance"]
