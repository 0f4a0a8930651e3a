"""Rekor v2: entries of the kind hashedrekord 0.0.2, with a proof and without a time.

Source: rekor-tiles, API and hashedrekord 0.0.2. A DSSE envelope is logged by the digest that
its signature is over, so both kinds of bundles have the same kind of entry.
"""

import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from sigstore_models.rekor.v2.hashedrekord import HashedRekordRequestV002

from build.errors import VerificationError
from ci.rehearsal.sigstore.encoding import base64_text, canonical_json
from ci.rehearsal.sigstore.keys import Keys
from ci.rehearsal.sigstore.log import TransparencyLog
from ci.rehearsal.sigstore.note import ECDSA, LogKey

HOST = "log.rehearsal.invalid"
KIND = "hashedrekord"
VERSION = "0.0.2"


def log_key(keys: Keys) -> LogKey:
    """Return the key of the instance's log of this version."""
    return LogKey(key=keys.log, host=HOST)


def add_entry(log: TransparencyLog, request: Mapping[str, Any]) -> dict[str, Any]:
    """Append the entry that `request` describes and return it with its proof.

    `request` and the result have the form of Rekor v2's `CreateEntryRequest` and
    `TransparencyLogEntry`.

    Raises:
        VerificationError: the request has another form, or its signature is invalid.
    """
    body = entry_body(request)
    proof = log.append(body)
    # protobuf's JSON: 64-bit numbers are strings, bytes are base64.
    return {
        "logIndex": str(proof.index),
        "logId": {"keyId": base64_text(log.key.identity)},
        "kindVersion": {"kind": KIND, "version": VERSION},
        "inclusionProof": {
            "logIndex": str(proof.index),
            "rootHash": base64_text(proof.root),
            "treeSize": str(proof.size),
            "hashes": [base64_text(node) for node in proof.path],
            "checkpoint": {"envelope": proof.checkpoint},
        },
        "canonicalizedBody": base64_text(body),
    }


def entry_body(request: Mapping[str, Any]) -> bytes:
    """Return the log entry for a request as canonical JSON (RFC 8785).

    Raises:
        VerificationError: the request has another form, or its signature is invalid.
    """
    try:
        text = json.dumps(request["hashedRekordRequestV002"])
        parsed = HashedRekordRequestV002.from_json(text)
        verifier = parsed.signature.verifier
        raw = verifier.x509_certificate.raw_bytes if verifier.x509_certificate else b""
        key = x509.load_der_x509_certificate(raw).public_key()
    except (KeyError, ValueError) as error:
        raise VerificationError(f"log entry: not a hashedrekord request ({error})") from None
    if verifier.key_details != ECDSA or not isinstance(key, ec.EllipticCurvePublicKey):
        raise VerificationError(f"log entry: key is not {ECDSA}")
    try:
        key.verify(parsed.signature.content, parsed.digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        raise VerificationError("log entry: the signature is not valid for the digest") from None
    rekord = {
        "data": {"algorithm": "SHA2_256", "digest": base64_text(parsed.digest)},
        "signature": parsed.signature.to_dict(),
    }
    return canonical_json(
        {"apiVersion": VERSION, "kind": KIND, "spec": {"hashedRekordV002": rekord}}
    )
