"""Where a signature is checked: sigstore-python's public API, offline, with a given trust root."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.x509 import Certificate, load_der_x509_certificate
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import AllOf, Identity, OIDCIssuerV2
from sigstore_models.common.v1 import HashAlgorithm

from build.errors import ConfigError, VerificationError
from ci.attest.statements import PAYLOAD_TYPE, STATEMENT_TYPE
from ci.verify.policy import Policy

PUBLIC_ROOT = Path(__file__).with_name("trust") / "trusted_root.json"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement whose signature held."""

    predicate_type: str
    predicate: Mapping[str, Any]
    subjects: Mapping[str, str]
    """sha256 by name."""


class Trust:
    """A trust root from a file: which authorities, logs and clocks are believed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.authorities = _authorities(json.loads(path.read_bytes()))
            self.verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))
        except Exception as error:  # the library raises many kinds for a bad file
            raise ConfigError(
                f"{path}: no trust root ({error})",
                hint="name a configuration whose sign.trust_root is a trusted_root.json",
            ) from error

    def read_bundle(self, path: Path) -> Bundle:
        """Return the bundle in `path`, whose certificate an authority of this root issued.

        Raises:
            VerificationError: it is no bundle, or comes from a sigstore that this root
                does not know.
        """
        try:
            bundle = Bundle.from_json(path.read_bytes())
            certificate = bundle.signing_certificate
        except FileNotFoundError:
            raise VerificationError(f"{path.name}: no such file") from None
        except Exception as error:  # any failure to parse is a refusal
            raise VerificationError(f"{path.name}: no sigstore bundle ({error})") from error
        if not any(_issued(certificate, authority) for authority in self.authorities):
            raise VerificationError(
                f"{path.name}: certificate from {certificate.issuer.rfc4514_string()!r}, "
                f"an authority that the trust root {self.path} does not know"
            )
        return bundle

    def check_file(self, bundle: Path, sha256: str, policy: Policy) -> Certificate:
        """Return the certificate that signed the file with digest `sha256`.

        Raises:
            VerificationError: the signature is of another file, identity or sigstore.
        """
        read = self.read_bundle(bundle)
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
        try:
            self.verifier.verify_artifact(hashed, read, _identity(policy))
        except Exception as error:  # whatever it is, it is not verified
            raise VerificationError(f"{bundle.name}: {_first_line(error)}") from error
        return read.signing_certificate

    def check_statement(self, bundle: Path, policy: Policy) -> tuple[Statement, Certificate]:
        """Return the statement in `bundle` and the certificate that signed it.

        sigstore checks the signature alone: payload type, statement type and the form of the
        subjects are checked here; that the subjects are the right ones is the caller's part.

        Raises:
            VerificationError: it does not hold.
        """
        read = self.read_bundle(bundle)
        try:
            kind, payload = self.verifier.verify_dsse(read, _identity(policy))
        except Exception as error:  # whatever it is, it is not verified
            raise VerificationError(f"{bundle.name}: {_first_line(error)}") from error
        return _statement(bundle.name, kind, payload), read.signing_certificate


def _statement(name: str, kind: str, payload: bytes) -> Statement:
    if kind != PAYLOAD_TYPE:
        raise VerificationError(f"{name}: payload of type {kind}, expected {PAYLOAD_TYPE}")
    try:
        document = json.loads(payload)
        if document["_type"] != STATEMENT_TYPE:
            raise VerificationError(f"{name}: {document['_type']}, expected {STATEMENT_TYPE}")
        subjects = {item["name"]: item["digest"]["sha256"] for item in document["subject"]}
        if len(subjects) != len(document["subject"]):
            raise VerificationError(f"{name}: a subject is there twice")
        return Statement(document["predicateType"], document["predicate"], subjects)
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationError(f"{name}: no in-toto statement ({error!r})") from error


def _identity(policy: Policy) -> AllOf:
    return AllOf([Identity(identity=policy.build_signer), OIDCIssuerV2(policy.issuer)])


def _authorities(root: Mapping[str, Any]) -> list[Certificate]:
    """Return every CA certificate of a trusted_root.json (sigstore protobuf-specs)."""
    return [
        load_der_x509_certificate(base64.b64decode(certificate["rawBytes"]))
        for authority in root["certificateAuthorities"]
        for certificate in authority["certChain"]["certificates"]
    ]


def _issued(certificate: Certificate, authority: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
