"""Signed timestamps (RFC 3161), by rfc3161-client, with which sigstore-python verifies them too."""

from collections.abc import Sequence

from cryptography.hazmat import asn1
from cryptography.x509 import Certificate, ObjectIdentifier
from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder

SIGNED_DATA_VERSION, SIGNER_VERSION = 3, 1
"""RFC 5652, sections 5.1 and 5.3, for signed data that is a timestamp."""
RSA = "1.2.840.113549.1.1"
ECDSA = "1.2.840.10045.4.3"
HASHES = {
    "2.16.840.1.101.3.4.2.1": (f"{ECDSA}.2", f"{RSA}.1", f"{RSA}.11"),
    "2.16.840.1.101.3.4.2.2": (f"{ECDSA}.3", f"{RSA}.1", f"{RSA}.12"),
    "2.16.840.1.101.3.4.2.3": (f"{ECDSA}.4", f"{RSA}.1", f"{RSA}.13"),
}
"""By SHA-256, -384 and -512 the signature algorithms with it (RFC 5754, section 3)."""


def is_timestamp_of(
    stamp: TimeStampResponse, chain: Sequence[Certificate], signature: bytes
) -> bool:
    """Return whether the authority with `chain` made `stamp` for `signature`.

    `chain` begins with the certificate that signs timestamps and ends with the root; both were
    valid at the time that the timestamp has.
    """
    first, *others = chain
    builder = VerifierBuilder().tsa_certificate(first)
    for certificate in others[:-1]:
        builder = builder.add_intermediate_certificate(certificate)
    for certificate in others[-1:]:
        builder = builder.add_root_certificate(certificate)
    try:
        return _has_standard_form(stamp) and builder.build().verify_message(stamp, signature)
    except (VerificationError, ValueError):
        return False


def _has_standard_form(stamp: TimeStampResponse) -> bool:
    """Return whether the fields beside those that the signature is over are what they must be.

    OpenSSL, which verifies the signature, ignores versions, the name of the signature's algorithm
    and attributes behind the signature (RFC 5652, section 5.3).
    """
    signers, hashes = stamp.signed_data.signer_infos, stamp.signed_data.digest_algorithms
    if stamp.signed_data.version != SIGNED_DATA_VERSION or len(signers) != 1 or len(hashes) != 1:
        return False
    if {signer.version for signer in signers} != {SIGNER_VERSION}:
        return False
    (hashed,) = hashes
    algorithms = (_algorithm(number) for number in HASHES.get(hashed.dotted_string, ()))
    return any(_ends_with_signature(stamp.as_bytes(), algorithm) for algorithm in algorithms)


def _algorithm(number: str) -> bytes:
    """Return an AlgorithmIdentifier, DER: with parameters NULL for RSA, without for ECDSA."""
    content = asn1.encode_der(ObjectIdentifier(number)) + (b"\5\0" if RSA in number else b"")
    return b"\x30" + bytes([len(content)]) + content


def _ends_with_signature(raw: bytes, algorithm: bytes) -> bool:
    """Return whether DER ends with `algorithm` and one OCTET STRING, the signature."""
    before, found, after = raw.rpartition(algorithm)
    del before
    try:
        return bool(found) and len(asn1.decode_der(bytes, after)) > 0
    except ValueError:
        return False
