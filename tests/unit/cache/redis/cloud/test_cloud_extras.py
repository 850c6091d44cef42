from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Literal

import pytest

from request_callout.cache.redis.cloud import credentials

from .conftest import Settings

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"botocore", "azure", "google"} or name in {"boto3", "msal"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""
ASK = """
import dataclasses
from request_callout.cache.redis.cloud import MissingExtra, credentials
from request_callout.config import load
redis = load({"callouts": []}).cache.redis
assert credentials(redis) is None
cloud = dataclasses.replace(redis.cloud_authentication, auth_provider=sys.argv[1])
redis = dataclasses.replace(redis, cloud_authentication=cloud)
"""


def python(source: str, *arguments: str) -> str:
    """What a Python process of its own prints."""
    command = [sys.executable, "-c", source, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("provider", "package"), [("aws", "botocore"), ("azure", "azure.identity"), ("gcp", "google.auth")]
)
def test_a_missing_package_is_told_with_what_installs_it(provider: str, package: str) -> None:
    """The error names the package and the command, and comes before any connection."""
    tell = """
try:
    credentials(redis)
except MissingExtra as error:
    print(error.extra, error)
"""
    assert python(HIDE + ASK + tell, provider) == (
        f"{provider} cloud_authentication with auth_provider {provider} needs the Python package {package}; install "
        f"it where request-callout runs: pip install 'kong-request-callout[{provider}]'\n"
    )


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp"])
def test_a_package_is_imported_when_a_token_is_asked_for(provider: str) -> None:
    """Imports that take long are left to the thread of the first fetch."""
    tell = """
assert credentials(redis) is not None
print(sorted({"botocore", "azure.identity", "google.auth"} & set(sys.modules)))
"""
    assert python("import sys" + ASK + tell, provider) == "[]\n"


def test_without_a_provider_there_are_no_credentials(settings: Settings) -> None:
    """The username and password of the configuration count then."""
    redis = settings("gcp")
    none: Literal["aws"] | None = None
    cloud = dataclasses.replace(redis.cloud_authentication, auth_provider=none)
    assert credentials(dataclasses.replace(redis, cloud_authentication=cloud)) is None
