"""Canonical form of bundles: one encoding, no field that nothing needs, one meaning of each.

sigstore-python ignores fields that its checks do not need, and decodes some values in several
forms. Two verifiers could then read two bundles out of one file. Everything here is compared
with what a client of sigstore writes. Formats: sigstore's protobuf-specs (Bundle v0.3, as
protobuf's JSON), Rekor's entry kinds, C2SP signed-note and tlog-checkpoint.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_der_x509_certificate
from sigstore_models.bundle.v1 import Bundle
from sigstore_models.common.v1 import HashAlgorithm
from sigstore_models.intoto import Envelope
from sigstore_models.rekor.v1 import TransparencyLogEntry

from build.errors import VerificationError

REKOR_V1, REKOR_V2 = "0.0.1", "0.0.2"
KINDS = {REKOR_V1: ("hashedrekord", "dsse"), REKOR_V2: ("hashedrekord", "hashedrekord")}
"""By version of an entry its kind, of a file's signature and of a statement's."""
NOT_LOGGED = "the transparency log does not contain this signature"
OTHER_ENTRY = "the log entry is of another signature"
MAX_CHECKPOINT = 16 * 1024
"""Characters; one of the public log with the signatures of its witnesses has 2,000."""
BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
CHECKPOINT = re.compile(
    rf"(?P<origin>[^\n]+)\n(?P<size>[1-9][0-9]*)\n(?P<root>{BASE64})\n(?:[^\n]+\n)*"
    rf"\n(?P<signatures>(?:\u2014 [^\s+]+ {BASE64}\n)+)"
)
SHA256 = re.compile(r"[0-9a-f]{64}")
EARLIEST = int(datetime(2021, 1, 1, tzinfo=UTC).timestamp())
"""Seconds; sigstore's public log began later."""


def read_form(raw: bytes, document: object, name: str) -> Bundle:
    """Return the bundle in `raw`, whose JSON value is `document`.

    Raises:
        VerificationError: it is no bundle with one certificate and one log entry, or not in
            canonical form, or its parts disagree about what was signed.
    """
    try:
        bundle = Bundle.from_json(raw)
    except ValueError as error:
        raise VerificationError(f"{name}: no sigstore bundle ({error})") from None
    # The models ignore what base64 and numbers may have around them, take field names in two
    # spellings, and null for what is absent; they write each value in one way.
    for path in _differences(document, json.loads(bundle.to_json()), "bundle"):
        raise VerificationError(f"{name}: {path} is not in canonical form")
    try:
        for problem in _problems(bundle):
            raise VerificationError(f"{name}: {problem}")
    except ValueError as error:  # of a certificate or of the JSON of the entry
        raise VerificationError(f"{name}: no sigstore bundle ({error})") from None
    return bundle


def checkpoint_host(entry: TransparencyLogEntry) -> str:
    """Return the name that signed the checkpoint of `entry`, which `read_form` has checked."""
    point = entry.inclusion_proof.checkpoint
    return point.envelope.partition("\n")[0].partition(" - ")[0] if point else ""


def _problems(bundle: Bundle) -> Iterator[str]:
    """Yield what is wrong with a bundle that can be parsed, the first thing first."""
    material = bundle.verification_material
    if material.certificate is None:
        yield "no sigstore bundle with a single certificate"
        return
    certificate = load_der_x509_certificate(material.certificate.raw_bytes)
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        yield "its certificate has another key than one of ECDSA with P-256"
    if len(material.tlog_entries) != 1:
        yield f"no sigstore bundle with one log entry, but {len(material.tlog_entries)}"
        return
    (entry,) = material.tlog_entries
    version = entry.kind_version.version
    if version not in KINDS:
        yield f"log entry of version {version!r}, expected one of {', '.join(KINDS)}"
        return
    yield from _content_problems(bundle, entry)
    yield from _entry_problems(entry)
    stamps = material.timestamp_verification_data
    if version == REKOR_V2 and not (stamps and stamps.rfc3161_timestamps):
        yield "no signed timestamp, expected one beside an entry of Rekor v2"
    yield from _checkpoint_problems(entry)
    if entry.canonicalized_body != _expected_body(bundle, entry, certificate):
        yield f"{OTHER_ENTRY} (canonicalizedBody)"


def _content_problems(bundle: Bundle, entry: TransparencyLogEntry) -> Iterator[str]:
    """Yield what is wrong with signature and kind of entry."""
    envelope, message = bundle.dsse_envelope, bundle.message_signature
    expected = KINDS[entry.kind_version.version][bundle.message_signature is None]
    if entry.kind_version.kind != expected:
        yield f"log entry of the kind {entry.kind_version.kind!r}, expected {expected!r}"
    if envelope and len(envelope.signatures) != 1:
        yield f"{len(envelope.signatures)} signatures of the statement, expected one"
    if envelope and any(item.keyid for item in envelope.signatures):
        yield "keyid beside a certificate, expected none"
    if message is None:
        return
    digest = message.message_digest
    if digest is None or digest.algorithm != HashAlgorithm.SHA2_256 or len(digest.digest) != 32:
        yield "messageDigest: expected one of SHA2_256"


