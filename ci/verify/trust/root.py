"""Trust root: its authorities and logs, each with the time of its validity.

Format: sigstore's protobuf-specs, TrustedRoot, as JSON.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, load_der_x509_certificate
from sigstore_models.common.v1 import TimeRange
from sigstore_models.trustroot.v1 import CertificateAuthority, TransparencyLogInstance
from sigstore_models.trustroot.v1 import TrustedRoot as RootModel

from build.errors import ConfigError, VerificationError
from ci.verify.safe_io import parse_strict, read_small

AUTHORITY = "certificate authority"
LOG = "log key"
CERTIFICATE_LOG = "certificate log key"
TIMESTAMPS = "timestamp authority"
ROOT_MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
HINT = (
    "get a newer root with `nox -s trust -- --update` and review it, "
    "or name one with `--trust-root FILE`"
)
SPKI = PublicFormat.SubjectPublicKeyInfo
MAX_CHAIN = 8
"""Certificates of one authority; the public ones have two or three."""
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
    item: TransparencyLogInstance | CertificateAuthority
    """As the root has it."""
    certificates: tuple[Certificate, ...] = ()
    """The chain of an authority, which begins with the one that issues or signs."""

    @property
    def label(self) -> str:
        """Its address, or the beginning of its identity when the root has none."""
        return self.uri or self.identity[:16]

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
    # The models' own parser takes the last of two equal keys.
    document = _with_defaults(parse_strict(raw, where=name))
    try:
        anchors = tuple(_read_anchors(RootModel.from_json(json.dumps(document))))
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
        reason = ", ".join(line.strip() for line in str(error).splitlines()[:3])
        raise VerificationError(f"{name}: {reason}, expected a trusted root") from None
    # Without a timestamp authority there are still the times that Rekor v1 has signed.
    for kind in (AUTHORITY, LOG, CERTIFICATE_LOG):
        if not any(anchor.kind == kind for anchor in anchors):
            raise VerificationError(f"{name}: no {kind}, expected at least one")
    _check_logs(anchors, name)
    return Root(name=name, sha256=hashlib.sha256(raw).hexdigest(), anchors=anchors)


def _with_defaults(document: object) -> object:
    """Return a root with the subjects of authorities, which only name them for a reader.

    protobuf's JSON may leave out empty fields, and the models demand these.
    """
    if not isinstance(document, dict) or document.get("mediaType") != ROOT_MEDIA_TYPE:
        raise VerificationError(f"mediaType, expected {ROOT_MEDIA_TYPE}")
    for kind in ("certificateAuthorities", "timestampAuthorities"):
        listed = document.get(kind)
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, dict) and isinstance(item.setdefault("subject", {}), dict):
                item["subject"] = {"organization": "", "commonName": "", **item["subject"]}
    return document


def _check_logs(anchors: Sequence[TrustAnchor], name: str) -> None:
    """Check that the id of a log stands for one key.

    Raises:
        VerificationError: two keys have one id, and a verifier could take either.
    """
    keys: dict[str, bytes | None] = {}
    for anchor in anchors:
        if isinstance(anchor.item, TransparencyLogInstance):
            key = anchor.item.public_key.raw_bytes
            if keys.setdefault(anchor.identity, key) != key:
                raise VerificationError(f"{name}: two keys with the log id {anchor.identity}")


def _read_anchors(root: RootModel) -> Iterator[TrustAnchor]:
    lists = ((AUTHORITY, root.certificate_authorities), (TIMESTAMPS, root.timestamp_authorities))
    for kind, authorities in lists:
        for item in authorities:
            certificates = item.cert_chain.certificates
            if len(certificates) > MAX_CHAIN:
                raise ValueError(f"{kind} with {len(certificates)} certificates")
            chain = [load_der_x509_certificate(each.raw_bytes) for each in certificates]
            key = chain[0].public_key()
            identity = hashlib.sha256(key.public_bytes(Encoding.DER, SPKI)).digest()
            yield _make_anchor(kind, item, item.uri or "", identity, item.valid_for, *chain)
    for kind, logs in ((LOG, root.tlogs), (CERTIFICATE_LOG, root.ctlogs)):
        for log in logs:
            validity = log.public_key.valid_for
            if validity is None:
                raise ValueError(f"{kind} {log.base_url} without validFor")
            yield _make_anchor(kind, log, log.base_url, log.log_id.key_id, validity)


def _make_anchor(
    kind: str,
    item: TransparencyLogInstance | CertificateAuthority,
    uri: str,
    identity: bytes,
    validity: TimeRange,
    *certificates: Certificate,
) -> TrustAnchor:
    return TrustAnchor(
        kind=kind,
        uri=uri,
        identity=identity.hex(),
        start=validity.start.astimezone(UTC),
        end=validity.end.astimezone(UTC) if validity.end else None,
        item=item,
        certificates=certificates,
    )
