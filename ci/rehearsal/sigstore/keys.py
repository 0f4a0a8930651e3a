"""The instance's keys and its certificates of long life: drawn once a folder, then kept.

They are random, so no two machines trust each other's rehearsals. The two root keys are
thrown away as soon as they have signed: nothing can be added under them later.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from build.errors import ConfigError

ORGANIZATION = "Snowdrop rehearsal"
LIFE = timedelta(days=3650)

AUTHORITY = "authority"
SCT = "certificate-transparency"
LOG = "log"
TIMESTAMP = "timestamp"
ISSUER = "issuer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """All that the instance signs with."""

    authority: ec.EllipticCurvePrivateKey
    authority_chain: tuple[x509.Certificate, ...]
    """Issuing certificate, root."""
    certificate_transparency: ec.EllipticCurvePrivateKey
    log: ed25519.Ed25519PrivateKey
    timestamp: ec.EllipticCurvePrivateKey
    timestamp_chain: tuple[x509.Certificate, ...]
    """Signing certificate, root."""
    issuer: rsa.RSAPrivateKey

    @property
    def start(self) -> datetime:
        """Since when the keys are valid; UTC, whole seconds."""
        return self.authority_chain[0].not_valid_before_utc


def open_keys(folder: Path, clock: Callable[[], datetime]) -> Keys:
    """Return the keys in `folder`; draw them when there is no such folder.

    Files are for their owner only (mode 600, folder 700), written beside and then renamed.

    Raises:
        ConfigError: the folder is there, but a key is missing or unreadable.
    """
    if not folder.exists():
        _store(_draw(clock()), folder)
    try:
        return Keys(
            authority=_load(folder, AUTHORITY, ec.EllipticCurvePrivateKey),
            authority_chain=_chain(folder, AUTHORITY),
            certificate_transparency=_load(folder, SCT, ec.EllipticCurvePrivateKey),
            log=_load(folder, LOG, ed25519.Ed25519PrivateKey),
            timestamp=_load(folder, TIMESTAMP, ec.EllipticCurvePrivateKey),
            timestamp_chain=_chain(folder, TIMESTAMP),
            issuer=_load(folder, ISSUER, rsa.RSAPrivateKey),
        )
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{folder}: the keys of the local sigstore are damaged ({error})",
            hint=f"remove `{folder.parent}`: the next rehearsal draws new keys",
        ) from None


def spki(key: PublicKeyTypes) -> bytes:
    """Return the key as DER SubjectPublicKeyInfo (RFC 5280, section 4.1)."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _draw(now: datetime) -> Keys:
    start = now.replace(microsecond=0)
    authority, timestamp = ec.generate_private_key(ec.SECP384R1()), _p256()
    return Keys(
        authority=authority,
        authority_chain=_issue(authority, "authority", start, _for_issuing()),
        certificate_transparency=_p256(),
        log=ed25519.Ed25519PrivateKey.generate(),
        timestamp=timestamp,
        timestamp_chain=_issue(timestamp, "timestamps", start, _for_timestamps()),
        issuer=rsa.generate_private_key(public_exponent=65537, key_size=2048),
    )


def _issue(
    key: ec.EllipticCurvePrivateKey,
    title: str,
    start: datetime,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> tuple[x509.Certificate, ...]:
    root_key = ec.generate_private_key(ec.SECP384R1())
    root_name, name = _name(f"{title} root"), _name(title)
    root = _certificate(root_name, root_name, root_key, start, _for_issuing(1)).sign(
        root_key, hashes.SHA384()
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    leaf = _certificate(name, root_name, key, start, [*extensions, (issuer, False)])
    return leaf.sign(root_key, hashes.SHA384()), root


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    start: datetime,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=start + LIFE,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    for extension, critical in [*extensions, (identifier, False)]:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _for_issuing(path_length: int = 0) -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (key_usage(issues=True), True),
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
    ]


def _for_timestamps() -> list[tuple[x509.ExtensionType, bool]]:
    # RFC 3161, section 2.3: this extended key usage, alone and critical.
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    return [(key_usage(issues=False), True), (usage, True)]


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


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _store(keys: Keys, folder: Path) -> None:
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    fresh.mkdir(mode=0o700, parents=True)
    private: dict[str, PrivateKeyTypes] = {
        AUTHORITY: keys.authority,
        SCT: keys.certificate_transparency,
        LOG: keys.log,
        TIMESTAMP: keys.timestamp,
        ISSUER: keys.issuer,
    }
    for name, key in private.items():
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (fresh / f"{name}.key.pem").touch(mode=0o600)
        (fresh / f"{name}.key.pem").write_bytes(pem)
    for name, chain in ((AUTHORITY, keys.authority_chain), (TIMESTAMP, keys.timestamp_chain)):
        certificates = (item.public_bytes(serialization.Encoding.PEM) for item in chain)
        (fresh / f"{name}.chain.pem").write_bytes(b"".join(certificates))
    try:
        fresh.rename(folder)
    except OSError:
        # Another process was first; its keys count.
        shutil.rmtree(fresh)


def _load(folder: Path, name: str, kind: type[object]) -> Any:  # noqa: ANN401 (of `kind`)
    raw = (folder / f"{name}.key.pem").read_bytes()
    key = serialization.load_pem_private_key(raw, None)
    if not isinstance(key, kind):
        raise TypeError(f"{name}.key.pem: expected {kind.__name__}")
    return key


def _chain(folder: Path, name: str) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates((folder / f"{name}.chain.pem").read_bytes()))


def _p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
