"""Signed timestamps (RFC 3161), by rfc3161-client, with which sigstore-python verifies them too."""

from collections.abc import Sequence

from cryptography.x509 import Certificate
from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder


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
        return builder.build().verify_message(stamp, signature)
    except (VerificationError, ValueError):
        return False
