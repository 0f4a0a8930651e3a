"""Signature checks by sigstore-python's public API, offline, with a given trust root."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.x509 import Certificate
from sigstore.hashes import Hashed
from sigstore.models import Bundle
from sigstore.verify import Verifier
from sigstore.verify.policy import AllOf, Identity, OIDCIssuerV2
from sigstore_models.common.v1 import HashAlgorithm
from sigstore_models.rekor.v1 import TransparencyLogEntry

from build.errors import VerificationError
from build.tables import Table
from ci.attest.statements import PAYLOAD_TYPE, STATEMENT_TYPE
from ci.release.manifest import BUNDLE_MEDIA_TYPE, FILE_NAME
from ci.verify.safe_io import parse_strict, read_small
from ci.verify.trust.form import read_form
from ci.verify.trust.policy import Policy
from ci.verify.trust.root import read_root
from ci.verify.trust.selection import select_part

PUBLIC_ROOT = Path(__file__).with_name("trusted_root.json")
MESSAGES = {
    "not enough sources of verified time": "no time of signing from a trusted authority",
    "failed to build timestamp certificate chain": "the certificate was not valid when it signed",
    "failed to verify SCT": "no SCT of a certificate log that you trust",
    "invalid log entry": "the transparency log does not contain this signature",
    "transparency log entry is inconsistent": "the log entry is of another signature",
    "Bundle message digest mismatch": "the signature is of other bytes",
    "Signature is invalid for input": "the signature is of other bytes",
    "DSSE: invalid signature": "the statement is not the one that was signed",
}
"""Plain messages by the prefix of sigstore-python's."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement whose signature is valid."""

    predicate_type: str
    predicate: Mapping[str, Any]
    subjects: Mapping[str, str]
    """sha256 by name."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A bundle that was read, and what verifies it."""

    bundle: Bundle
    verifier: Verifier
    entry: TransparencyLogEntry


class Trust:
    """Verifier with the trust root of a file."""

    def __init__(self, path: Path, name: str = "") -> None:
        """Read the root in `path`; messages use `name`, or the path without one.

        Raises:
            ConfigError: it is malformed.
        """
        self.root = read_root(path, name)

    def read_bundle(self, path: Path) -> Bundle:
        """Return the bundle in `path`, whose certificate, log and time come from this root.

        Its signatures are not checked here.

        Raises:
            VerificationError: it is no bundle of the expected version, or not made by authorities
                and logs of this root while they were valid.
        """
        return self._read(path).bundle

    def _read(self, path: Path) -> "_Read":
        """Return a bundle as `read_bundle` does, with the verifier that has its keys alone."""
        raw = read_small(path)
        document = parse_strict(raw, where=path.name)
        kind = document.get("mediaType") if isinstance(document, dict) else None
        if kind != BUNDLE_MEDIA_TYPE:
            raise VerificationError(
                f"{path.name}: no sigstore bundle of type {BUNDLE_MEDIA_TYPE}, but {kind!r}"
            )
        try:
            form = read_form(raw, document, path.name)
            bundle = Bundle.from_json(raw)
            (entry,) = form.verification_material.tlog_entries
            part = select_part(self.root, bundle, entry, name=path.name)
        except VerificationError:
            raise
        except Exception as error:  # many kinds, all of which are refused
            raise VerificationError(f"{path.name}: no sigstore bundle ({error})") from error
        return _Read(bundle, Verifier(trusted_root=part), entry)

    def check_file(self, bundle: Path, sha256: str, policy: Policy) -> Certificate:
        """Return the certificate that signed the file with digest `sha256`.

        Raises:
            VerificationError: the signature is of another file, identity or sigstore.
        """
        read = self._read(bundle)
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
        try:
            read.verifier.verify_artifact(hashed, read.bundle, _identity(policy))
        except Exception as error:  # of any kind: it is not verified
            raise VerificationError(f"{bundle.name}: {_reason(error)}") from error
        return read.bundle.signing_certificate

    def signing_time(self, path: Path) -> datetime:
        """Return when the bundle in `path` was signed, which `check_file` verified.

        It is the earliest of its timestamps and the promise of the log: each lies in the ten
        minutes of the certificate, so a later timestamp of an old signature is refused.

        Raises:
            VerificationError: as `read_bundle`.
        """
        read = self._read(path)
        data = read.bundle.verification_material.timestamp_verification_data
        stamps = data.rfc3161_timestamps if data else ()
        moments = [stamp.tst_info.gen_time.replace(tzinfo=UTC) for stamp in stamps]
        # Rekor v2 gives no time of its own.
        if read.entry.inclusion_promise and read.entry.integrated_time:
            moments.append(datetime.fromtimestamp(read.entry.integrated_time, tz=UTC))
        return min(moments)

    def check_statement(self, bundle: Path, policy: Policy) -> tuple[Statement, Certificate]:
        """Return the statement in `bundle` and the certificate that signed it.

        sigstore checks only the signature; payload type, statement type and the form of the
        subjects are checked here, and the caller compares the subjects with the files.

        Raises:
            VerificationError: the signature or the statement is invalid.
        """
        read = self._read(bundle)
        try:
            kind, payload = read.verifier.verify_dsse(read.bundle, _identity(policy))
        except Exception as error:  # of any kind: it is not verified
            raise VerificationError(f"{bundle.name}: {_reason(error)}") from error
        statement = parse_statement(bundle.name, kind, payload)
        return statement, read.bundle.signing_certificate


def parse_statement(name: str, kind: str, payload: bytes) -> Statement:
    """Return the in-toto statement in a DSSE payload (in-toto attestation framework, v1).

    Raises:
        VerificationError: another payload or statement type, or a subject without a unique name
            and a sha256.
    """
    if kind != PAYLOAD_TYPE:
        raise VerificationError(f"{name}: payload of type {kind}, expected {PAYLOAD_TYPE}")
    top = Table(name, parse_strict(payload, where=name), VerificationError)
    if (found := top.get("_type", "a statement of in-toto")) != STATEMENT_TYPE:
        raise VerificationError(f"{name}: {found!r}, expected {STATEMENT_TYPE}")
    digests = [
        (item.text("name", pattern=FILE_NAME), item.table("digest"))
        for item in top.tables("subject")
    ]
    subjects = {file: digest.sha256("sha256") for file, digest in digests}
    if not subjects or len(subjects) != len(digests):
        raise VerificationError(f"{name}: no subject, or one twice, expected each file once")
    predicate = dict(top.table("predicate").values)
    return Statement(top.text("predicateType"), predicate, subjects)


def _identity(policy: Policy) -> AllOf:
    return AllOf([Identity(identity=policy.build_signer), OIDCIssuerV2(policy.signer.issuer)])


def _reason(error: Exception) -> str:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    for prefix, message in MESSAGES.items():
        if reason.startswith(prefix):
            return f"{message} ({reason})"
    return reason
