"""Client certificates and authorities of a request's own."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from request_callout.config.settings import TransportSettings
from request_callout.transport import ClientCertificate, Transport, TransportError, pem
from request_callout.transport import tls as transport_tls

from .conftest import Serve, ServerContext, request_for
from .literal_server import OK, LiteralServer, Peer, answering

Make = Callable[..., Transport]


def certificate_of(authority: trustme.CA, name: str) -> ClientCertificate:
    issued = authority.issue_cert(name)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return ClientCertificate(chain.decode(), issued.private_key_pem.bytes().decode())


@pytest.fixture(scope="module")
def client_authority() -> trustme.CA:
    """The authority of the clients, which is not that of the servers."""
    return trustme.CA()


@pytest.fixture(scope="module")
def own(client_authority: trustme.CA) -> ClientCertificate:
    return certificate_of(client_authority, "client.test")


@pytest.fixture
def ca_certificates(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


@pytest.fixture
def names_seen() -> list[str]:
    return []


@pytest.fixture
def mutual(
    serve: Serve, server_context: ServerContext, client_authority: trustme.CA, names_seen: list[str]
) -> LiteralServer:
    """A server that asks for a certificate of the clients' authority, and notes the name in it."""
    context = server_context()
    client_authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    def handle(peer: Peer) -> None:
        while peer.request() is not None:
            names_seen.append(peer.sock.getpeercert()["subjectAltName"][0][1])
            peer.send(OK)

    return serve(handle, context)


def failure(transport: Transport, url: str, **options: Any) -> str:
    with pytest.raises(TransportError) as caught:
        transport.send(request_for(url, **options))
    assert caught.value.kind == "tls"
    return str(caught.value).partition(" (http")[0]


def test_own_authorities_instead_of_the_systems(
    serve: Serve, transport: Transport, server_context: ServerContext, ca_certificates: str
) -> None:
    """A request's authorities are trusted for this request, and no others."""
    server = serve(answering(OK), server_context())
    assert transport.send(request_for(server.url(), ca_certificates=ca_certificates)).body == b"ok"
    assert "not accepted" in failure(transport, server.url())
    other = trustme.CA().cert_pem.bytes().decode()
    assert "not accepted" in failure(transport, server.url(), ca_certificates=other)


def test_own_authorities_instead_of_the_servers(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str
) -> None:
    """A request's authorities take the place of those in the CA file."""
    server = serve(answering(OK), server_context())
    transport = make_transport(ca_file=ca_file)
    transport.send(request_for(server.url()))
    other = trustme.CA().cert_pem.bytes().decode()
    assert "not accepted" in failure(transport, server.url(), ca_certificates=other)


def test_several_authorities(
    serve: Serve, transport: Transport, server_context: ServerContext, ca_certificates: str
) -> None:
    """The authorities may be many, with text between them."""
    bundle = f"# andere, ältere\n{trustme.CA().cert_pem.bytes().decode()}\n# ours\n{ca_certificates}"
    server = serve(answering(OK), server_context())
    assert transport.send(request_for(server.url(), ca_certificates=bundle)).body == b"ok"


def test_client_certificate(
    mutual: LiteralServer,
    transport: Transport,
    own: ClientCertificate,
    ca_certificates: str,
    names_seen: list[str],
) -> None:
    """A server that asks for a certificate gets the request's."""
    options = {"ca_certificates": ca_certificates}
    for _ in range(2):
        transport.send(request_for(mutual.url(), client_certificate=own, **options))
    assert names_seen == ["client.test", "client.test"]
    assert mutual.connections == 1
    with pytest.raises(TransportError):
        transport.send(request_for(mutual.url(), **options))


def test_connections_are_for_one_identity(
    mutual: LiteralServer,
    transport: Transport,
    own: ClientCertificate,
    client_authority: trustme.CA,
    ca_certificates: str,
    names_seen: list[str],
) -> None:
    """A kept connection is never used with another certificate than it was made with."""
    other = certificate_of(client_authority, "other.test")
    for one in (own, other, own, other):
        transport.send(request_for(mutual.url(), client_certificate=one, ca_certificates=ca_certificates))
    assert names_seen == ["client.test", "other.test", "client.test", "other.test"]
    assert mutual.connections == 2


