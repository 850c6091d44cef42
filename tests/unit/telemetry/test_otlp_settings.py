"""What the variables of the exporter say: which of two counts, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from request_callout.telemetry.otlp_sending import Target
from request_callout.telemetry.otlp_settings import is_exported, secrets, target

Given = Callable[..., Target]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """The collector that these variables of ``OTEL_EXPORTER_OTLP_…`` describe."""

    def described(**variables: str) -> Target:
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
        return target()

    return described


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"ENDPOINT": "http://c:1"}, "http://c:1/v1/traces"),
        ({"ENDPOINT": "https://c:1/otlp/"}, "https://c:1/otlp/v1/traces"),
        ({"ENDPOINT": "http://c:1", "TRACES_ENDPOINT": ""}, "http://c:1/v1/traces"),
        ({"ENDPOINT": "http://c:1", "TRACES_ENDPOINT": "http://d:2"}, "http://d:2"),
        ({"TRACES_ENDPOINT": "http://d:2/in/"}, "http://d:2/in/"),
    ],
)
def test_the_url_for_traces_is_used_as_it_is(given: Given, variables: dict[str, str], url: str) -> None:
    """Only to that for all signals the path is added; an empty variable is none."""
    assert given(**variables).url == url


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"ENDPOINT": "collector:4317"}, {"TRACES_ENDPOINT": "http://c:1"}),
        ({"ENDPOINT": "http://[::1"}, {"TRACES_ENDPOINT": "http://c:1"}),
        ({"PROTOCOL": "grpc"}, {"TRACES_PROTOCOL": "http/protobuf"}),
        ({"PROTOCOL": "grpc"}, {"TRACES_PROTOCOL": "HTTP/Protobuf"}),
        ({"HEADERS": "none"}, {"TRACES_HEADERS": "a=1"}),
        ({"COMPRESSION": "zstd"}, {"TRACES_COMPRESSION": "gzip"}),
        ({"TIMEOUT": "10s"}, {"TRACES_TIMEOUT": "3.5"}),
        ({"ENDPOINT": "https://c", "CERTIFICATE": "/nowhere"}, {"TRACES_ENDPOINT": "http://c:1"}),
    ],
)
def test_the_variable_for_traces_counts(given: Given, wrong: dict[str, str], right: dict[str, str]) -> None:
    """What is meant for the other signals of a machine, or not needed, is not even looked at."""
    with pytest.raises(ValueError, match=f"OTEL_EXPORTER_OTLP_{list(wrong)[-1]}"):
        given(**wrong)
    assert given(**wrong, **right)
    assert secrets()[:1] in ([], ["a=1"])


def test_the_rest_is_taken_over(given: Given) -> None:
    """Values of headers are URL-encoded UTF-8, or written plainly; names are in lower case."""
    headers = "Authorization=Basic%20YQ%3D%3D, X-Plain = Bearer a== ,x-name=%E2%82%AC,,"
    found = given(HEADERS=headers, COMPRESSION="GZIP", TIMEOUT="3.5")
    assert found.headers == {
        "authorization": b"Basic YQ==",
        "x-plain": b"Bearer a==",
        "x-name": "€".encode(),
    }
    assert (found.compression, found.timeout_s) == ("gzip", 3.5)
    assert (found.verify, found.certificate) == (True, None)
    found = given(HEADERS="", COMPRESSION="", TIMEOUT="")
    assert (found.headers, found.compression, found.timeout_s) == ({}, "none", 10.0)


@pytest.mark.parametrize(
    "pair", ["a", "a b=1", 'a="1"', "a=1;b", "a=1%0Ab", "a=%00", "%C3%A9=1", "a%20b=1", "a%0Ab=1", "=1"]
)
@pytest.mark.parametrize("name", ["HEADERS", "TRACES_HEADERS"])
def test_a_header_that_can_not_be_sent_is_refused(given: Given, name: str, pair: str) -> None:
    """The error names the variable and has nothing of its value."""
    with pytest.raises(ValueError, match=f"^OTEL_EXPORTER_OTLP_{name} must be NAME=VALUE[^%]*$"):
        given(**{name: f"x=SECRETKEY,{pair}"})


@pytest.mark.parametrize("url", ["c:4318", "ftp://c", "http://", "http://a b/", "http://c:0", "http://c:99999", "/v1"])
@pytest.mark.parametrize("name", ["ENDPOINT", "TRACES_ENDPOINT"])
def test_a_url_that_can_not_be_asked_is_refused(given: Given, name: str, url: str) -> None:
    """The error names the variable."""
    with pytest.raises(ValueError, match=f"^OTEL_EXPORTER_OTLP_{name} must be a URL that starts with"):
        given(**{name: url})


@pytest.mark.parametrize(("value", "exported"), [("", True), ("otlp", True), ("OTLP", True), ("none", False)])
def test_the_exporter_may_be_none(monkeypatch: pytest.MonkeyPatch, value: str, exported: bool) -> None:
    """In whatever case."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", value)
    assert is_exported() is exported


