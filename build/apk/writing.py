"""Deterministic writer of packages and indexes of Alpine's format 2.

Standard library only. A package has three gzip members: signature, control, data; an index
has two: signature, content (apk-tools' apk-v2(5); abuild's abuild-sign for the signature).
The signature and control members have no end-of-archive blocks, so that all members together
are one tar.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath
from typing import Literal

from build.apk.info import info_fields, join_licenses
from build.apk.package import control_checksum, split_members
from build.apk.rsa import PrivateKey, derive_private_key, public_pem, sign_sha1
from build.apk.streams import BLOCK, gzip_member, tar_entry
from build.errors import BuildError

MIN_SIZE = 4096
"""apk does not unpack a package of installed size 0; abuild writes 4096 for such ones."""
SCRIPTS = (
    *(f"{when}-{what}" for what in ("install", "deinstall", "upgrade") for when in ("pre", "post")),
    "trigger",
)
KINDS = {"file": b"0", "symlink": b"2", "dir": b"5"}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Private key, and the name of its public key."""

    name: str
    """File name of the public key, such as `rehearsal-only.rsa.pub`."""
    private: PrivateKey = field(repr=False)

    def sign(self, content: bytes) -> bytes:
        """Return the signature of `content` for `.SIGN.RSA.KEY`: PKCS#1 v1.5 with SHA-1."""
        return sign_sha1(self.private, content)

    def public_pem(self) -> bytes:
        """Return the public key as a PEM file."""
        return public_pem(self.private)


