"""``request.auth``: the ``Authorization`` that a callout is sent with, and the tokens that are fetched for it.

The parts: ``identity`` (credentials of the configuration, Basic and Bearer), ``endpoint`` (how a token is asked for,
RFC 6749), ``tokens`` (the tokens of the process), ``layers`` (what of it is in the stack of a callout).
"""
