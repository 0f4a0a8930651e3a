"""Keys of transparency logs, and the notes that they sign (C2SP signed-note, tlog-checkpoint)."""

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ci.rehearsal.sigstore.encoding import base64_text
from ci.rehearsal.sigstore.keys import spki

ED25519, ECDSA = "PKIX_ED25519", "PKIX_ECDSA_P256_SHA_256"
"""Key types as the trust root names them (protobuf-specs, PublicKeyDetails)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """Private key of a log, and the names that the log signs with."""

    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    host: str
    """Name of the signer; no address, so the trust root does not depend on the port."""
    tree: str = ""
    """Number of the log's tree, which Rekor v1 adds to the origin."""

    @property
    def origin(self) -> str:
        """First line of each checkpoint."""
        return f"{self.host} - {self.tree}" if self.tree else self.host

    @property
    def details(self) -> str:
        """Type of the key, as the trust root names it."""
        return ED25519 if isinstance(self.key, ed25519.Ed25519PrivateKey) else ECDSA

    @property
    def public(self) -> bytes:
        """Public key, DER SubjectPublicKeyInfo."""
        return spki(self.key.public_key())

    @property
    def identity(self) -> bytes:
        """The log's id, 32 bytes; the signature of a checkpoint begins with the first four."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            raw = self.key.public_key().public_bytes_raw()
            return hashlib.sha256(self.origin.encode() + b"\n\x01" + raw).digest()
        return hashlib.sha256(self.public).digest()  # as of RFC 6962, section 3.2

    def sign(self, content: bytes) -> bytes:
        """Return the signature over `content`."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(content)
        return self.key.sign(content, ec.ECDSA(hashes.SHA256()))

    def verify(self, signature: bytes, content: bytes) -> None:
        """Check a signature of this key over `content`.

        Raises:
            InvalidSignature: it is of another key, or over other bytes.
        """
        public = self.key.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, content)
        else:
            public.verify(signature, content, ec.ECDSA(hashes.SHA256()))

    def write_checkpoint(self, size: int, root: bytes) -> str:
        """Return the signed head of the tree with `size` entries."""
        text = f"{self.origin}\n{size}\n{base64_text(root)}\n"
        signature = self.identity[:4] + self.sign(text.encode())
        return f"{text}\n\u2014 {self.host} {base64_text(signature)}\n"
