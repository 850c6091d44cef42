"""Logging in to a cloud provider's managed Redis with a short-lived token in place of a password.

Each provider needs its own Python package, which comes with the extra of that name; ``tokens`` says how tokens are
kept, ``aws``, ``azure`` and ``gcp`` how they are got.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Literal

from redis.credentials import CredentialProvider

from request_callout.cache.redis.cloud.tokens import Source, TokenCredentials
from request_callout.config import model

__all__ = ["MissingExtra", "credentials"]

Provider = Literal["aws", "azure", "gcp"]

_NEEDED: dict[Provider, str] = {"aws": "botocore", "azure": "azure.identity", "gcp": "google.auth"}


class MissingExtra(Exception):
    """The package that a provider of ``cloud_authentication`` needs is not installed; ``extra`` brings it."""

    def __init__(self, extra: Provider) -> None:
        super().__init__(
            f"cloud_authentication with auth_provider {extra} needs the Python package {_NEEDED[extra]}; install it "
            f"where request-callout runs: pip install 'kong-request-callout[{extra}]'"
        )
        self.extra = extra


def credentials(settings: model.Redis) -> CredentialProvider | None:
    """What the connections of a Redis log in with; None: ``username`` and ``password`` as they stand.

    Raises MissingExtra. Nothing is imported or fetched before the first connection asks.
    """
    provider = settings.cloud_authentication.auth_provider
    if provider is None:
        return None
    if not _installed(_NEEDED[provider]):
        raise MissingExtra(provider)
    return TokenCredentials(provider, partial(_source, provider, settings))


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package it is in
        return False


def _source(provider: Provider, settings: model.Redis) -> Source:
    # Imported here: they are not installed with every copy, and take up to half a second.
    if provider == "aws":
        from request_callout.cache.redis.cloud import aws

        return aws.source(settings)
    if provider == "azure":
        from request_callout.cache.redis.cloud import azure

        return azure.source(settings)
    from request_callout.cache.redis.cloud import gcp

    return gcp.source(settings)
