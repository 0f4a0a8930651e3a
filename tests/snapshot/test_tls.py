"""Certificates of mirrors are verified before anything is read."""

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from build.errors import RemoteError
from build.snapshot.fetch import Fetcher
from tests.snapshot.served import Mirror, Reply, answer, mirror_of


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mirror of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(signed.public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.with_suffix(".key").write_bytes(plain)
    return path


@pytest.fixture
def secure(tmp_path: Path, certificate: Path) -> Iterator[Mirror]:
    """A mirror over https that serves one file."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/file").write_bytes(b"content")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    def wrap(listening: socket.socket) -> socket.socket:
        return context.wrap_socket(listening, server_side=True)

    with mirror_of(tmp_path / "served", wrap=wrap) as mirror:
        yield mirror


def test_an_untrusted_certificate_is_refused_at_once(secure: Mirror, certificate: Path) -> None:
    slept: list[float] = []
    with pytest.raises(RemoteError, match=f"^{secure.url}/file: .*certificate verify failed"):
        Fetcher(slept.append).fetch(secure.url, "file", limit=7)
    assert (slept, secure.asked) == ([], [])
    assert Fetcher(slept.append, verify=str(certificate)).fetch(secure.url, "file", limit=7)


def test_a_ca_bundle_of_the_environment_is_used(
    secure: Mirror, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert Fetcher(lambda _: None).fetch(secure.url, "file", limit=7) == b"content"


def to(url: str) -> Reply:
    return answer(302, headers={"Location": url})


def test_a_redirect_from_https_to_http_is_refused_even_behind_another(
    secure: Mirror, certificate: Path, tmp_path: Path
) -> None:
    fetcher = Fetcher(lambda _: None, verify=str(certificate))
    with mirror_of(tmp_path / "served") as plain:
        for hops in ([to(f"{plain.url}/file")], [to("/file"), to(f"{plain.url}/file")]):
            secure.fault("file", *hops)
            with pytest.raises(RemoteError, match=f"redirected to {plain.url}/file, expected http"):
                fetcher.fetch(secure.url, "file", limit=7)
        assert plain.asked == []
        plain.fault("file", to(f"{secure.url}/file"))
        assert fetcher.fetch(plain.url, "file", limit=7) == b"content"


def test_proxies_of_the_environment_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    proxied: Callable[[str], bytes]
    with mirror_of(tmp_path) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        proxied = lambda url: Fetcher(lambda _: None).fetch(url, "file", limit=7)  # noqa: E731
        proxy.fault("/file", answer(200, b"by it"))
        with pytest.raises(RemoteError, match="status 404"):
            proxied("http://mirror.invalid")
        assert [path for path, _ in proxy.asked] == ["http://mirror.invalid/file"]
