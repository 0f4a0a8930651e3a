"""Rekor v1: entries of the kinds hashedrekord and dsse 0.0.1, with a promise and a time.

Source: Rekor's OpenAPI description and the JSON Schemas of the two kinds. Beside the proof an
answer has the time of the entry and a signature over it, the inclusion promise.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from build.errors import VerificationError
from ci.attest.statements import PAYLOAD_TYPE
from ci.rehearsal.sigstore.encoding import base64_text, canonical_json
from ci.rehearsal.sigstore.keys import Keys
from ci.rehearsal.sigstore.log import TransparencyLog
from ci.rehearsal.sigstore.note import LogKey

HOST, TREE = "rekor.rehearsal.invalid", "1193050959916656506"
VERSION = "0.0.1"
EARLIER = 1000
"""Entries in earlier trees of the log. As in production, an entry has two numbers: one in the log,
which the promise is over, and one in its tree, which the proof is for."""
Json = dict[str, Any]


def log_key(keys: Keys) -> LogKey:
    """Return the key of the instance's log of this version."""
    return LogKey(key=keys.log_v1, host=HOST, tree=TREE)


def add_entry(log: TransparencyLog, request: Mapping[str, Any], now: datetime) -> Json:
    """Append the entry that `request` describes; return it with proof and promise, by its id.

    Raises:
        VerificationError: the request has another form, or its signature is invalid.
    """
    try:
        body = canonical_json(_make_body(request))
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"log entry: not an entry of Rekor v1 ({error!r})") from None
    proof = log.append(body)
    promised: Json = {
        "body": base64_text(body),
        "integratedTime": int(now.timestamp()),
        "logID": log.key.identity.hex(),
        "logIndex": EARLIER + proof.index,
    }
    inclusion = {
        "logIndex": proof.index,
        "rootHash": proof.root.hex(),
        "treeSize": proof.size,
        "hashes": [node.hex() for node in proof.path],
        "checkpoint": proof.checkpoint,
    }
    promise = base64_text(log.key.sign(canonical_json(promised)))
    verification = {"inclusionProof": inclusion, "signedEntryTimestamp": promise}
    return {f"{int(TREE):016x}{proof.leaf.hex()}": {**promised, "verification": verification}}


def _make_body(request: Mapping[str, Any]) -> Json:
    """Return the entry for a request, whose signature holds."""
    kind, spec = request["kind"], request["spec"]
    make = {"hashedrekord": _hashedrekord, "dsse": _dsse}.get(kind)
    if make is None or request["apiVersion"] != VERSION:
        raise VerificationError(f"log entry: {kind} {request['apiVersion']}, expected {VERSION}")
    return {"apiVersion": VERSION, "kind": kind, "spec": make(spec)}


def _hashedrekord(spec: Json) -> Json:
    hashed, signature = spec["data"]["hash"], spec["signature"]
    if hashed["algorithm"] != "sha256":
        raise VerificationError(f"log entry: {hashed['algorithm']}, expected sha256")
    content, pem = signature["content"], signature["publicKey"]["content"]
    _check_signature(pem, content, bytes.fromhex(hashed["value"]))
    return {
        "data": {"hash": {"algorithm": "sha256", "value": hashed["value"]}},
        "signature": {"content": content, "publicKey": {"content": pem}},
    }


def _dsse(spec: Json) -> Json:
    proposed = spec["proposedContent"]
    text = proposed["envelope"]
    (pem,), envelope = proposed["verifiers"], json.loads(text)
    (signature,), kind = envelope["signatures"], envelope["payloadType"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    if kind != PAYLOAD_TYPE:
        raise VerificationError(f"log entry: payload of type {kind}, expected {PAYLOAD_TYPE}")
    # DSSE protocol, v1: what the signature is over.
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    _check_signature(pem, signature["sig"], hashlib.sha256(signed).digest())
    return {
        "envelopeHash": _sha256(text.encode()),
        "payloadHash": _sha256(payload),
        "signatures": [{"signature": signature["sig"], "verifier": pem}],
    }


def _sha256(content: bytes) -> Json:
    return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}


def _check_signature(pem: str, signature: str, digest: bytes) -> None:
    raw = base64.b64decode(pem, validate=True)
    key = x509.load_pem_x509_certificate(raw).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise VerificationError("log entry: expected a key for ECDSA")
    try:
        content = base64.b64decode(signature, validate=True)
        key.verify(content, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        raise VerificationError("log entry: the signature is not valid for the digest") from None
