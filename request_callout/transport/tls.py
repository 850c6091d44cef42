"""TLS: the contexts, made once since each costs milliseconds, and OpenSSL's reasons in plain words."""

from __future__ import annotations

import ssl

from gevent import ssl as gevent_ssl

from request_callout.transport.message import TransportError


class TlsContexts:
    """The two contexts of a transport: one that verifies, one that does not."""

    def __init__(self, ca_file: str | None) -> None:
        """Raises ``ValueError`` if ``ca_file`` (PEM, in place of the system's CAs) can't be used."""
        self._verifying: ssl.SSLContext | None = None
        self._trusting: ssl.SSLContext | None = None
        if ca_file is not None:
            # A wrong file has to show when the server starts, not at the first call.
            try:
                self._verifying = _context(verify=True, ca_file=ca_file)
            except OSError as error:
                raise ValueError(f"the CA file {ca_file} can't be used: {error.strerror or error}") from error

    def get(self, verify: bool) -> ssl.SSLContext:
        """The context for verified connections (TLS 1.2 or later), or for those that accept any certificate."""
        if verify:
            if self._verifying is None:
                self._verifying = _context(verify=True, ca_file=None)
            return self._verifying
        if self._trusting is None:
            self._trusting = _context(verify=False, ca_file=None)
        return self._trusting


def _context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    # gevent's class, whether or not ssl is patched: its sockets are cooperative by themselves.
    context: ssl.SSLContext = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context


def tls_failure(error: ssl.SSLError) -> TransportError:
    """OpenSSL's reason as a ``TransportError`` of kind ``tls``."""
    return TransportError("tls", f"TLS failed: {_reason(error)}")


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLEOFError):
        return "the peer closed the connection"
    if error.reason == "WRONG_VERSION_NUMBER":
        return "the peer does not speak TLS on this port (wrong version number)"
    return (error.reason or str(error)).replace("_", " ").lower()
