"""Trusted keys, and verification of Alpine's RSA signatures with them.

The only module of this package that needs `cryptography`: a build from a lock and a store
verifies by SHA-256 alone and does not import it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from build.apk.package import Signature, first_trusted
from build.errors import ConfigError, VerificationError

ALGORITHMS: Mapping[str, SHA1 | SHA256 | SHA512] = {
    "RSA": SHA1(),  # noqa: S303 - Alpine signs with SHA-1; later the lock's SHA-256 counts
    "RSA256": SHA256(),
    "RSA512": SHA512(),
}
"""Hash by the middle word of `.SIGN.RSA.KEY`; the padding is PKCS#1 v1.5 (apk-tools)."""
MIN_BITS = 2048
PEM = b"-----BEGIN PUBLIC KEY-----"
PRIVATE_PEM = re.compile(rb"^-----BEGIN [A-Z ]*PRIVATE KEY-----", re.MULTILINE)
MAX_KEY = 1 << 16
MAX_NAMES = 5
"""Keys that one message names."""
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
        """Return the keys in `folder`, whatever their names: apk looks a key up by its name.

        For `arch` see `trusted_folder`, for what a key file is `key_files`.

        Raises:
            ConfigError: there is no such folder, no key in it, a private key, or a file that is
                not an RSA key of at least 2048 bits.
        """
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder, expected one of trusted public keys")
        folder = trusted_folder(folder, arch)
        files = key_files(folder)
        if not files:
            raise ConfigError(f"{folder}: no public key in it, expected PEM files such as *.pub")
        for name, content in files.items():
            _load(content, f"{folder / name}")
        return cls(str(folder), files)

    def verify(self, signatures: Sequence[Signature], signed: bytes, *, where: str) -> str:
        """Return the file name of the trusted key that signed `signed`.

        Of several signatures the first one of a trusted key counts, as for apk.

        Raises:
            VerificationError: no key is trusted, the algorithm is unknown, or the signature does
                not match.
        """
        chosen = first_trusted(signatures, self.files, ALGORITHMS)
        if chosen is None:
            raise self._refusal(signatures, where)
        try:
            key = _load(self.files[chosen.key], f"{self.where}/{chosen.key}")
            key.verify(chosen.value, signed, PKCS1v15(), ALGORITHMS[chosen.algorithm])
        except InvalidSignature:
            raise VerificationError(f"{where}: not what {chosen.key} signed") from None
        return chosen.key

    def _refusal(self, signatures: Sequence[Signature], where: str) -> VerificationError:
        """Return the error about signatures of which none is usable."""
        for each in signatures:
            if each.key in self.files:
                known = ", ".join(ALGORITHMS)
                return VerificationError(
                    f"{where}: signed with {each.algorithm}, expected one of {known}"
                )
        one = signatures[0].key
        names = _listed(each.key for each in signatures)
        which = "which is not" if len(signatures) == 1 else "none of which is"
        return VerificationError(
            f"{where}: signed by {names}, {which} in {self.where}",
            hint=f"that folder has {_listed(self.files)}. To trust {one}, get it from its owner "
            "and not from the mirror, compare the output of `openssl pkey -pubin -in "
            f"{one} -outform DER | sha256sum` with the fingerprint that the owner publishes, "
            f"and copy it to {self.where}/{one}",
        )


def _listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    found = sorted(names)
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    return (", ".join(found[:MAX_NAMES]) or "no key") + more


def key_files(folder: Path) -> dict[str, bytes]:
    """Return the files of `folder` that are public keys, by name.

    Those are `*.pub` and `*.pem`, and others that begin as a public key in PEM. A README may lie
    beside them.

    Raises:
        ConfigError: a file holds a private key.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or path.stat().st_size > MAX_KEY:
            continue
        content = path.read_bytes()
        if PRIVATE_PEM.search(content):
            raise ConfigError(
                f"{path}: a private key, expected public keys only",
                hint="move it out of the project; if it was ever pushed, replace it",
            )
        if path.suffix in (".pub", ".pem") or content.startswith(PEM):
            found[path.name] = content
    return found


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
