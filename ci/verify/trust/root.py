"""A trust root as a person reads it, and whether a bundle comes from the parties in it.

sigstore-python says of a bundle from elsewhere only that no chain, time or signature was found,
and holds nothing but a timestamp authority to its end. Here the missing party is named, and each
is held to its time. Form: sigstore's protobuf-specs, trusted root, as JSON.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    PrecertificateSignedCertificateTimestamps,
    load_der_x509_certificate,
)
from sigstore.models import Bundle

from build.errors import ConfigError, VerificationError
from ci.verify.safe_io import parse_strict, read_small

AUTHORITY = "certificate authority"
LOG = "log key"
CERTIFICATE_LOG = "certificate log key"
TIMESTAMPS = "timestamp authority"
HINT = (
    "a newer root may know it: take one with `nox -s trust -- --update` and review it, "
    "or name one with `--trust-root FILE`"
)
START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One key or authority that the root believes, for a time."""

    kind: str
    where: str
    """Its address, which is its name."""
    identity: str
    """Hex: of a log its id; of an authority the SHA-256 of its certificate's key."""
    start: datetime
    end: datetime | None
    certificates: tuple[Certificate, ...] = ()
    """Of an authority, the one that issues or signs first."""

    def at(self, moment: datetime) -> bool:
        """Return whether it was believed at `moment`."""
        return self.start <= moment and (self.end is None or moment <= self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What a trusted_root.json holds."""

    name: str
    """Where it is from: a file, or an address."""
    sha256: str
    parties: tuple[Party, ...]

    @property
    def date(self) -> str:
        """Day of its newest entry: the root is no older, and knows nothing younger."""
        return f"{max((party.start for party in self.parties), default=START):%Y-%m-%d}"

    def of_kind(self, kind: str) -> tuple[Party, ...]:
        """Return the parties of one kind."""
        return tuple(party for party in self.parties if party.kind == kind)

    def examine(self, bundle: Bundle, log_id: bytes, *, name: str) -> None:
        """Check that `bundle` comes from parties of this root, each at its time.

        `log_id`: as the bundle's log entry states it. What they signed is sigstore's to check.

        Raises:
            VerificationError: naming the party that is not in the root, or that had ended.
        """
        certificate = bundle.signing_certificate
        parties = [
            self._authority(certificate, name),
            self._keyed(LOG, log_id, name),
            self._keyed(CERTIFICATE_LOG, _certificate_log(certificate, name), name),
        ]
        moments = []
        for authority, moment in self._stamps(bundle, name):
            parties.append(authority)
            moments.append(moment)
        for moment in moments or [certificate.not_valid_before_utc]:
            for party in parties:
                self._in_time(party, moment, name)

    def _authority(self, certificate: Certificate, name: str) -> Party:
        for party in self.of_kind(AUTHORITY):
            if any(_issued(certificate, issuer) for issuer in party.certificates):
                return party
        raise VerificationError(
            f"{name}: certificate from {certificate.issuer.rfc4514_string()!r}, an authority "
            f"that the trust root {self.name} does not know (its newest key is of {self.date})",
            hint=HINT,
        )

    def _keyed(self, kind: str, identity: bytes, name: str) -> Party:
        for party in self.of_kind(kind):
            if party.identity == identity.hex():
                return party
        raise self._unknown(kind, identity.hex()[:16], name)

    def _stamps(self, bundle: Bundle, name: str) -> Iterator[tuple[Party, datetime]]:
        data = bundle.verification_material.timestamp_verification_data
        for stamp in data.rfc3161_timestamps if data else ():
            signers = {(item.issuer, item.serial_number) for item in stamp.signed_data.signer_infos}
            for party in self.of_kind(TIMESTAMPS):
                first = party.certificates[0]
                if (first.issuer, first.serial_number) in signers:
                    yield party, stamp.tst_info.gen_time.replace(tzinfo=UTC)
                    break
            else:
                issuer = ", ".join(sorted(item.rfc4514_string() for item, _ in signers))
                raise self._unknown(TIMESTAMPS, f"of {issuer!r}", name)

    def _in_time(self, party: Party, moment: datetime, name: str) -> None:
        if not party.at(moment):
            end = f" to {party.end:%Y-%m-%d %H:%M:%S}" if party.end else ""
            raise VerificationError(
                f"{name}: signed {moment:%Y-%m-%d %H:%M:%S}, when the {party.kind} {party.where} "
                f"was not to be believed: the trust root {self.name} has it from "
                f"{party.start:%Y-%m-%d %H:%M:%S}{end}"
            )

    def _unknown(self, kind: str, what: str, name: str) -> VerificationError:
        return VerificationError(
            f"{name}: {kind} {what} is not in your trust root of {self.date} ({self.name})",
            hint=HINT,
        )


def read_root(path: Path, name: str = "") -> Root:
    """Return the trust root in the file `path`, called so unless it has a `name`.

    Raises:
        ConfigError: there is none, or it lacks a kind of party.
    """
    hint = "name a trusted_root.json, as `ci/verify/trust/trusted_root.json` is one"
    try:
        raw = read_small(path)
        return parse_root(raw, name or str(path))
    except VerificationError as error:
        raise ConfigError(f"{path}: no trust root ({error})", hint=hint) from None


def parse_root(raw: bytes, name: str) -> Root:
    """Return the trust root in `raw`, called `name`.

    Raises:
        VerificationError: it is none, or lacks a kind of party.
    """
    document = parse_strict(raw, where=name)
    try:
        parties = tuple(_parties(document))  # type: ignore[arg-type]  # whatever it is, tried here
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise VerificationError(f"{name}: {error!r}, expected a trusted root") from None
    for kind in (AUTHORITY, LOG, CERTIFICATE_LOG, TIMESTAMPS):
        if not any(party.kind == kind for party in parties):
            raise VerificationError(f"{name}: no {kind}, expected at least one")
    return Root(name=name, sha256=hashlib.sha256(raw).hexdigest(), parties=parties)


def _parties(document: Mapping[str, Any]) -> Iterator[Party]:
    for key, kind in (("certificateAuthorities", AUTHORITY), ("timestampAuthorities", TIMESTAMPS)):
        for item in document.get(key, []):
            chain = tuple(
                load_der_x509_certificate(base64.b64decode(each["rawBytes"]))
                for each in item["certChain"]["certificates"]
            )
            yield _party(kind, item["uri"], _key_digest(chain[0]), item["validFor"], chain)
    for key, kind in (("tlogs", LOG), ("ctlogs", CERTIFICATE_LOG)):
        for item in document.get(key, []):
            identity = base64.b64decode(item["logId"]["keyId"])
            window = item["publicKey"].get("validFor", {})
            yield _party(kind, item["baseUrl"], identity, window)


def _party(
    kind: str,
    where: str,
    identity: bytes,
    window: Mapping[str, str],
    certificates: tuple[Certificate, ...] = (),
) -> Party:
    start, end = window.get("start"), window.get("end")
    return Party(
        kind=kind,
        where=where,
        identity=identity.hex(),
        start=datetime.fromisoformat(start).astimezone(UTC) if start else START,
        end=datetime.fromisoformat(end).astimezone(UTC) if end else None,
        certificates=certificates,
    )


def _key_digest(certificate: Certificate) -> bytes:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def _certificate_log(certificate: Certificate, name: str) -> bytes:
    """Return the id of the log that promised to list `certificate` (RFC 6962, section 3.2)."""
    try:
        stamps = certificate.extensions.get_extension_for_class(
            PrecertificateSignedCertificateTimestamps
        ).value
    except (ExtensionNotFound, ValueError):
        stamps = None
    if stamps is None or len(stamps) != 1:
        raise VerificationError(
            f"{name}: its certificate carries no promise of one certificate log, expected one"
        )
    return bytes(stamps[0].log_id)


def _issued(certificate: Certificate, authority: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
