"""A checked configuration as frozen dataclasses: what the engine works from.

The shape and the defaults come from ``schema/request-callout.schema.json``; this module only gives them types and
units. Fields keep the names they have in Kong's configuration, with the unit added where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OnError = Literal["fail", "retry", "continue"]
BodyFormat = Literal["json", "form", "multipart", "raw"]
ResponseFormat = Literal["json", "form", "xml", "text"]
Strategy = Literal["off", "memory", "redis"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """How headers or query parameters are made: forwarded ones, then ``remove``, then ``custom``.

    ``custom`` maps names to values that may hold expressions; None (an explicit null) removes.
    """

    forward: bool
    custom: Mapping[str, str | None]
    remove: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """How a body is made: the forwarded one, then ``remove``, then ``custom`` merged over it.

    With ``typed`` a value that is one expression alone keeps its type. ``format`` says how ``custom`` is written;
    ``content`` is the template of a ``raw`` body.
    """

    forward: bool
    decode: bool
    typed: bool
    custom: Mapping[str, str | None]
    remove: tuple[str, ...]
    format: BodyFormat = "json"
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Milliseconds; 0 means the server's default. ``total_ms`` bounds a callout with its retries."""

    connect_ms: int
    write_ms: int
    read_ms: int
    total_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Proxy:
    """The forward proxies of a callout, with one set of credentials for both."""

    http_proxy: str | None
    https_proxy: str | None
    auth_username: str | None
    auth_password: str | None


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How a callout is sent.

    ``client_certificate``, ``client_key`` and ``ca_certificates`` are PEM texts. ``max_response_bytes`` None: the
    server's limit. ``max_redirects`` 0: redirects are answers as any other.
    """

    ssl_verify: bool
    ssl_server_name: str | None
    timeouts: Timeouts | None
    proxy: Proxy | None
    client_certificate: str | None = None
    client_key: str | None = None
    ca_certificates: str | None = None
    max_response_bytes: int | None = None
    max_redirects: int = 0


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pause before retry n is a random time up to ``initial_ms * factor ** (n - 1)``, ``max_ms`` at most."""

    initial_ms: int
    max_ms: int
    factor: float


