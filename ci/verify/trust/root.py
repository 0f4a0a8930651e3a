"""Trust root: its authorities and logs, and whether a bundle comes from them.

sigstore-python reports of a foreign bundle only that no chain, time or signature was found, and
compares the validity of timestamp authorities alone. Here the missing authority or log is named,
and the validity of each is checked. Format: sigstore's protobuf-specs, TrustedRoot, as JSON.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    PrecertificateSignedCertificateTimestamps,
    load_der_x509_certificate,
)
from sigstore.models import Bundle
from sigstore_models.common.v1 import TimeRange
from sigstore_models.trustroot.v1 import TrustedRoot

from build.errors import ConfigError, VerificationError
from ci.verify.safe_io import parse_strict, read_small

AUTHORITY = "certificate authority"
LOG = "log key"
CERTIFICATE_LOG = "certificate log key"
TIMESTAMPS = "timestamp authority"
HINT = (
    "get a newer root with `nox -s trust -- --update` and review it, "
    "or name one with `--trust-root FILE`"
)
SPKI = PublicFormat.SubjectPublicKeyInfo
START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """One authority or log key of a trust root (RFC 5914), with the time of its validity."""

    kind: str
    uri: str
    identity: str
    """Hex: the id of a log, or the SHA-256 of the key of an authority's first certificate."""
    start: datetime
    end: datetime | None
    certificates: tuple[Certificate, ...] = ()
    """The chain of an authority, which begins with the one that issues or signs."""

    def is_valid_at(self, moment: datetime) -> bool:
        """Return whether the root trusts it for `moment`."""
        return self.start <= moment and (self.end is None or moment <= self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """Content of a trusted_root.json."""

    name: str
    """Its source: a file, or a URL."""
    sha256: str
    anchors: tuple[TrustAnchor, ...]

    @property
    def date(self) -> str:
        """Day of its newest entry, which is a lower bound for the age of the root."""
        return f"{max((anchor.start for anchor in self.anchors), default=START):%Y-%m-%d}"

    def of_kind(self, kind: str) -> tuple[TrustAnchor, ...]:
        """Return the trust anchors of one kind."""
        return tuple(anchor for anchor in self.anchors if anchor.kind == kind)

    def check_bundle(self, bundle: Bundle, log_id: bytes, *, name: str) -> None:
        """Check that authorities and logs of this root made `bundle`, while they were valid.

        `log_id`: from the bundle's log entry. The signatures themselves are sigstore's to check.

        Raises:
            VerificationError: naming the authority or log that is missing, or was not valid.
        """
        certificate = bundle.signing_certificate
        anchors = [
            self._find_authority(certificate, name),
            self._find_log(LOG, log_id, name),
            self._find_log(CERTIFICATE_LOG, _certificate_log_id(certificate, name), name),
        ]
        moments = []
        for authority, moment in self._timestamps(bundle, name):
            anchors.append(authority)
            moments.append(moment)
        # Without a timestamp the start of the certificate is used as the time of signing.
        for moment in moments or [certificate.not_valid_before_utc]:
            for anchor in anchors:
                self._check_validity(anchor, moment, name)

    def _find_authority(self, certificate: Certificate, name: str) -> TrustAnchor:
        for anchor in self.of_kind(AUTHORITY):
            if any(_is_issued_by(certificate, issuer) for issuer in anchor.certificates):
                return anchor
        raise VerificationError(
            f"{name}: certificate from {certificate.issuer.rfc4514_string()!r}, an authority "
            f"that the trust root {self.name} lacks (its newest key is of {self.date})",
            hint=HINT,
        )

    def _find_log(self, kind: str, identity: bytes, name: str) -> TrustAnchor:
        for anchor in self.of_kind(kind):
            if anchor.identity == identity.hex():
                return anchor
        raise self._unknown(kind, identity.hex()[:16], name)

    def _timestamps(self, bundle: Bundle, name: str) -> Iterator[tuple[TrustAnchor, datetime]]:
        data = bundle.verification_material.timestamp_verification_data
        for stamp in data.rfc3161_timestamps if data else ():
            signers = {(item.issuer, item.serial_number) for item in stamp.signed_data.signer_infos}
            for anchor in self.of_kind(TIMESTAMPS):
                first = anchor.certificates[0]
                if (first.issuer, first.serial_number) in signers:
                    yield anchor, stamp.tst_info.gen_time.replace(tzinfo=UTC)
                    break
            else:
                issuer = ", ".join(sorted(item.rfc4514_string() for item, _ in signers))
                raise self._unknown(TIMESTAMPS, f"of {issuer!r}", name)

    def _check_validity(self, anchor: TrustAnchor, moment: datetime, name: str) -> None:
        if not anchor.is_valid_at(moment):
            end = f" to {anchor.end:%Y-%m-%d %H:%M:%S}" if anchor.end else ""
            raise VerificationError(
                f"{name}: signed {moment:%Y-%m-%d %H:%M:%S}, when the {anchor.kind} {anchor.uri} "
                f"was not valid: the trust root {self.name} has it from "
                f"{anchor.start:%Y-%m-%d %H:%M:%S}{end}"
            )

    def _unknown(self, kind: str, what: str, name: str) -> VerificationError:
        return VerificationError(
            f"{name}: {kind} {what} is not in your trust root of {self.date} ({self.name})",
            hint=HINT,
        )


def read_root(path: Path, name: str = "") -> Root:
    """Return the trust root in the file `path`; messages use `name`, or the path without one.

    Raises:
        ConfigError: there is none, or it lacks a kind of trust anchor.
    """
    try:
        return parse_root(read_small(path), name or str(path))
    except VerificationError as error:
        hint = "name a trusted_root.json such as `ci/verify/trust/trusted_root.json`"
        raise ConfigError(f"{path}: no trust root ({error})", hint=hint) from None


def parse_root(raw: bytes, name: str) -> Root:
    """Return the trust root in `raw`, called `name` in messages.

    Raises:
        VerificationError: it is malformed, or lacks a kind of trust anchor.
    """
    parse_strict(raw, where=name)  # the models' own parser takes the last of two equal keys
    try:
        anchors = tuple(_read_anchors(TrustedRoot.from_json(raw)))
    except (ValueError, IndexError) as error:
        reason = ", ".join(line.strip() for line in str(error).splitlines()[:3])
        raise VerificationError(f"{name}: {reason}, expected a trusted root") from None
    for kind in (AUTHORITY, LOG, CERTIFICATE_LOG, TIMESTAMPS):
        if not any(anchor.kind == kind for anchor in anchors):
            raise VerificationError(f"{name}: no {kind}, expected at least one")
    return Root(name=name, sha256=hashlib.sha256(raw).hexdigest(), anchors=anchors)


def _read_anchors(root: TrustedRoot) -> Iterator[TrustAnchor]:
    lists = ((AUTHORITY, root.certificate_authorities), (TIMESTAMPS, root.timestamp_authorities))
    for kind, authorities in lists:
        for item in authorities:
            certificates = item.cert_chain.certificates
            chain = [load_der_x509_certificate(each.raw_bytes) for each in certificates]
            key = chain[0].public_key()
            identity = hashlib.sha256(key.public_bytes(Encoding.DER, SPKI)).digest()
            yield _make_anchor(kind, item.uri or "", identity, item.valid_for, *chain)
    for kind, logs in ((LOG, root.tlogs), (CERTIFICATE_LOG, root.ctlogs)):
        for log in logs:
            yield _make_anchor(kind, log.base_url, log.log_id.key_id, log.public_key.valid_for)


def _make_anchor(
    kind: str, uri: str, identity: bytes, validity: TimeRange | None, *certificates: Certificate
) -> TrustAnchor:
    end = validity.end if validity else None
    return TrustAnchor(
        kind=kind,
        uri=uri,
        identity=identity.hex(),
        start=validity.start.astimezone(UTC) if validity else START,
        end=end.astimezone(UTC) if end else None,
        certificates=certificates,
    )


def _certificate_log_id(certificate: Certificate, name: str) -> bytes:
    """Return the id of the log whose SCT `certificate` has (RFC 6962, section 3.2)."""
    try:
        stamps = certificate.extensions.get_extension_for_class(
            PrecertificateSignedCertificateTimestamps
        ).value
    except (ExtensionNotFound, ValueError):
        stamps = None
    if stamps is None or len(stamps) != 1:
        raise VerificationError(
            f"{name}: its certificate has no SCT of one certificate log, expected one"
        )
    return bytes(stamps[0].log_id)


def _is_issued_by(certificate: Certificate, authority: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