def _entry_problems(entry: TransparencyLogEntry) -> Iterator[str]:
    """Yield what is wrong with the fields of a log entry (Rekor, types of v1; rekor-tiles)."""
    promise, time = entry.inclusion_promise, entry.integrated_time
    if entry.kind_version.version == REKOR_V1:
        if promise is None or time is None or time < EARLIEST:
            yield "expected inclusionPromise and integratedTime in an entry of Rekor v1"
        return
    if promise is not None or time is not None:
        yield "inclusionPromise or integratedTime in an entry of Rekor v2, which gives none"
    if entry.log_index != entry.inclusion_proof.log_index:
        yield f"{NOT_LOGGED} (logIndex {entry.log_index}, expected that of the proof)"


def _checkpoint_problems(entry: TransparencyLogEntry) -> Iterator[str]:
    """Yield what is wrong with the checkpoint, its signature aside.

    sigstore-python compares neither the size nor the names.
    """
    proof = entry.inclusion_proof
    text = proof.checkpoint.envelope if proof.checkpoint else ""
    found = CHECKPOINT.fullmatch(text) if len(text) <= MAX_CHECKPOINT else None
    if found is None:
        yield f"{NOT_LOGGED} (no checkpoint)"
        return
    if int(found["size"]) != proof.tree_size or found["root"] != _base64(proof.root_hash):
        yield f"{NOT_LOGGED} (checkpoint of another tree than the proof)"
    names = []
    for line in found["signatures"].splitlines():
        _, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded)
        if _base64(signature) != encoded or len(signature) <= 4:
            yield f"{NOT_LOGGED} (checkpoint: signature of {name!r})"
        if signature[:4] == entry.log_id.key_id[:4]:
            names.append(name)
    if names != [checkpoint_host(entry)]:
        yield f"{NOT_LOGGED} (checkpoint: expected one signature of its origin by this log's key)"


def _expected_body(bundle: Bundle, entry: TransparencyLogEntry, certificate: Certificate) -> bytes:
    """Return the log entry that is made for the signature in `bundle`."""
    envelope, message = bundle.dsse_envelope, bundle.message_signature
    signature = envelope.signatures[0].sig if envelope else message.signature if message else b""
    if entry.kind_version.version == REKOR_V2:
        digest = _signed_digest(envelope) if envelope else _digest(bundle)
        spec: object = {"hashedRekordV002": _rekord(digest, signature, certificate)}
    else:
        pem = _base64(certificate.public_bytes(Encoding.PEM))
        spec = _spec_v1(bundle, entry, _base64(signature), pem)
    kind = entry.kind_version
    value = {"apiVersion": kind.version, "kind": kind.kind, "spec": spec}
    # For ASCII without numbers RFC 8785 requires sorted keys and no spaces, nothing else.
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _rekord(digest: bytes, signature: bytes, certificate: Certificate) -> object:
    """Return the content of an entry of Rekor v2."""
    raw = {"rawBytes": _base64(certificate.public_bytes(Encoding.DER))}
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": raw}
    return {
        "data": {"algorithm": "SHA2_256", "digest": _base64(digest)},
        "signature": {"content": _base64(signature), "verifier": verifier},
    }


def _spec_v1(bundle: Bundle, entry: TransparencyLogEntry, signature: str, pem: str) -> object:
    """Return the content of an entry of Rekor v1; `signature`, `pem`: in base64."""
    if (envelope := bundle.dsse_envelope) is None:
        hashed = {"algorithm": "sha256", "value": _digest(bundle).hex()}
        signed = {"content": signature, "publicKey": {"content": pem}}
        return {"data": {"hash": hashed}, "signature": signed}
    # The digest of the envelope is of the text that the client sent, which no bundle has.
    body = json.loads(entry.canonicalized_body)
    logged = body["spec"]["envelopeHash"]["value"] if isinstance(body, dict) else ""
    if not isinstance(logged, str) or not SHA256.fullmatch(logged):
        raise ValueError("envelopeHash in canonicalizedBody")
    payload = hashlib.sha256(envelope.payload).hexdigest()
    return {
        "envelopeHash": {"algorithm": "sha256", "value": logged},
        "payloadHash": {"algorithm": "sha256", "value": payload},
        "signatures": [{"signature": signature, "verifier": pem}],
    }


def _digest(bundle: Bundle) -> bytes:
    message = bundle.message_signature
    return message.message_digest.digest if message and message.message_digest else b""


def _signed_digest(envelope: Envelope) -> bytes:
    """Return the digest that the signature of a statement is over (DSSE protocol, v1)."""
    kind, payload = envelope.payload_type.encode(), envelope.payload
    return hashlib.sha256(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)).digest()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _differences(found: object, expected: object, path: str) -> Iterator[str]:
    """Yield where two JSON values differ: keys below `path`, numbers of list items."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() ^ expected.keys()):
            yield f"{path}.{key[:60]}"
        for key in sorted(found.keys() & expected.keys()):
            yield from _differences(found[key], expected[key], f"{path}.{key}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from _differences(one, other, f"{path}.{number}")
    elif type(found) is not type(expected) or found != expected:
        yield path
