"""``request-callout convert``: configurations of others into one that open-source Kong takes with this plugin.

Each source format has a module (``enterprise``, ``krakend``, ``apigee``) that reads its document and gives back a
declarative one; what does not map goes into the ``report``.
"""

from request_callout.cli.convert.command import convert

__all__ = ["convert"]
