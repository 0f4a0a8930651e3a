"""Bundles of any kind, honest or hostile, by the keys of a local sigstore and without a network.

The defaults make a bundle that holds; an attack changes one thing of it.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ci.attest.statements import PAYLOAD_TYPE
from ci.rehearsal.sigstore import rekor_v1, rekor_v2
from ci.rehearsal.sigstore.authority import SCT_LIST, Authority
from ci.rehearsal.sigstore.keys import Keys
from ci.rehearsal.sigstore.log import TransparencyLog
from ci.rehearsal.sigstore.note import ECDSA
from ci.rehearsal.sigstore.timestamp import (
    SHA256,
    AlgorithmIdentifier,
    MessageImprint,
    TimestampAuthority,
    TimeStampReq,
)
from ci.release.manifest import BUNDLE_MEDIA_TYPE

Json = dict[str, Any]
Extensions = list[x509.Extension[x509.ExtensionType]]


def text(content: bytes) -> str:
    """Return base64, as bundles have it."""
    return base64.b64encode(content).decode()


def pae(kind: str, payload: bytes) -> bytes:
    """Return what a DSSE signature is over (DSSE protocol, v1)."""
    return b" ".join(
        [b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(payload)).encode(), payload]
    )


def as_they_are(extensions: Extensions) -> Extensions:
    """Return the extensions of an honest certificate."""
    return extensions


@dataclass(frozen=True, kw_only=True)
class Mint:
    """How bundles are made."""

    keys: Keys
    log: TransparencyLog
    """Of Rekor v2."""
    log_v1: TransparencyLog
    claims: Mapping[str, str]
    now: datetime
    """When the certificate is issued."""
    stamped: timedelta = timedelta(seconds=2)
    """How long after that the signature is there."""
    clock: Keys | None = None
    """Whose timestamps; None: of the same keys."""
    promise: Keys | None = None
    """Whose certificate log promises; None: of the same keys."""
    promises: bool = True
    promised: timedelta = timedelta()
    """How long after the start of the certificate its log promises."""
    shape: Callable[[Extensions], Extensions] = as_they_are
    """Changes the extensions of the certificate."""
    rekor: int = 2
    """Version of the log that gets the signatures."""
    logged: bytes | None = None
    """Other bytes that the log is told were signed."""
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def but(self, **changes: Any) -> "Mint":  # noqa: ANN401
        """Return the same with some things changed."""
        return replace(self, **changes)

    def claiming(self, **claims: str) -> "Mint":
        """Return the same for a job that differs in `claims`."""
        return replace(self, claims={**self.claims, **claims})

    def file(self, sha256: str) -> Json:
        """Return the bundle that signs a file."""
        digest = bytes.fromhex(sha256)
        signature = self.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        hashed = {"hash": {"algorithm": "sha256", "value": sha256}}
        return {
            **self._around(digest, signature, {"data": hashed}),
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": text(digest)},
                "signature": text(signature),
            },
        }

    def statement(self, payload: bytes, kind: str = PAYLOAD_TYPE) -> Json:
        """Return the bundle that signs a statement."""
        signed = pae(kind, payload)
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        envelope = {
            "payload": text(payload),
            "payloadType": kind,
            "signatures": [{"sig": text(signature)}],
        }
        proposed = {"proposedContent": {"envelope": json.dumps(envelope)}}
        around = self._around(hashlib.sha256(signed).digest(), signature, proposed)
        return {**around, "dsseEnvelope": envelope}

    def certificate(self) -> bytes:
        """Return the certificate, DER."""
        authority = Authority(self.keys)
        honest = authority._builder(self.key.public_key(), self.claims, self.now)
        builder = x509.CertificateBuilder(
            issuer_name=honest._issuer_name,
            subject_name=x509.Name([]),
            public_key=self.key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=honest._not_valid_before,
            not_valid_after=honest._not_valid_after,
        )
        for extension in self.shape(list(honest._extensions)):
            builder = builder.add_extension(extension.value, critical=extension.critical)
        if self.promises:
            before = builder.sign(self.keys.authority, hashes.SHA384()).tbs_certificate_bytes
            stamp = Authority(self._promising())._transparency_stamp(
                before, self.now + self.promised
            )
            unread = x509.UnrecognizedExtension(SCT_LIST, stamp)
            builder = builder.add_extension(unread, critical=False)
        leaf = builder.sign(self.keys.authority, hashes.SHA384())
        return leaf.public_bytes(serialization.Encoding.DER)

    def _promising(self) -> Keys:
        other = self.promise or self.keys
        return replace(self.keys, certificate_transparency=other.certificate_transparency)

    def _around(self, digest: bytes, signature: bytes, spec: Json) -> Json:
        raw = self.certificate()
        if self.rekor == 1:
            entry = self._entry_v1(raw, signature, spec)
        else:
            entry = self._entry_v2(raw, digest, signature)
        return {
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": {
                "certificate": {"rawBytes": text(raw)},
                "tlogEntries": [entry],
                "timestampVerificationData": {
                    "rfc3161Timestamps": [{"signedTimestamp": text(self.stamp(signature))}]
                },
            },
        }

    def _entry_v2(self, certificate: bytes, digest: bytes, signature: bytes) -> Json:
        verifier = {"keyDetails": ECDSA, "x509Certificate": {"rawBytes": text(certificate)}}
        if self.logged is not None:
            digest = hashlib.sha256(self.logged).digest()
            signature = self.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        signed = {"content": text(signature), "verifier": verifier}
        request = {"hashedRekordRequestV002": {"digest": text(digest), "signature": signed}}
        return rekor_v2.add_entry(self.log, request)

    def _entry_v1(self, certificate: bytes, signature: bytes, spec: Json) -> Json:
        read = x509.load_der_x509_certificate(certificate)
        pem = text(read.public_bytes(serialization.Encoding.PEM))
        if proposed := spec.get("proposedContent"):
            kind, proposed["verifiers"] = "dsse", [pem]
        else:
            kind, key = "hashedrekord", {"content": pem}
            spec["signature"] = {"content": text(signature), "publicKey": key}
        request = {"apiVersion": "0.0.1", "kind": kind, "spec": spec}
        answer = rekor_v1.add_entry(self.log_v1, request, self.now + self.stamped)
        return entry_of_answer(kind, answer)

    def stamp(self, signature: bytes) -> bytes:
        """Return a timestamp of `signature`, DER."""
        request = TimeStampReq(
            version=1,
            message_imprint=MessageImprint(
                hash_algorithm=AlgorithmIdentifier(algorithm=SHA256),
                hashed_message=hashlib.sha256(signature).digest(),
            ),
            cert_req=True,
        )
        authority = TimestampAuthority(self.clock or self.keys)
        return authority.answer(asn1.encode_der(request), self.now + self.stamped)


def entry_of_answer(kind: str, answer: Json) -> Json:
    """Return an answer of Rekor v1 as a bundle has it."""
    (found,) = answer.values()
    proof = found["verification"]["inclusionProof"]
    return {
        "logIndex": str(found["logIndex"]),
        "logId": {"keyId": text(bytes.fromhex(found["logID"]))},
        "kindVersion": {"kind": kind, "version": "0.0.1"},
        "integratedTime": str(found["integratedTime"]),
        "inclusionPromise": {"signedEntryTimestamp": found["verification"]["signedEntryTimestamp"]},
        "inclusionProof": {
            "logIndex": str(proof["logIndex"]),
            "rootHash": text(bytes.fromhex(proof["rootHash"])),
            "treeSize": str(proof["treeSize"]),
            "hashes": [text(bytes.fromhex(node)) for node in proof["hashes"]],
            "checkpoint": {"envelope": proof["checkpoint"]},
        },
        "canonicalizedBody": found["body"],
    }


def without(*numbers: str) -> Callable[[Extensions], Extensions]:
    """Return what leaves out the extensions with these identifiers."""

    def shape(extensions: Extensions) -> Extensions:
        return [item for item in extensions if item.oid.dotted_string not in numbers]

    return shape


def named(*names: x509.GeneralName) -> Callable[[Extensions], Extensions]:
    """Return what gives the certificate other alternative names."""

    def shape(extensions: Extensions) -> Extensions:
        other = x509.SubjectAlternativeName(names)
        return [
            x509.Extension(item.oid, item.critical, other)
            if isinstance(item.value, x509.SubjectAlternativeName)
            else item
            for item in extensions
        ]

    return shape


def now() -> datetime:
    """Return the time in whole seconds."""
    return datetime.now(tz=UTC).replace(microsecond=0)
