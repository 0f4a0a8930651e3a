"""Timestamp authority: signs the time of a signature (RFC 3161, RFC 5652, RFC 5816)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier

from build.errors import VerificationError
from ci.rehearsal.sigstore.keys import Keys

SHA256 = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
ECDSA_SHA256 = ObjectIdentifier("1.2.840.10045.4.3.2")
SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
TST_INFO = ObjectIdentifier("1.2.840.113549.1.9.16.1.4")
CONTENT_TYPE = ObjectIdentifier("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.4")
SIGNING_CERTIFICATE = ObjectIdentifier("1.2.840.113549.1.9.16.2.47")
"""ESS signingCertificateV2 (RFC 5816)."""
POLICY = ObjectIdentifier("1.3.6.1.4.1.57264.2")
"""The policy of sigstore's timestamp authority."""


@asn1.sequence
class AlgorithmIdentifier:
    """RFC 5280, section 4.1.1.2."""

    algorithm: ObjectIdentifier
    parameters: asn1.Null | None = None


@asn1.sequence
class MessageImprint:
    """RFC 3161, section 2.4.1."""

    hash_algorithm: AlgorithmIdentifier
    hashed_message: bytes


@asn1.sequence
class TimeStampReq:
    """RFC 3161, section 2.4.1; requests with extensions are refused."""

    version: int
    message_imprint: MessageImprint
    policy: ObjectIdentifier | None = None
    nonce: int | None = None
    cert_req: Annotated[bool, asn1.Default(False)] = False


@asn1.sequence
class TSTInfo:
    """RFC 3161, section 2.4.2, the fields in use."""

    version: int
    policy: ObjectIdentifier
    message_imprint: MessageImprint
    serial_number: int
    gen_time: asn1.GeneralizedTime
    nonce: int | None = None


@asn1.sequence
class Attribute:
    """RFC 5652, section 5.3."""

    kind: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class ESSCertIDv2:
    """RFC 5035, section 4; the hash is SHA-256, its default."""

    cert_hash: bytes


@asn1.sequence
class SigningCertificateV2:
    """RFC 5035, section 3."""

    certs: list[ESSCertIDv2]


@asn1.sequence
class IssuerAndSerialNumber:
    """RFC 5652, section 10.2.4."""

    issuer: asn1.TLV
    serial_number: int


@asn1.sequence
class SignerInfo:
    """RFC 5652, section 5.3."""

    version: int
    sid: IssuerAndSerialNumber
    digest_algorithm: AlgorithmIdentifier
    signed_attrs: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    signature_algorithm: AlgorithmIdentifier
    signature: bytes


@asn1.sequence
class EncapsulatedContentInfo:
    """RFC 5652, section 5.2."""

    content_type: ObjectIdentifier
    content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class SignedData:
    """RFC 5652, section 5.1."""

    version: int
    digest_algorithms: asn1.SetOf[AlgorithmIdentifier]
    content_info: EncapsulatedContentInfo
    certificates: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    signer_infos: asn1.SetOf[SignerInfo]


@asn1.sequence
class ContentInfo:
    """RFC 5652, section 3."""

    content_type: ObjectIdentifier
    content: Annotated[SignedData, asn1.Explicit(0)]


@asn1.sequence
class PKIStatusInfo:
    """RFC 3161, section 2.4.2."""

    status: int


@asn1.sequence
class TimeStampResp:
    """RFC 3161, section 2.4.2."""

    status: PKIStatusInfo
    token: ContentInfo


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """Timestamp authority of the instance."""

    keys: Keys

    def answer(self, request: bytes, now: datetime) -> bytes:
        """Return the DER response to a DER request, with the time `now` in whole seconds.

        Raises:
            VerificationError: the request has another form, or its digest is not SHA-256.
        """
        try:
            parsed = asn1.decode_der(TimeStampReq, request)
        except ValueError as error:
            raise VerificationError(f"timestamp request: {error}") from None
        imprint = parsed.message_imprint
        if imprint.hash_algorithm.algorithm != SHA256 or len(imprint.hashed_message) != 32:
            raise VerificationError("timestamp request: the digest is not SHA-256")
        stamped = asn1.encode_der(
            TSTInfo(
                version=1,
                policy=POLICY,
                message_imprint=imprint,
                serial_number=x509.random_serial_number(),
                gen_time=asn1.GeneralizedTime(now.replace(microsecond=0)),
                nonce=parsed.nonce,
            )
        )
        content = ContentInfo(
            content_type=SIGNED_DATA,
            content=self._sign(stamped, with_certificate=parsed.cert_req),
        )
        return asn1.encode_der(TimeStampResp(status=PKIStatusInfo(status=0), token=content))

    def _sign(self, content: bytes, *, with_certificate: bool) -> SignedData:
        certificate = self.keys.timestamp_chain[0]
        raw = certificate.public_bytes(serialization.Encoding.DER)
        attributes = _attributes(content, raw)
        # Stored with an implicit tag, but signed with the tag of a SET (RFC 5652, section 5.4).
        signature = self.keys.timestamp.sign(asn1.encode_der(attributes), ec.ECDSA(hashes.SHA256()))
        signer = SignerInfo(
            version=1,
            sid=IssuerAndSerialNumber(
                issuer=_tlv(certificate.issuer.public_bytes()),
                serial_number=certificate.serial_number,
            ),
            digest_algorithm=AlgorithmIdentifier(algorithm=SHA256),
            signed_attrs=attributes,
            signature_algorithm=AlgorithmIdentifier(algorithm=ECDSA_SHA256),
            signature=signature,
        )
        return SignedData(
            version=3,
            digest_algorithms=asn1.SetOf([AlgorithmIdentifier(algorithm=SHA256)]),
            content_info=EncapsulatedContentInfo(content_type=TST_INFO, content=content),
            certificates=asn1.SetOf([_tlv(raw)]) if with_certificate else None,
            signer_infos=asn1.SetOf([signer]),
        )


def _attributes(content: bytes, certificate: bytes) -> asn1.SetOf[Attribute]:
    identified = SigningCertificateV2(
        certs=[ESSCertIDv2(cert_hash=hashlib.sha256(certificate).digest())]
    )
    values = {
        CONTENT_TYPE: asn1.encode_der(TST_INFO),
        MESSAGE_DIGEST: asn1.encode_der(hashlib.sha256(content).digest()),
        SIGNING_CERTIFICATE: asn1.encode_der(identified),
    }
    return asn1.SetOf(
        [Attribute(kind=kind, values=asn1.SetOf([_tlv(raw)])) for kind, raw in values.items()]
    )


def _tlv(raw: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, raw)
