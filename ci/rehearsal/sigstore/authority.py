"""Certificate authority: issues a certificate of ten minutes for an identity token and a key.

Sources: sigstore's documents "Fulcio OIDC" and "Fulcio certificate specification" (which claim
goes into which extension), RFC 6962 section 3 (the signed certificate timestamp).
"""

import base64
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from build.errors import VerificationError
from ci.rehearsal.sigstore.keys import Extensions, Keys, certificate_builder, key_usage, spki

LIFETIME = timedelta(minutes=10)
ARC = "1.3.6.1.4.1.57264.1"
"""Prefix of the identifiers of sigstore's extensions (Fulcio, oid-info.md)."""
SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
"""Extension with the signed certificate timestamps (RFC 6962, section 3.3)."""
GITHUB = "https://github.com"


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificate authority of the instance."""

    keys: Keys

    def issue(
        self, key: ec.EllipticCurvePublicKey, claims: Mapping[str, str], now: datetime
    ) -> list[str]:
        """Return certificate, issuing certificate and root, as PEM.

        `key`: as `requested_key` gives it; `claims`: those of a checked token.
        """
        builder = self._builder(key, claims, now)
        precertificate = builder.sign(self.keys.authority, hashes.SHA384())
        stamp = self._transparency_stamp(precertificate.tbs_certificate_bytes, now)
        # The log signed the certificate without this extension (RFC 6962, section 3.1).
        leaf = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, stamp), critical=False)
        chain = [leaf.sign(self.keys.authority, hashes.SHA384()), *self.keys.authority_chain]
        return [item.public_bytes(serialization.Encoding.PEM).decode() for item in chain]

    def _builder(
        self, key: ec.EllipticCurvePublicKey, claims: Mapping[str, str], now: datetime
    ) -> x509.CertificateBuilder:
        issuer_key = self.keys.authority.public_key()
        identity = f"{GITHUB}/{claims['job_workflow_ref']}"
        # Order and critical marks are those of the public instance's certificates.
        extensions: Extensions = [
            (key_usage(issues=False), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
            (x509.SubjectKeyIdentifier.from_public_key(key), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False),
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), True),
        ]
        for number, value in claim_extensions(claims).items():
            oid = ObjectIdentifier(f"{ARC}.{number}")
            extensions.append((x509.UnrecognizedExtension(oid, value), False))
        return certificate_builder(
            subject=x509.Name([]),
            issuer=self.keys.authority_chain[0].subject,
            key=key,
            start=now.replace(microsecond=0),
            lifetime=LIFETIME,
            extensions=extensions,
        )

    def _transparency_stamp(self, precertificate: bytes, now: datetime) -> bytes:
        """Return the value of the extension with one signed certificate timestamp."""
        key = self.keys.certificate_transparency
        milliseconds = int(now.timestamp() * 1000)
        issuer = hashlib.sha256(spki(self.keys.authority.public_key())).digest()
        # RFC 6962, 3.2: v1, certificate_timestamp, time, precert_entry, issuer, TBS, no extensions.
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1)
        signed += issuer + len(precertificate).to_bytes(3, "big") + precertificate + b"\0\0"
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
        stamp = b"\0" + hashlib.sha256(spki(key.public_key())).digest()
        stamp += struct.pack("!QH", milliseconds, 0)
        stamp += b"\x04\x03" + struct.pack("!H", len(signature)) + signature  # SHA-256, ECDSA
        listed = struct.pack("!H", len(stamp)) + stamp
        return asn1.encode_der(struct.pack("!H", len(listed)) + listed)


def claim_extensions(claims: Mapping[str, str]) -> dict[int, bytes]:
    """Return the value of each of sigstore's extensions, by the number after ARC.

    1 to 6 are deprecated and contain plain text; from 8 on it is a DER UTF8String.
    """
    repository = f"{GITHUB}/{claims['repository']}"
    plain = {
        1: claims["iss"],
        2: claims["event_name"],
        3: claims["sha"],
        4: claims["workflow"],
        5: claims["repository"],
        6: claims["ref"],
    }
    encoded = {
        8: claims["iss"],
        9: f"{GITHUB}/{claims['job_workflow_ref']}",
        10: claims["job_workflow_sha"],
        11: claims["runner_environment"],
        12: repository,
        13: claims["sha"],
        14: claims["ref"],
        15: claims["repository_id"],
        16: f"{GITHUB}/{claims['repository_owner']}",
        17: claims["repository_owner_id"],
        18: f"{GITHUB}/{claims['workflow_ref']}",
        19: claims["workflow_sha"],
        20: claims["event_name"],
        21: f"{repository}/actions/runs/{claims['run_id']}/attempts/{claims['run_attempt']}",
        22: claims["repository_visibility"],
    }
    return {number: text.encode() for number, text in plain.items()} | {
        number: asn1.encode_der(text) for number, text in encoded.items()
    }


def requested_key(request: Mapping[str, Any], subject: str) -> ec.EllipticCurvePublicKey:
    """Return the key in a certificate request, whose holder made it.

    `request`: the body of a request (Fulcio, API v2). sigstore-python sends a PKCS#10 request,
    signed by the key; cosign the key and its signature over `subject`, the token's claim.

    Raises:
        VerificationError: no such request, not signed by its key, or not for P-256.
    """
    try:
        if "publicKeyRequest" in request:
            proof = request["publicKeyRequest"]
            key = load_pem_public_key(proof["publicKey"]["content"].encode())
            signature = base64.b64decode(proof["proofOfPossession"], validate=True)
            valid = _is_signed(key, signature, subject.encode())
        else:
            encoded = request["certificateSigningRequest"]
            parsed = x509.load_pem_x509_csr(base64.b64decode(encoded, validate=True))
            valid, key = parsed.is_signature_valid, parsed.public_key()
    except (KeyError, TypeError, AttributeError, ValueError, InvalidSignature) as error:
        raise VerificationError(f"certificate request: {error!r}") from None
    if not valid:
        raise VerificationError("certificate request: not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise VerificationError("certificate request: not for a P-256 key")
    return key


def _is_signed(key: object, signature: bytes, content: bytes) -> bool:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
