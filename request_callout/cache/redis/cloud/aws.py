"""Tokens for Amazon ElastiCache: a signed request to connect, that is never sent.

The token is a URL without its scheme, with the cache's name as the host, signed for 15 minutes with AWS Signature
Version 4 in its query (Amazon ElastiCache User Guide, "Authenticating with IAM").
"""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.session
from redis.exceptions import AuthenticationError, ConnectionError

from request_callout.cache.redis.cloud.tokens import REQUEST_LIMIT_S, Source, Token
from request_callout.config import model

_SIGNED_FOR_S = 900
# A token ends with the credentials it was signed with, and botocore renews these ten minutes ahead at the latest.
_KEPT_S = 600
_SESSION_NAME = "kong-request-callout"

# On its finer levels it writes what it signs, and on warning the role with the reason why it was refused.
logging.getLogger("botocore").setLevel(logging.ERROR)


def source(settings: model.Redis) -> Source:
    """Tokens for ``settings.username``; raises AuthenticationError if there is nothing to sign with."""
    cloud = settings.cloud_authentication
    user, cache, region = settings.username, cloud.aws_cache_name, cloud.aws_region
    if not user or not cache or not region:
        raise AuthenticationError("aws: username, aws_cache_name and aws_region are needed to log in to ElastiCache")
    try:
        credentials = _credentials(cloud, region)
    except botocore.exceptions.BotoCoreError as error:
        raise _told(error) from None

    def token() -> Token:
        now = time.time()
        try:
            frozen = credentials.get_frozen_credentials()
            secret = signed(frozen, user, cache, region, serverless=cloud.aws_is_serverless)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise _told(error) from None
        return Token(user, secret, now + _KEPT_S)

    return token


def signed(
    credentials: botocore.credentials.ReadOnlyCredentials, user: str, cache: str, region: str, *, serverless: bool
) -> str:
    """The request to connect, signed for 15 minutes from now."""
    kind = "&ResourceType=ServerlessCache" if serverless else ""
    # ElastiCache keeps names in lower case, and so it checks the signature.
    url = f"https://{cache.lower()}/?Action=connect{kind}&User={quote(user, safe='')}"
    request = botocore.awsrequest.AWSRequest("GET", url)
    signer = botocore.auth.SigV4QueryAuth(credentials, "elasticache", region, expires=_SIGNED_FOR_S)
    signer.add_auth(request)
    return str(request.url).removeprefix("https://")


def _credentials(cloud: model.CloudAuthentication, region: str) -> botocore.credentials.Credentials:
    """The configured key, else what AWS's default chain finds; and with a role, those of that role."""
    session = botocore.session.Session()
    found: botocore.credentials.Credentials | None
    if cloud.aws_access_key_id and cloud.aws_secret_access_key:
        found = botocore.credentials.Credentials(cloud.aws_access_key_id, cloud.aws_secret_access_key)
    else:
        found = session.get_credentials()
    if found is None:
        raise AuthenticationError("aws: no credentials: neither configured nor found where AWS's SDKs look for them")
    if not cloud.aws_assume_role_arn:
        return found
    limits = botocore.config.Config(
        region_name=region,
        connect_timeout=REQUEST_LIMIT_S,
        read_timeout=REQUEST_LIMIT_S,
        retries={"total_max_attempts": 2},
    )
    fetcher = botocore.credentials.AssumeRoleCredentialFetcher(
        lambda service, **options: session.create_client(service, **(options | {"config": limits})),
        found,
        cloud.aws_assume_role_arn,
        extra_args={"RoleSessionName": cloud.aws_role_session_name or _SESSION_NAME},
    )
    return botocore.credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _told(
    error: botocore.exceptions.BotoCoreError | botocore.exceptions.ClientError,
) -> AuthenticationError | ConnectionError:
    """Without the SDK's text: it names users and roles."""
    if isinstance(error, botocore.exceptions.ClientError):
        code = error.response.get("Error", {}).get("Code", "unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429 or code == "Throttling":
            return ConnectionError(f"aws: {error.operation_name} failed: {code}")
        return AuthenticationError(f"aws: {error.operation_name} was refused: {code}")
    if isinstance(error, (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)):
        return ConnectionError(f"aws: STS can't be reached: {type(error).__name__}")
    return AuthenticationError(f"aws: no usable credentials: {type(error).__name__}")