@dataclass(frozen=True, slots=True)
class Fallback:
    """What stands for the response of a callout that failed under ``continue``: templates, but for the status."""

    status: int
    headers: Mapping[str, str]
    body: str | None


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """What counts as an error and what follows from it; ``on_error`` and ``retries`` are the effective ones.

    ``http_statuses`` None means that any response is a success; ``when`` is an expression that calls a response an
    error. ``backoff`` None: retries follow at once. ``retry_after``: the pause that a response asks for is made, up to
    the backoff's ``max_ms``. ``retry_methods`` None: all.
    """

    on_error: OnError
    retries: int
    http_statuses: frozenset[int] | None
    error_response_code: int
    error_response_msg: str
    backoff: Backoff | None = None
    retry_after: bool = False
    retry_methods: frozenset[str] | None = None
    fallback: Fallback | None = None
    when: str | None = None


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When calls to a target are given up for ``open_ms``.

    After ``failures`` in the last ``window_ms``, or a share of ``failure_rate`` percent of at least ``min_requests``
    in it; then ``half_open_probes`` calls try whether it is back.
    """

    failures: int | None
    failure_rate: float | None
    min_requests: int
    window_ms: int
    open_ms: int
    half_open_probes: int


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials that are put into the request: ``basic``, ``bearer`` or ``oauth2_client_credentials``.

    ``username``, ``password`` and ``token`` are templates; the fields of OAuth 2.0 (RFC 6749 section 4.4) are constant.
    """

    type: Literal["basic", "bearer", "oauth2_client_credentials"]
    username: str | None = None
    password: str | None = None
    token: str | None = None
    token_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    credentials_in: Literal["header", "body"] = "header"
    extra_parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL may lead: host patterns (``*.example.com``; empty: any) and networks that are never connected to."""

    allow_hosts: tuple[str, ...]
    deny_networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForEach:
    """One call for each element of the list that ``items``, an expression, gives."""

    items: str
    max_items: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Request:
    """``callouts[].request``."""

    url: str
    method: str
    query: Parameters
    headers: Parameters
    body: Body
    http_opts: HttpOptions
    error: ErrorPolicy
    by_lua: str | None
    auth: Auth | None = None
    circuit_breaker: CircuitBreaker | None = None
    hedge_after_ms: int | None = None
    destination: Destination | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """``callouts[].response``; with a ``body_format`` the body is decoded by it, else ``body_decode`` asks for JSON."""

    headers_store: bool
    body_store: bool
    body_decode: bool
    by_lua: str | None
    body_format: ResponseFormat | None = None

    @property
    def not_stored(self) -> tuple[str, ...]:
        """The members of the response that are left out of the context."""
        kept = (("headers", self.headers_store), ("body", self.body_store))
        return tuple(name for name, is_kept in kept if not is_kept)


@dataclass(frozen=True, slots=True)
class CalloutCache:
    """``callouts[].cache``: how one callout uses the cache; all but ``bypass`` goes beyond the Enterprise plugin.

    ``ttl`` is a template that is rendered after the response and gives seconds; None: ``cache_ttl`` counts.
    ``statuses`` are those that are kept; None: all that are no errors. ``negative_ttl_s`` keeps answers of status 400
    and more, also those that count as errors, for so long; None: as all others. ``stale_while_revalidate_s`` and
    ``stale_if_error_s`` are added to the time that a store keeps a response. ``jitter_percent`` shortens each time to
    live by up to so much.
    """

    bypass: bool
    ttl: str | None = None
    statuses: frozenset[int] | None = None
    negative_ttl_s: float | None = None
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    respect_cache_control: bool = False
    vary_on: tuple[str, ...] = ()
    jitter_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Callout:
    """One callout; ``depends_on`` None means that its dependencies are inferred.

    ``when`` is an expression; nil or false skips the callout.
    """

    name: str
    depends_on: tuple[str, ...] | None
    request: Request
    response: Response
    cache: CalloutCache
    when: str | None = None
    for_each: ForEach | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    """The answer to the client instead of the upstream's; header values and ``body`` (JSON text) are templates.

    ``when`` is an expression: nil or false lets the request go on to the upstream.
    """

    status: int
    headers: Mapping[str, str]
    body: str | None
    when: str | None


@dataclass(frozen=True, slots=True)
class UpstreamTarget:
    """Where the request is proxied to, as templates; None leaves what the service says."""

    scheme: str | None
    host: str | None
    port: str | None
    path: str | None


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is changed on the proxied request."""

    query: Parameters
    headers: Parameters
    body: Body
    by_lua: str | None
    respond: Respond | None = None
    target: UpstreamTarget | None = None


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where a Redis node or sentinel listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class CloudAuthentication:
    """Credentials of a cloud provider's managed Redis."""

    auth_provider: Literal["aws", "azure", "gcp"] | None
    aws_cache_name: str | None
    aws_is_serverless: bool
    aws_region: str | None
    aws_access_key_id: str | None
    aws_secret_access_key: str | None
    aws_assume_role_arn: str | None
    aws_role_session_name: str | None
    gcp_service_account_json: str | None
    azure_client_id: str | None
    azure_client_secret: str | None
    azure_tenant_id: str | None


@dataclass(frozen=True, slots=True)
class Redis:
    """How the Redis cache is reached: one server, sentinels or a cluster.

    ``from_vault`` has the values that came from a vault, each with the reference that may be shown in its place.
    """

    host: str
    port: int
    connect_timeout_ms: int
    send_timeout_ms: int
    read_timeout_ms: int
    username: str | None
    password: str | None
    database: int
    keepalive_pool_size: int
    keepalive_backlog: int | None
    ssl: bool
    ssl_verify: bool
    server_name: str | None
    connection_is_proxied: bool
    sentinel_master: str | None
    sentinel_role: Literal["master", "slave", "any"] | None
    sentinel_nodes: tuple[HostPort, ...]
    sentinel_username: str | None
    sentinel_password: str | None
    cluster_nodes: tuple[HostPort, ...]
    cluster_max_redirections: int
    cloud_authentication: CloudAuthentication
    from_vault: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Cache:
    """``cache``: where responses are kept and for how long."""

    strategy: Strategy
    cache_ttl_s: int
    dictionary_name: str
    redis: Redis


@dataclass(frozen=True, slots=True)
class Configuration:
    """One plugin configuration, checked.

    ``plugin_id``, ``route_id``, ``service_id`` and ``consumer_id`` are what Kong says of the plugin's place;
    ``secrets`` has every value that came from a vault or stands in an encrypted field, to be kept out of logs.
    ``deadline_ms`` bounds all callouts of a request; None: the server's option does.
    """

    callouts: tuple[Callout, ...]
    upstream: Upstream
    cache: Cache
    plugin_id: str
    route_id: str | None
    service_id: str | None
    consumer_id: str | None
    secrets: frozenset[str]
    deadline_ms: int | None = None
