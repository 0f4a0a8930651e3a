"""What can be wrong with a repository, made on purpose: each as bytes with a name.

All of it is well signed unless the damage is in the signature, so that the refusal comes from
the check that is meant, and not from an earlier one.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import cache

from build.apk.package import control_checksum, split_members
from build.apk.streams import gzip_member, tar_entry
from build.apk.writing import SigningKey, index_record, write_index
from tests.apk.makers import key
from tests.snapshot.served import apk_package, made

HELLO = "hello-1.0-r0.apk"
STRANGER = "stranger.rsa.pub"
ENDING = bytes(1024)


def hello() -> bytes:
    """Return the package that is damaged."""
    return made("hello", depends=("musl",))


def others() -> list[bytes]:
    """Return the packages that are not damaged."""
    return [apk_package(), made("musl")]


@cache
def index(record: str | None = None) -> bytes:
    """Return the index of all packages, with `record` instead of hello's."""
    return write_index([*others(), index_record(hello()) if record is None else record], key(), "")


def record(package: bytes, **changed: str) -> str:
    """Return hello's record with the size of `package`, and other letters changed."""
    fields = {"S": str(len(package)), **changed}
    lines = index_record(hello()).splitlines()
    return "".join(f"{line[0]}:{fields.get(line[0], line[2:])}\n" for line in lines)


def flipped(content: bytes, offset: int) -> bytes:
    """Return `content` with one bit changed."""
    return content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :]


def signature(
    signed: bytes, *, by: SigningKey | None = None, kind: str = "RSA", value: bytes | None = None
) -> bytes:
    """Return a signature member over `signed`."""
    signer = by or key()
    content = signer.sign(signed) if value is None else value
    return gzip_member(b"".join(tar_entry(f".SIGN.{kind}.{signer.name}", content)))


def signed(member: bytes) -> bytes:
    """Return `member` after a valid signature."""
    return signature(member) + member


def index_of(*files: tuple[str, bytes], kind: bytes = b"0", ending: bytes = ENDING) -> bytes:
    """Return a signed index whose tar has these files."""
    blocks = [block for name, content in files for block in tar_entry(name, content, kind=kind)]
    return signed(gzip_member(b"".join([*blocks, ending])))


def index_text(text: bytes) -> bytes:
    """Return a signed index with this APKINDEX."""
    return index_of(("DESCRIPTION", b"odd"), ("APKINDEX", text))


def texts() -> bytes:
    """Return the text of the valid index."""
    records = [index_record(package) for package in (*others(), hello())]
    return "".join(f"{each}\n" for each in records).encode()


def package(
    info: Callable[[list[str]], Iterable[str]] = lambda lines: lines,
    *,
    data: bytes | None = None,
    control_name: str = ".PKGINFO",
) -> bytes:
    """Return hello with other lines in `.PKGINFO` or another data member, signed again."""
    member = split_members(hello())[2] if data is None else data
    lines = [
        "pkgname = hello",
        "pkgver = 1.0-r0",
        "arch = x86_64",
        "size = 4096",
        f"datahash = {hashlib.sha256(member).hexdigest()}",
    ]
    text = "".join(f"{line}\n" for line in info(lines))
    control = gzip_member(b"".join(tar_entry(control_name, text.encode())))
    return signed(control) + member


def with_data(*blocks: bytes, ending: bytes = ENDING) -> bytes:
    """Return hello with these tar blocks as its data."""
    return package(data=gzip_member(b"".join([*blocks, ending])))


def entry(name: str, kind: bytes = b"0", target: str = "", content: bytes = b"") -> bytes:
    """Return one tar member."""
    return b"".join(tar_entry(name, content, kind=kind, target=target))


def wrong_sum() -> bytes:
    """Return a package with a file that does not match the SHA-1 in its header."""
    pax = [("APK-TOOLS.checksum.SHA1", "0" * 40)]
    return with_data(b"".join(tar_entry("etc/motd", b"welcome", pax=pax)))


def odd_pax(text: bytes) -> bytes:
    """Return a package with these pax records."""
    header = b"".join(tar_entry("pax", text, kind=b"x"))
    return with_data(header, entry("etc/motd"))


def record_of(content: bytes) -> str:
    """Return a record that matches the package apart from the damage."""
    control = split_members(content)[1]
    return record(content, C=control_checksum(control))
