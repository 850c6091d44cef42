"""Mutual TLS, authorities of a callout's own, content codings and the size of responses."""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import pytest
import trustme

from tests.conformance.callee import Callee, Reply, reply_json
from tests.conformance.site import Site, callout

DOCUMENT = b'{"text": "' + b"a text that is worth it, " * 40 + b'"}'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority of the services, which no system knows."""
    return trustme.CA()


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    """The authority of their clients."""
    return trustme.CA()


@pytest.fixture
def mutual(authority: trustme.CA, clients: trustme.CA) -> Iterator[Callee]:
    """A callee that wants a certificate of its clients' authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    callee = Callee(reply_json({"id": 7}), context)
    yield callee
    callee.close()


@pytest.fixture
def certificates(authority: trustme.CA, clients: trustme.CA) -> dict[str, str]:
    """The fields of http_opts that let a callout call it."""
    issued = clients.issue_cert("gateway.example")
    return {
        "ca_certificates": authority.cert_pem.bytes().decode(),
        "client_certificate": b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode(),
        "client_key": issued.private_key_pem.bytes().decode(),
    }


def test_mutual_tls(site: Site, mutual: Callee, certificates: dict[str, str]) -> None:
    """With client_certificate, client_key and ca_certificates both sides know each other."""
    site.configure([callout("a", mutual.url, http_opts=certificates)])
    for _ in range(2):
        assert site.get().status == 200
    assert len(mutual.received()) == 2


@pytest.mark.parametrize("missing", [("ca_certificates",), ("client_certificate", "client_key")])
def test_each_part_is_needed(
    site: Site, mutual: Callee, certificates: dict[str, str], missing: tuple[str, ...]
) -> None:
    """Without one of them the callout fails, and the service gets nothing."""
    options: dict[str, Any] = {name: text for name, text in certificates.items() if name not in missing}
    site.configure([callout("a", mutual.url, http_opts=options)])
    assert site.get().status == 400
    assert not mutual.received()


def test_key_of_another_certificate(
    site: Site, mutual: Callee, certificates: dict[str, str], clients: trustme.CA
) -> None:
    """A key that is not the certificate's is an error that shows nothing of the key."""
    other = clients.issue_cert("other.example").private_key_pem.bytes().decode()
    options = {**certificates, "client_key": other}
    site.configure([callout("a", mutual.url, http_opts=options, error={"on_error": "continue"})], witness=True)
    error = site.context()["a"]["request"]["error"]["err"]
    assert "the client key does not belong to the client certificate" in error
    assert not mutual.received()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(DOCUMENT, mtime=0)),
        ("deflate", zlib.compress(DOCUMENT)),
        ("br", brotli.compress(DOCUMENT)),
        ("br, gzip", gzip.compress(brotli.compress(DOCUMENT), mtime=0)),
    ],
    ids=["gzip", "deflate", "br", "both"],
)
def test_codings(site: Site, coding: str, body: bytes) -> None:
    """A response in gzip, deflate or br is decoded; its headers no longer name coding and length."""
    site.callee.on("/a", Reply(200, body, (("Content-Encoding", coding), ("Content-Type", "application/json"))))
    site.configure([callout("a", "/a", decode=True)], witness=True)
    response = site.context()["a"]["response"]
    assert response["body"]["text"].startswith("a text that is worth it")
    names = {name.lower() for name in response["headers"]}
    assert "content-type" in names
    assert not names & {"content-encoding", "content-length"}


def test_what_is_asked_for(site: Site) -> None:
    """Of a forwarded Accept-Encoding that is left which can be decoded; without forward nothing is asked for."""
    site.configure([callout("a", "/a", headers={"forward": True})])
    site.get(headers={"Accept-Encoding": "zstd, br;q=0.9, gzip;q=0.8"})
    assert site.callee.one("/a").header("Accept-Encoding") == "gzip, br"
    site.configure([callout("b", "/b")])
    site.get(headers={"Accept-Encoding": "gzip"})
    assert site.callee.one("/b").header("Accept-Encoding") is None


def test_broken_coding(site: Site) -> None:
    """A body that is not what Content-Encoding says is an error."""
    site.callee.on("/a", Reply(200, b"{}", (("Content-Encoding", "gzip"),)))
    site.configure([callout("a", "/a")])
    assert site.get().status == 400


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_max_response_bytes(site: Site, coding: str | None) -> None:
    """A body over max_response_bytes is an error, as it comes or decoded."""
    headers = (("Content-Encoding", coding),) if coding else ()
    for size, status in ((1000, 200), (1001, 400)):
        body = gzip.compress(bytes(size), mtime=0) if coding else bytes(size)
        site.callee.on("/a", Reply(200, body, headers))
        site.configure([callout("a", "/a", http_opts={"max_response_bytes": 1000})])
        assert site.get().status == status
