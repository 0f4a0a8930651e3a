"""Trusted keys, and verification of Alpine's RSA signatures with them.

The only module of this package that needs `cryptography`: a build from a lock and a store
verifies by SHA-256 alone and does not import it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from build.errors import ConfigError, VerificationError

ALGORITHMS: Mapping[str, SHA1 | SHA256] = {
    "RSA": SHA1(),  # noqa: S303 - Alpine signs with SHA-1; later the lock's SHA-256 counts
    "RSA256": SHA256(),
}
"""Hash by the middle word of `.SIGN.RSA.KEY`; the padding is PKCS#1 v1.5 (apk-tools)."""
MIN_BITS = 2048
ARCHITECTURE = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True)
class Keyring:
    """Trusted public keys by file name."""

    where: str
    """Folder of the keys, for messages."""
    files: Mapping[str, bytes]
    """Content of each key file."""

    @classmethod
    def from_folder(cls, folder: Path, arch: str = "") -> "Keyring":
        """Return the keys in the `*.rsa.pub` files of `folder`.

        For `arch` see `trusted_folder`.

        Raises:
            ConfigError: there is no such folder, no key in it, or a file that is not an RSA
                key of at least 2048 bits.
        """
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder, expected one of trusted *.rsa.pub files")
        folder = trusted_folder(folder, arch)
        files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.rsa.pub"))}
        if not files:
            raise ConfigError(f"{folder}: no *.rsa.pub file, expected the trusted keys")
        for name, content in files.items():
            _load(content, f"{folder / name}")
        return cls(str(folder), files)

    def verify(
        self, name: str, signature: bytes, signed: bytes, algorithm: str, *, where: str
    ) -> None:
        """Check that the key `name` is trusted and made `signature` over `signed`.

        Raises:
            VerificationError: the key is not trusted, the algorithm is unknown, or the
                signature does not match.
        """
        if name not in self.files:
            raise VerificationError(
                f"{where}: signed by {name}, which is not in {self.where}",
                hint="if you trust that key, put it there after comparing its fingerprint",
            )
        if algorithm not in ALGORITHMS:
            known = " or ".join(ALGORITHMS)
            raise VerificationError(f"{where}: signed with {algorithm}, expected {known}")
        try:
            key = _load(self.files[name], f"{self.where}/{name}")
            key.verify(signature, signed, PKCS1v15(), ALGORITHMS[algorithm])
        except InvalidSignature:
            raise VerificationError(f"{where}: not what {name} signed") from None


def trusted_folder(folder: Path, arch: str) -> Path:
    """Return the folder of the keys that are trusted for packages of `arch`.

    If `folder` has a subfolder called `arch`, as Alpine's own has, only the keys in there are
    trusted: a key of another architecture must not sign these packages.

    Raises:
        ConfigError: `arch` is not a plain name, so it could lead to another folder.
    """
    if arch and not ARCHITECTURE.fullmatch(arch):
        raise ConfigError(f"{arch[:60]!r}: not the name of an architecture")
    return folder / arch if arch and (folder / arch).is_dir() else folder


@cache
def _load(content: bytes, where: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
        raise ConfigError(f"{where}: not a public RSA key of {MIN_BITS} bits or more, as PEM")
    return key
