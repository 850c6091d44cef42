"""TLS: the contexts, kept since each costs milliseconds, and OpenSSL's reasons in plain words."""

from __future__ import annotations

import hashlib
import ssl
from collections import OrderedDict

from gevent import ssl as gevent_ssl

from request_callout.transport.message import ClientCertificate, OutgoingRequest, TransportError
from request_callout.transport.pem import as_file

_KEPT = 64


class TlsContexts:
    """The contexts of a transport: for each way to verify and each client certificate one, the last 64 used."""

    def __init__(self, ca_file: str | None) -> None:
        """Raises ``ValueError`` if ``ca_file`` (PEM, in place of the system's CAs) can't be used."""
        self._ca_file = ca_file
        self._kept: OrderedDict[tuple[bool, bytes | None], ssl.SSLContext] = OrderedDict()
        if ca_file is not None:
            # A wrong file has to show when the server starts, not at the first call.
            try:
                self._kept[True, None] = _context(verify=True, ca_file=ca_file)
            except OSError as error:
                raise ValueError(f"the CA file {ca_file} can't be used: {error.strerror or error}") from error

    def get(self, request: OutgoingRequest) -> ssl.SSLContext:
        """The context for a request: TLS 1.2 or later, verified unless the request says otherwise.

        Raises ``TransportError`` (``tls``) if a certificate or key of the request can't be used.
        """
        key = (request.ssl_verify, identity(request))
        context = self._kept.get(key)
        if context is None:
            context = _context(request.ssl_verify, self._ca_file, request.ca_certificates, request.client_certificate)
            if len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = context
        else:
            self._kept.move_to_end(key)
        return context


def identity(request: OutgoingRequest) -> bytes | None:
    """What stands for the certificates of a request, without keeping them; None: it has none of its own."""
    own = request.client_certificate
    if own is None and request.ca_certificates is None:
        return None
    texts = (request.ca_certificates, None if own is None else own.certificate, None if own is None else own.key)
    digest = hashlib.sha256()
    for text in texts:
        data = b"" if text is None else text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%d:" % (text is not None, len(data)))
        digest.update(data)
    return digest.digest()


def _context(
    verify: bool,
    ca_file: str | None,
    ca_certificates: str | None = None,
    client_certificate: ClientCertificate | None = None,
) -> ssl.SSLContext:
    # gevent's class, whether or not ssl is patched: its sockets are cooperative by themselves.
    context: ssl.SSLContext = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Some patch versions of Python (3.11.2) set it: a connection that somebody cut would be one that the peer closed.
    # OpenSSL before 3.0 has no such option, and tells of the cut by itself.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_certificates is not None:
        _trust(context, ca_certificates)
    elif ca_file is not None:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    if client_certificate is not None:
        _show(context, client_certificate)
    return context


def _trust(context: ssl.SSLContext, certificates: str) -> None:
    try:
        with as_file(certificates) as path:  # unlike text it may have comments in any language
            context.load_verify_locations(path)
        usable = bool(context.cert_store_stats()["x509"])
    except ssl.SSLError:
        usable = False
    if not usable:
        raise TransportError("tls", "TLS failed: the CA certificates are no valid PEM certificates")


class _KeyIsEncrypted(Exception):
    """OpenSSL asked for a passphrase."""


def _show(context: ssl.SSLContext, own: ClientCertificate) -> None:
    """Show a certificate to servers that ask for one; OpenSSL's own messages name no key material."""
    if "-----BEGIN CERTIFICATE-----" not in own.certificate:
        raise TransportError("tls", "TLS failed: the client certificate is no PEM certificate")
    if "PRIVATE KEY-----" not in own.key:
        raise TransportError("tls", "TLS failed: the client key is no PEM private key")
    try:
        with as_file(own.certificate) as certificate, as_file(own.key) as key:
            # Without a function for the passphrase OpenSSL would ask the terminal.
            context.load_cert_chain(certificate, key, _no_passphrase)
    except _KeyIsEncrypted:
        raise TransportError("tls", "TLS failed: the client key is encrypted; it must have no passphrase") from None
    except ssl.SSLError as error:
        if _openssls_reason(error) == "KEY_VALUES_MISMATCH":
            reason = "the client key does not belong to the client certificate"
        else:
            reason = "the client certificate or its key is broken PEM"
        raise TransportError("tls", f"TLS failed: {reason}") from None


def _no_passphrase() -> str:
    raise _KeyIsEncrypted


def tls_failure(error: ssl.SSLError) -> TransportError:
    """OpenSSL's reason as a ``TransportError`` of kind ``tls``."""
    return TransportError("tls", f"TLS failed: {_reason(error)}")


def is_cut(error: OSError) -> bool:
    """Whether the connection ended without TLS's closing message; those versions have no class of its own for it."""
    return isinstance(error, ssl.SSLEOFError) or getattr(error, "reason", None) == "UNEXPECTED_EOF_WHILE_READING"


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message.rstrip('.')}"
    if is_cut(error):
        return "the peer closed the connection"
    reason = _openssls_reason(error)
    if reason == "WRONG_VERSION_NUMBER":
        return "the peer does not speak TLS on this port (wrong version number)"
    return (reason or str(error)).replace("_", " ").lower()


def _openssls_reason(error: ssl.SSLError) -> str | None:
    """OpenSSL's name of the reason; in spite of its declared type it may be missing."""
    reason: str | None = getattr(error, "reason", None)
    return reason
