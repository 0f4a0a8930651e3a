"""Writer of packages and indexes in the forms of other writers, by the rules of the format.

Made of `tarfile`, `gzip` and `cryptography`, and of nothing of `build.apk` but a private key: what
the tests read was not written by the code that is tested. Rules: apk-tools, doc/apk-v2.5 and
doc/apk-package.5.
"""

import base64
import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.apk.makers import key

ARCH = "x86_64"
TIME = 1_690_000_000
KEY = key().name
HASHES: Mapping[str, HashAlgorithm] = {
    "RSA": SHA1(),  # noqa: S303
    "RSA256": SHA256(),
    "RSA512": SHA512(),
}
ENDING = bytes(1024)
EMPTY = hashlib.sha1(b"").hexdigest()  # noqa: S324


@cache
def private_key(name: str = KEY) -> RSAPrivateKey:
    """Return the private key whose public file is called `name`: the tests' own, or a new one."""
    if name != KEY:
        return generate_private_key(65537, 2048)
    p, q = key().private
    exponent = pow(65537, -1, (p - 1) * (q - 1))
    parts = (exponent % (p - 1), exponent % (q - 1), pow(q, -1, p))
    return RSAPrivateNumbers(p, q, exponent, *parts, RSAPublicNumbers(65537, p * q)).private_key()


def public_pem(name: str = KEY) -> bytes:
    """Return the content of the key file `name`."""
    public = private_key(name).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class Item:
    """One entry of a tar."""

    path: str
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    checksum: str = "content"
    """`content` as apk defines it, `empty`, `none`, or hex digits."""
    owner: str = "root"
    pax: Mapping[str, str] = field(default_factory=dict)


def folder(path: str, mode: int = 0o755, owner: str = "root") -> Item:
    """Return a folder."""
    return Item(path, tarfile.DIRTYPE, mode=mode, checksum="none", owner=owner)


def link(path: str, target: str, checksum: str = "content") -> Item:
    """Return a symbolic link."""
    return Item(path, tarfile.SYMTYPE, target=target, mode=0o777, checksum=checksum)


def hard_link(path: str, target: str, checksum: str = "none") -> Item:
    """Return a hard link."""
    return Item(path, tarfile.LNKTYPE, target=target, checksum=checksum)


def plain_gzip(content: bytes, name: str) -> bytes:
    """Return a gzip member without name and time."""
    del name
    return gzip.compress(content, mtime=0)


def named_gzip(content: bytes, name: str) -> bytes:
    """Return a gzip member as `gzip` without `-n` writes it: with name and time."""
    target = io.BytesIO()
    with gzip.GzipFile(name, "wb", fileobj=target, mtime=TIME) as file:
        file.write(content)
    return target.getvalue()


def sign(content: bytes, key: str = KEY, kind: str = "RSA") -> tuple[str, bytes]:
    """Return the name of a signature and its bytes."""
    signature = private_key(key).sign(content, PKCS1v15(), HASHES[kind])
    return f".SIGN.{kind}.{key}", signature


Signer = Callable[[bytes], Iterable[tuple[str, bytes]]]
Gzip = Callable[[bytes, str], bytes]


def signed_once(content: bytes) -> Iterable[tuple[str, bytes]]:
    """Return one signature, as Alpine's files have it."""
    return [sign(content)]


@dataclass(frozen=True, kw_only=True)
class Form:
    """A package in the form of one writer."""

    items: tuple[Item, ...] = ()
    info: tuple[str, ...] = ()
    """More lines of `.PKGINFO`."""
    scripts: tuple[Item, ...] = ()
    size: int = 4096
    """Installed size, in `.PKGINFO` and index."""
    arch: str = ARCH
    indexed_arch: str = ""
    """In the index; that of the package if empty."""
    description: bytes = b"a package of another writer"
    gzip: Gzip = plain_gzip
    sign: Signer = signed_once
    format: Literal[0, 1, 2] = tarfile.PAX_FORMAT
    control_end: bytes = b""
    data_end: bytes = ENDING


def tar(items: Iterable[Item], end: bytes, kind: Literal[0, 1, 2] = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of `items`, without any padding but `end`."""
    blocks = []
    for item in items:
        info = tarfile.TarInfo(item.path)
        info.type, info.linkname, info.mode = item.kind, item.target, item.mode
        info.mtime, info.uname, info.gname = TIME, item.owner, item.owner
        info.size = len(item.content)
        info.pax_headers = dict(item.pax)
        hashed = item.target.encode() if item.kind == tarfile.SYMTYPE else item.content
        checksum = {
            "content": hashlib.sha1(hashed).hexdigest(),  # noqa: S324
            "empty": EMPTY,
            "none": "",
        }.get(item.checksum, item.checksum)
        if checksum:
            info.pax_headers["APK-TOOLS.checksum.SHA1"] = checksum
        blocks += [info.tobuf(kind), item.content, bytes(-len(item.content) % 512)]
    return b"".join([*blocks, end])


def write(name: str, form: Form) -> bytes:
    """Return the package `name` 1-r0 in this form."""
    data = form.gzip(tar(form.items, form.data_end, form.format), "data.tar")
    lines = [
        *(f"pkgname = {name}", "pkgver = 1-r0", f"arch = {form.arch}", f"size = {form.size}"),
        *("origin = foreign", f"builddate = {TIME}", *form.info),
        f"datahash = {hashlib.sha256(data).hexdigest()}",
    ]
    text = "".join(f"{line}\n" for line in lines).encode()
    text += b"pkgdesc = " + form.description + b"\n"
    inside = [Item(".PKGINFO", content=text, checksum="none"), *form.scripts]
    # GNU's or ustar's header: a control member has no pax records.
    control = form.gzip(tar(inside, form.control_end, tarfile.USTAR_FORMAT), "control.tar")
    return signature_member(control, form.sign, form.gzip) + control + data


def signature_member(content: bytes, signer: Signer, pack: Gzip = plain_gzip) -> bytes:
    """Return the member with the signatures of `content`."""
    found = [Item(name, content=value, checksum="none") for name, value in signer(content)]
    return pack(tar(found, b"", tarfile.USTAR_FORMAT), "signatures.tar")


def record(name: str, form: Form, package: bytes) -> bytes:
    """Return the lines about the package in an index."""
    second = gzip_end(package, 0)
    control = package[second : gzip_end(package, second)]
    checksum = base64.b64encode(hashlib.sha1(control).digest()).decode()  # noqa: S324
    arch = form.indexed_arch or form.arch
    lines = [f"C:Q1{checksum}", f"P:{name}", "V:1-r0", f"A:{arch}", f"S:{len(package)}"]
    lines += [f"I:{form.size}", "T:"]
    start = "\n".join(lines).encode() + form.description
    return start + f"\nU:\nL:MIT\no:foreign\nt:{TIME}\n\n".encode()


def gzip_end(content: bytes, start: int) -> int:
    """Return the end of the gzip member at `start`."""
    unpacker = zlib.decompressobj(31)
    unpacker.decompress(content[start:])
    return len(content) - len(unpacker.unused_data)


def index(records: Iterable[bytes], signer: Signer = signed_once) -> bytes:
    """Return the signed index of these records."""
    items = [Item("DESCRIPTION", content=b"foreign", checksum="none")]
    items += [Item("APKINDEX", content=b"".join(records), checksum="none")]
    content = plain_gzip(tar(items, ENDING, tarfile.USTAR_FORMAT), "index")
    return signature_member(content, signer) + content