def test_connections_are_for_one_trust(
    serve: Serve, transport: Transport, server_context: ServerContext, ca_certificates: str
) -> None:
    """A connection that one request's authorities vouch for is not used for a request without them."""
    server = serve(answering(OK), server_context())
    transport.send(request_for(server.url(), ca_certificates=ca_certificates))
    failure(transport, server.url())


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("nothing", None, "the client certificate is no PEM certificate"),
        (None, "nothing", "the client key is no PEM private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", None, "broken PEM"),
        (None, "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----", "broken PEM"),
        ("\ud800-----BEGIN CERTIFICATE-----", None, "broken PEM"),
    ],
)
def test_bad_pem(
    serve: Serve, transport: Transport, own: ClientCertificate, certificate: str | None, key: str | None, reason: str
) -> None:
    """Certificates and keys that can't be used are named as such, without a word of them, before anything connects."""
    server = serve(answering(OK))
    bad = ClientCertificate(certificate or own.certificate, key or own.key)
    message = failure(transport, server.url().replace("http:", "https:"), client_certificate=bad)
    assert message.startswith("TLS failed: the client ")
    assert message.endswith(reason)
    assert "SECRET" not in message
    assert server.connections == 0


def test_key_of_another_certificate(transport: Transport, own: ClientCertificate, client_authority: trustme.CA) -> None:
    """A key that is not the certificate's is said to be so."""
    mixed = ClientCertificate(own.certificate, certificate_of(client_authority, "x.test").key)
    message = failure(transport, "https://127.0.0.1:1/", client_certificate=mixed)
    assert message.endswith("the client key does not belong to the client certificate")


def test_encrypted_key(transport: Transport, own: ClientCertificate) -> None:
    """An encrypted key is an error at once; nobody is asked for its passphrase."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(own.key.encode(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    bad = ClientCertificate(own.certificate, encrypted.decode())
    message = failure(transport, "https://127.0.0.1:1/", client_certificate=bad)
    assert message.endswith("the client key is encrypted; it must have no passphrase")


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "ä"])
def test_bad_authorities(transport: Transport, text: str) -> None:
    """Authorities that can't be used are an error, and trust nobody."""
    message = failure(transport, "https://127.0.0.1:1/", ca_certificates=text)
    assert message == "TLS failed: the CA certificates are no valid PEM certificates"


def test_key_is_not_shown(own: ClientCertificate) -> None:
    """The text form of a client certificate has no key in it."""
    assert own.key not in repr(own)
    assert "PRIVATE" not in repr(own)


@pytest.mark.parametrize("in_memory", [True, False])
def test_nothing_stays_on_disk(
    own: ClientCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """A key is a file without a name, or a private one that is gone at once; no descriptor stays open."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create")
    before = len(os.listdir("/proc/self/fd"))
    with pem.as_file(own.key) as path:
        assert Path(path).read_text() == own.key
        files = list(tmp_path.iterdir())
        assert len(files) == (0 if in_memory else 1)
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == before


def test_contexts_are_few(own: ClientCertificate) -> None:
    """A context is made once for the same certificates, and those not used for longest are forgotten."""
    contexts = transport_tls.TlsContexts(TransportSettings().ca_file)
    request = request_for("https://a.test/", ssl_verify=False, client_certificate=own)
    first = contexts.get(request)
    assert contexts.get(request) is first
    for number in range(100):
        other = ClientCertificate(own.certificate, f"{number}\n{own.key}")
        contexts.get(request_for("https://a.test/", ssl_verify=False, client_certificate=other))
        if number == 50:
            assert contexts.get(request) is first
    assert len(contexts._kept) == transport_tls._KEPT
    assert contexts.get(request) is first
    for number in range(100, 200):
        other = ClientCertificate(own.certificate, f"{number}\n{own.key}")
        contexts.get(request_for("https://a.test/", ssl_verify=False, client_certificate=other))
    assert contexts.get(request) is not first