def test_files_for_tls_are_read_at_the_start(given: Given, tmp_path: Path) -> None:
    """The authorities, a folder of them too, and a client certificate with its key in a file of its own or the same."""
    ca = trustme.CA()
    mine = ca.issue_cert("client")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "mine.pem"))
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    authorities, certificate, key = (str(tmp_path / name) for name in ("ca.pem", "mine.pem", "key.pem"))
    found = given(
        ENDPOINT="https://c", CERTIFICATE=authorities, TRACES_CLIENT_CERTIFICATE=certificate, TRACES_CLIENT_KEY=key
    )
    assert (found.verify, found.certificate) == (authorities, (certificate, key))
    both = str(tmp_path / "both.pem")
    found = given(CERTIFICATE=str(tmp_path), TRACES_CLIENT_CERTIFICATE=both, TRACES_CLIENT_KEY="")
    assert (found.verify, found.certificate) == (str(tmp_path), both)
    for name, path, says in [
        ("CERTIFICATE", "/nowhere.pem", "No such file"),
        ("TRACES_CERTIFICATE", key, "PEM"),
        ("TRACES_CLIENT_CERTIFICATE", "/nowhere.pem", "No such file"),
        ("TRACES_CLIENT_CERTIFICATE", certificate, "PEM"),  # without its key
    ]:
        with pytest.raises(ValueError, match=f"^OTEL_EXPORTER_OTLP_{name} can't be used: {path}: .*{says}"):
            given(**{name: path})
        given(**{name: both})


def test_without_files_the_usual_authorities_count(given: Given) -> None:
    """A certificate is always checked."""
    assert given(ENDPOINT="https://c").verify is True
    assert given(INSECURE="true").verify is True


def test_a_key_without_its_certificate_is_refused(given: Given, tmp_path: Path) -> None:
    """It would never be used; a key of another certificate, or one with a password, can't be."""
    with pytest.raises(ValueError, match=r"^OTEL_EXPORTER_OTLP_CLIENT_KEY needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"):
        given(ENDPOINT="https://c", CLIENT_KEY="key.pem")
    one, other = trustme.CA().issue_cert("a"), trustme.CA().issue_cert("b")
    one.cert_chain_pems[0].write_to_path(str(tmp_path / "mine.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    with pytest.raises(ValueError, match="CLIENT_CERTIFICATE or OTEL_EXPORTER_OTLP_CLIENT_KEY can't be used"):
        given(CLIENT_CERTIFICATE=str(tmp_path / "mine.pem"), CLIENT_KEY=str(tmp_path / "key.pem"))


def test_secrets_are_the_values_of_headers_and_what_urls_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are written and as they are sent; the longest first, so that none is left in part."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=x%20y,b=z")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:word@c/?key=1")
    assert secrets() == sorted(secrets(), key=len, reverse=True)
    assert set(secrets()) == {"a=x%20y,b=z", "x%20y", "x y", "z", "me:word", "word", "key=1"}
