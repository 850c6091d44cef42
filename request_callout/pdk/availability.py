"""Which functions of the Lua PDK a wire protocol can't call.

On ProtoBuf the methods of its table can be called and nothing else. On MsgPack every function below ``kong`` can be
called by its name; one that does not exist gives nil and a line in Kong's log, so nothing is refused there.
"""

from __future__ import annotations

from request_callout.engine.kong import UnsupportedMethod

ONLY_MSGPACK = frozenset(
    {
        "kong.client.get_consumer_groups",
        "kong.client.tls.disable_session_reuse",
        "kong.client.tls.get_full_client_certificate_chain",
        "kong.client.tls.request_client_certificate",
        "kong.cluster.get_id",
        "kong.nginx.get_statistics",
        "kong.node.get_hostname",
        "kong.plugin.get_id",
        "kong.request.get_body",
        "kong.request.get_forwarded_path",
        "kong.request.get_forwarded_prefix",
        "kong.request.get_raw_path",
        "kong.request.get_start_time",
        "kong.response.error",
        "kong.response.get_raw_body",
        "kong.response.set_raw_body",
        "kong.service.request.set_body",
        "kong.service.response.get_body",
        "kong.service.set_retries",
        "kong.service.set_timeouts",
        "kong.service.set_tls_verify",
        "kong.service.set_tls_verify_depth",
        "kong.vault.get",
        "kong.vault.is_reference",
        "kong.vault.parse_reference",
        "kong.vault.try",
        "kong.vault.update",
    }
)
"""The functions that scripts use and ProtoBuf lacks; of those below ``ONLY_MSGPACK_PREFIXES`` there are more."""
ONLY_MSGPACK_PREFIXES = ("kong.cache.", "kong.telemetry.", "kong.tracing.")


def unsupported_on_protobuf(method: str) -> UnsupportedMethod:
    """The error for a method that is not in ProtoBuf's table; it names MsgPack if Kong has the function."""
    known = method in ONLY_MSGPACK or method.startswith(ONLY_MSGPACK_PREFIXES)
    return UnsupportedMethod(method, "ProtoBuf", "MsgPack" if known else None)
