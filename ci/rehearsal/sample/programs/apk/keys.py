"""Trusted keys, and signatures checked in plain Python: RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.2).

The builder has no `cryptography`, which `build/apk/signature.py` needs.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from build.apk.package import Signature, first_trusted
from build.errors import VerificationError

DIGESTS = {
    "RSA": ("sha1", bytes.fromhex("3021300906052b0e03021a05000414")),
    "RSA256": ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
    "RSA512": ("sha512", bytes.fromhex("3051300d060960864801650304020305000440")),
}
"""Middle word of `.SIGN.RSA.KEY` -> hash, and bytes before the digest (RFC 8017, 9.2, note 1)."""


class Keys:
    """The public keys in a folder, none when it is absent; `build/apk` calls `verify`."""

    def __init__(self, folder: Path) -> None:
        files = sorted(path for path in folder.glob("*") if path.is_file())
        self._keys = {path.name: parse_key(path.read_text(), where=str(path)) for path in files}

    def verify(self, signatures: Sequence[Signature], signed: bytes, *, where: str) -> str:
        """Return the name of the trusted key that signed `signed`.

        Raises:
            VerificationError: no key is trusted, or the signature of the first one is wrong.
        """
        chosen = first_trusted(signatures, self._keys, DIGESTS)
        if chosen is None:
            raise VerificationError(f"{where}: UNTRUSTED signature")
        modulus, exponent = self._keys[chosen.key]
        size, signature = (modulus.bit_length() + 7) // 8, chosen.value
        digest, prefix = DIGESTS[chosen.algorithm]
        end = b"\0" + prefix + hashlib.new(digest, signed, usedforsecurity=False).digest()
        expected = b"\0\1".ljust(size - len(end), b"\xff") + end
        opened = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(size, "big")
        if len(signature) != size or opened != expected:
            raise VerificationError(f"{where}: BAD signature")
        return chosen.key


def parse_key(pem: str, *, where: str) -> tuple[int, int]:
    """Return modulus and exponent of a `PUBLIC KEY` file (RFC 5280, SubjectPublicKeyInfo).

    Raises:
        VerificationError: it is not one.
    """
    try:
        info, _ = _element(base64.b64decode("".join(pem.splitlines()[1:-1])))
        bits, _ = _element(_element(info)[1])
        numbers, _ = _element(bits[1:])
        modulus, rest = _element(numbers)
        exponent, _ = _element(rest)
    except (IndexError, ValueError):
        raise VerificationError(f"{where}: not a public key") from None
    return int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")


def _element(der: bytes) -> tuple[bytes, bytes]:
    """Return the content of the first DER element, and the rest (X.690, 8.1)."""
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return der[start : start + length], der[start + length :]
