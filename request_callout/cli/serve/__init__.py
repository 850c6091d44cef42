"""``request-callout serve``: the plugin server beside Kong.

``command`` has the options of the process and starts it, ``settings`` the options of what runs in it, ``work`` makes
what runs in a worker.
"""

from request_callout.cli.serve.command import serve

__all__ = ["serve"]