@dataclass(frozen=True, slots=True)
class Entry:
    """File, folder or symbolic link of a package."""

    path: str
    """Relative to the root, without a slash at either end: `etc/snowdrop-release`."""
    mode: int
    kind: Literal["file", "dir", "symlink"]
    content: bytes = field(default=b"", repr=False)
    target: str = ""
    """Of a symbolic link."""
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Metadata and content of a package."""

    name: str
    version: str
    description: str
    arch: str = "x86_64"
    license: str = "MIT"
    origin: str = ""
    """The package's own name if empty."""
    url: str = ""
    epoch: int
    """Seconds since 1970: the time of every file and of the build."""
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    install_if: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    """Folders whose change starts the script `trigger`."""
    replaces: tuple[str, ...] = ()
    provider_priority: int | None = None
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Text by name, such as `post-install`."""
    entries: tuple[Entry, ...] = ()
    commit: str = ""


def derive_key(seed: bytes, name: str, bits: int = 2048) -> SigningKey:
    """Return the key derived from `seed`, with the file name `name`.

    The key is as public as its seed, so a signature with it authenticates nothing. It is for
    packages whose bytes are verified in another way.
    """
    return SigningKey(name, derive_private_key(seed, bits))


def write_package(recipe: Recipe, key: SigningKey, *, level: int = 0) -> bytes:
    """Return the `.apk` file of `recipe`, signed with `key`.

    Parent folders that the recipe does not list are added (root, 0755). `level` 0 stores,
    1 to 9 compresses with the machine's zlib.

    Raises:
        BuildError: two entries of one path, or an invalid path or script name.
    """
    # From back to front: control has the hash of data, signature is over control.
    entries = [_entry_blocks(entry, recipe.epoch) for entry in _with_parents(recipe)]
    data = gzip_member(b"".join([*chain(*entries), bytes(2 * BLOCK)]), level=level)
    control = gzip_member(_control(recipe, hashlib.sha256(data).hexdigest()), level=level)
    return b"".join([_signature(control, key), control, data])


def index_record(package: bytes) -> str:
    """Return the lines of an index for the `.apk` file `package`, without a blank line.

    Raises:
        VerificationError: it is not a package of format 2.
    """
    # The order of the lines is that of Alpine's own indexes.
    _, control, _ = split_members(package)
    fields = info_fields(control, where="package")

    def one(key: str) -> str:
        return " ".join(fields.get(key, ()))

    lines = [
        ("C", control_checksum(control)),
        ("P", one("pkgname")),
        ("V", one("pkgver")),
        ("A", one("arch")),
        ("S", str(len(package))),
        ("I", one("size")),
        ("T", one("pkgdesc")),
        ("U", one("url")),
        ("L", join_licenses(fields.get("license", ()), where="package")),
        ("o", one("origin")),
        ("m", one("maintainer")),
        ("t", one("builddate")),
        ("c", one("commit")),
        ("k", one("provider_priority")),
        ("D", one("depend")),
        ("p", one("provides")),
        ("i", one("install_if")),
    ]
    return "".join(f"{letter}:{value}\n" for letter, value in lines if value)


def write_index(
    packages: Iterable[bytes | str], key: SigningKey, description: str, *, level: int = 0
) -> bytes:
    """Return the signed APKINDEX.tar.gz of `packages`: `.apk` files or their records.

    Records are sorted, so that the order of `packages` does not matter.

    Raises:
        VerificationError: one of them is not a package of format 2.
    """
    records = [each if isinstance(each, str) else index_record(each) for each in packages]
    text = "".join(f"{record}\n" for record in sorted(records, key=_record_key))
    blocks = [
        *tar_entry("DESCRIPTION", description.encode()),
        *tar_entry("APKINDEX", text.encode(errors="surrogateescape")),
        bytes(2 * BLOCK),
    ]
    content = gzip_member(b"".join(blocks), level=level)
    return _signature(content, key) + content


def _record_key(record: str) -> tuple[list[str], str]:
    """Return name and version, then everything: equal sets of records give equal bytes."""
    return [line for line in record.splitlines() if line[:2] in ("P:", "V:")], record


def _signature(content: bytes, key: SigningKey) -> bytes:
    return gzip_member(b"".join(tar_entry(f".SIGN.RSA.{key.name}", key.sign(content))))


def _control(recipe: Recipe, datahash: str) -> bytes:
    blocks = tar_entry(".PKGINFO", _info(recipe, datahash).encode(), mtime=recipe.epoch)
    for name, text in sorted(recipe.scripts.items()):
        if name not in SCRIPTS:
            raise BuildError(
                f"{recipe.name}: script {name!r}, expected one of {', '.join(SCRIPTS)}"
            )
        blocks += tar_entry(f".{name}", text.encode(), mode=0o755, mtime=recipe.epoch)
    return b"".join(blocks)


def _info(recipe: Recipe, datahash: str) -> str:
    size = sum(len(entry.content) for entry in recipe.entries)
    priority = recipe.provider_priority
    lines = [
        ("pkgname", recipe.name),
        ("pkgver", recipe.version),
        ("pkgdesc", recipe.description),
        ("url", recipe.url),
        ("builddate", str(recipe.epoch)),
        ("size", str(max(size, MIN_SIZE))),
        ("arch", recipe.arch),
        ("origin", recipe.origin or recipe.name),
        ("commit", recipe.commit),
        ("license", recipe.license),
        *(("replaces", value) for value in recipe.replaces),
        *(("depend", value) for value in recipe.depends),
        *(("provides", value) for value in recipe.provides),
        ("install_if", " ".join(recipe.install_if)),
        ("triggers", " ".join(recipe.triggers)),
        ("provider_priority", "" if priority is None else str(priority)),
        ("datahash", datahash),
    ]
    for key, value in lines:
        if "\n" in value:
            raise BuildError(f"{recipe.name}: {key} = {value!r}, expected one line")
    return "".join(f"{key} = {value}\n" for key, value in lines if value)


def _entry_blocks(entry: Entry, mtime: int) -> list[bytes]:
    checked = {"file": entry.content, "symlink": entry.target.encode()}.get(entry.kind)
    pax = []
    if checked is not None:
        digest = hashlib.sha1(checked, usedforsecurity=False).hexdigest()
        pax = [("APK-TOOLS.checksum.SHA1", digest)]
    return tar_entry(
        entry.path + "/" if entry.kind == "dir" else entry.path,
        entry.content if entry.kind == "file" else b"",
        kind=KINDS[entry.kind],
        mode=0o777 if entry.kind == "symlink" else entry.mode,  # as lstat(2) reports links
        mtime=mtime,
        target=entry.target,
        owner=entry.owner,
        group=entry.group,
        pax=pax,
    )


def _with_parents(recipe: Recipe) -> list[Entry]:
    """Return the entries sorted, each folder before its content."""
    found: dict[str, Entry] = {}
    for entry in recipe.entries:
        path = PurePosixPath(entry.path)
        parts = {*entry.path.split("/")}
        if str(path) != entry.path or path.is_absolute() or {"..", "."} & parts:
            raise BuildError(f"{recipe.name}: path {entry.path!r}, expected one like etc/motd")
        if any(ord(letter) < 32 for letter in entry.path + entry.target):
            raise BuildError(f"{recipe.name}: path {entry.path!r}, expected no control character")
        if entry.path in found:
            raise BuildError(f"{recipe.name}: {entry.path} twice, expected once")
        found[entry.path] = entry
    parents = {str(parent) for path in found for parent in PurePosixPath(path).parents}
    for missing in parents - {".", *found}:
        found[missing] = Entry(missing, 0o755, "dir")
    return [found[path] for path in sorted(found, key=lambda path: path.split("/"))]
