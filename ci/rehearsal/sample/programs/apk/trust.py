"""Keys and signatures in plain Python: RSA PKCS#1 v1.5 (RFC 8017, section 8.2.2)."""

import base64
import hashlib
import io
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
}
"""What stands before the digest in an encoded message (RFC 8017, section 9.2, note 1)."""

SIGNATURES = {".SIGN.RSA.": "sha1", ".SIGN.RSA256.": "sha256"}
"""File name of a signature, before the key's name -> digest."""

UNREADABLE = "file format is invalid or inconsistent"


class UntrustedError(Exception):
    """A signature or digest is missing or wrong; the text is apk's."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA key; `size` is its modulus' length in bytes."""

    modulus: int
    exponent: int

    @property
    def size(self) -> int:
        """In bytes."""
        return (self.modulus.bit_length() + 7) // 8

    def signed(self, signature: bytes, content: bytes, digest: str) -> bool:
        """Return whether `signature` is this key's over `content`."""
        if len(signature) != self.size:
            return False
        value = int.from_bytes(signature, "big")
        opened = pow(value, self.exponent, self.modulus).to_bytes(self.size, "big")
        tail = DIGEST_INFO[digest] + hashlib.new(digest, content).digest()
        return opened == b"\x00\x01".ljust(self.size - len(tail) - 1, b"\xff") + b"\x00" + tail


Keys = dict[str, PublicKey]
"""File name -> key."""


def _element(der: bytes, position: int) -> tuple[int, bytes, int]:
    """Return tag, content and end of the DER element at `position` (X.690, section 8.1)."""
    tag, length = der[position], der[position + 1]
    start = position + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(der[start : start + count], "big")
        start += count
    return tag, der[start : start + length], start + length


def parse_key(pem: str) -> PublicKey:
    """Return the key of a `PUBLIC KEY` file (RFC 5280, SubjectPublicKeyInfo).

    Raises:
        ValueError: it is none.
    """
    lines = [line for line in pem.splitlines() if line and not line.startswith("-----")]
    try:
        _, outer, _ = _element(base64.b64decode("".join(lines)), 0)
        _, _, after_algorithm = _element(outer, 0)
        _, bits, _ = _element(outer, after_algorithm)
        _, numbers, _ = _element(bits[1:], 0)
        _, modulus, after_modulus = _element(numbers, 0)
        _, exponent, _ = _element(numbers, after_modulus)
    except IndexError as error:
        raise ValueError("not a public key") from error
    return PublicKey(int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big"))


def read_keys(folder: Path) -> Keys:
    """Return the keys in `folder`; none when there is no such folder."""
    if not folder.is_dir():
        return {}
    return {path.name: parse_key(path.read_text()) for path in folder.iterdir() if path.is_file()}


def gzip_members(raw: bytes, *, where: str) -> list[bytes]:
    """Return the gzip members that `raw` is made of, each as it stands.

    Raises:
        UntrustedError: there is something else in it.
    """
    members: list[bytes] = []
    rest = raw
    while rest:
        engine = zlib.decompressobj(31)
        view = memoryview(rest)
        try:
            while view and not engine.eof:
                engine.decompress(view[: 1 << 20])
                view = view[1 << 20 :]
        except zlib.error as error:
            raise UntrustedError(f"{where}: {UNREADABLE}") from error
        if not engine.eof:
            raise UntrustedError(f"{where}: unexpected end of file")
        unread = len(engine.unused_data) + len(view)
        members.append(rest[: len(rest) - unread])
        rest = rest[len(rest) - unread :]
    return members


def _signatures(member: bytes) -> list[tuple[str, str, bytes]]:
    """Return (digest, key name, signature) of each signature in a signature member."""
    found = []
    # Alpine's signature member has no end-of-archive blocks; tarfile does not mind.
    with tarfile.open(fileobj=io.BytesIO(member), mode="r:gz") as archive:
        for entry in archive:
            for start, digest in SIGNATURES.items():
                content = archive.extractfile(entry) if entry.name.startswith(start) else None
                if content is not None:
                    found.append((digest, entry.name.removeprefix(start), content.read()))
    return found


def verify_member(members: list[bytes], keys: Keys, *, where: str) -> None:
    """Check that the first member signs the second with a key of `keys`.

    Raises:
        UntrustedError: no signature, an unknown key, or a wrong signature.
    """
    try:
        signatures = _signatures(members[0]) if len(members) > 1 else []
    except tarfile.TarError as error:
        raise UntrustedError(f"{where}: {UNREADABLE}") from error
    known = [found for found in signatures if found[1] in keys]
    if not known:
        raise UntrustedError(f"{where}: UNTRUSTED signature")
    if not any(keys[name].signed(value, members[1], digest) for digest, name, value in known):
        raise UntrustedError(f"{where}: BAD signature")
