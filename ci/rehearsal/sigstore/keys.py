"""Keys and long-lived certificates of the local sigstore: generated once per folder, then kept.

They are random, so no two machines trust each other's rehearsals. The two root keys are not
stored: nothing can be issued under them later.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from build.edges.temporary import temporary_folder
from build.errors import ConfigError

ORGANIZATION = "Snowdrop rehearsal"
LIFETIME = timedelta(days=3650)

FILES: dict[str, tuple[str, type[object]]] = {
    "authority": ("authority", ec.EllipticCurvePrivateKey),
    "certificate_transparency": ("certificate-transparency", ec.EllipticCurvePrivateKey),
    "log": ("log", ed25519.Ed25519PrivateKey),
    "log_v1": ("log-v1", ec.EllipticCurvePrivateKey),
    "timestamp": ("timestamp", ec.EllipticCurvePrivateKey),
    "issuer": ("issuer", rsa.RSAPrivateKey),
}
"""Of each key in Keys the file without `.key.pem`, and the type."""

Extensions = list[tuple[x509.ExtensionType, bool]]
"""With each extension whether it is critical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """All signing keys of the instance."""

    authority: ec.EllipticCurvePrivateKey
    authority_chain: tuple[x509.Certificate, ...]
    """Issuing certificate, root."""
    certificate_transparency: ec.EllipticCurvePrivateKey
    log: ed25519.Ed25519PrivateKey
    """Of Rekor v2."""
    log_v1: ec.EllipticCurvePrivateKey
    timestamp: ec.EllipticCurvePrivateKey
    timestamp_chain: tuple[x509.Certificate, ...]
    """Signing certificate, root."""
    issuer: rsa.RSAPrivateKey

    @property
    def start(self) -> datetime:
        """The beginning of the keys' validity; UTC, whole seconds."""
        return self.authority_chain[0].not_valid_before_utc


def open_keys(folder: Path, clock: Callable[[], datetime]) -> Keys:
    """Return the keys in `folder`; generate them when there is no such folder.

    The owner alone may read them: files of mode 600 in a folder of mode 700.

    Raises:
        ConfigError: the folder exists, but a key is missing or unreadable.
    """
    if not folder.exists():
        _store(_generate(clock().replace(microsecond=0)), folder)
    try:
        return Keys(
            **{field: _load(folder, name, kind) for field, (name, kind) in FILES.items()},
            authority_chain=_load_chain(folder, "authority"),
            timestamp_chain=_load_chain(folder, "timestamp"),
        )
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{folder}: the keys of the local sigstore are damaged ({error})",
            hint=f"remove `{folder.parent}`: the next rehearsal generates new keys",
        ) from None


def spki(key: PublicKeyTypes) -> bytes:
    """Return the key as DER SubjectPublicKeyInfo (RFC 5280, section 4.1)."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_usage(*, issues: bool) -> x509.KeyUsage:
    """Return the key usage of a certificate that issues others, or of one that signs."""
    return x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )


def certificate_builder(
    *,
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: datetime,
    lifetime: timedelta,
    extensions: Extensions,
) -> x509.CertificateBuilder:
    """Return the builder of a certificate with a random serial number, not yet signed."""
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=start + lifetime,
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _generate(start: datetime) -> Keys:
    authority = ec.generate_private_key(ec.SECP384R1())
    timestamp = ec.generate_private_key(ec.SECP256R1())
    # RFC 3161, section 2.3: this extended key usage, alone and critical.
    stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    for_timestamps: Extensions = [(key_usage(issues=False), True), (stamping, True)]
    return Keys(
        authority=authority,
        authority_chain=_make_chain(authority, "authority", start, _for_issuing(0)),
        certificate_transparency=ec.generate_private_key(ec.SECP256R1()),
        log=ed25519.Ed25519PrivateKey.generate(),
        log_v1=ec.generate_private_key(ec.SECP256R1()),
        timestamp=timestamp,
        timestamp_chain=_make_chain(timestamp, "timestamps", start, for_timestamps),
        issuer=rsa.generate_private_key(public_exponent=65537, key_size=2048),
    )


def _make_chain(
    key: ec.EllipticCurvePrivateKey, title: str, start: datetime, extensions: Extensions
) -> tuple[x509.Certificate, ...]:
    """Return a certificate of `key` and the root that issued it."""
    root_key = ec.generate_private_key(ec.SECP384R1())
    root_name = _name(f"{title} root")
    root_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    certificates = []
    for subject, subject_key, own in (
        (_name(title), key, [*extensions, (root_id, False)]),
        (root_name, root_key, _for_issuing(1)),
    ):
        identifier = x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key())
        builder = certificate_builder(
            subject=subject,
            issuer=root_name,
            key=subject_key.public_key(),
            start=start,
            lifetime=LIFETIME,
            extensions=[*own, (identifier, False)],
        )
        certificates.append(builder.sign(root_key, hashes.SHA384()))
    return tuple(certificates)


def _for_issuing(path_length: int) -> Extensions:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return [(key_usage(issues=True), True), (constraints, True)]


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _store(keys: Keys, folder: Path) -> None:
    """Write a new folder beside `folder` and rename it, so that it is complete or absent."""
    with temporary_folder(f"{folder.name}.new-", folder.parent) as parent:
        new = parent / folder.name
        new.mkdir(mode=0o700)
        _write(keys, new)
        # Another process may have renamed its folder first, and its keys are used then: rename(2)
        # does not replace a folder that has files.
        with suppress(OSError):
            new.rename(folder)


def _write(keys: Keys, new: Path) -> None:
    for field, (name, _) in FILES.items():
        key: PrivateKeyTypes = getattr(keys, field)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (new / f"{name}.key.pem").touch(mode=0o600)
        (new / f"{name}.key.pem").write_bytes(pem)
    for name in ("authority", "timestamp"):
        certificates = (
            item.public_bytes(serialization.Encoding.PEM) for item in getattr(keys, f"{name}_chain")
        )
        (new / f"{name}.chain.pem").write_bytes(b"".join(certificates))


def _load(folder: Path, name: str, kind: type[object]) -> Any:  # noqa: ANN401 (of `kind`)
    raw = (folder / f"{name}.key.pem").read_bytes()
    key = serialization.load_pem_private_key(raw, None)
    if not isinstance(key, kind):
        raise TypeError(f"{name}.key.pem: expected {kind.__name__}")
    return key


def _load_chain(folder: Path, name: str) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates((folder / f"{name}.chain.pem").read_bytes()))
