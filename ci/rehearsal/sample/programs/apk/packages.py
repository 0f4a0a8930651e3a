"""An .apk file (format 2) and the chain of digests from the index down to its last byte."""

import base64
import hashlib
import io
import tarfile
from dataclasses import dataclass

from .repository import Package
from .trust import Keys, UntrustedError, gzip_members, verify_member

SCRIPTS = (
    "pre-install",
    "post-install",
    "pre-deinstall",
    "post-deinstall",
    "pre-upgrade",
    "post-upgrade",
    "trigger",
)

DAMAGED = "v2 package integrity error"


@dataclass(frozen=True, slots=True)
class Script:
    """A script of a package, as its control member holds it."""

    kind: str
    content: bytes
    mode: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Content:
    """What is inside a package file that passed every check."""

    facts: dict[str, tuple[str, ...]]
    """`.PKGINFO`: key -> values."""
    scripts: tuple[Script, ...]
    data: bytes
    """The gzip member with the files."""

    def words(self, key: str) -> tuple[str, ...]:
        """Return the words of all values of `key`."""
        return tuple(word for value in self.facts.get(key, ()) for word in value.split())

    def number(self, key: str) -> int:
        """Return the value of `key`, 0 when it is absent."""
        return int((self.facts.get(key) or ("0",))[0])


def read_package(package: Package, keys: Keys) -> Content:
    """Return the content of the file that the index describes as `package`.

    Raises:
        UntrustedError: size, signature, checksum or data hash is not what it must be.
        OSError: there is no such file.
    """
    raw = package.file.read_bytes()
    where = package.label
    members = gzip_members(raw, where=where)
    if len(members) != 3:
        # Real apk installs an unsigned package that its index vouches for; this one does not.
        raise UntrustedError(f"{where}: UNTRUSTED signature")
    _, control, data = members
    digest = base64.b64encode(hashlib.sha1(control, usedforsecurity=False).digest()).decode()
    if f"Q1{digest}" != package.checksum:
        raise UntrustedError(f"{where}: {DAMAGED}")
    verify_member(members, keys, where=where)
    facts, scripts = _read_control(control)
    if facts.get("datahash") != (hashlib.sha256(data).hexdigest(),):
        raise UntrustedError(f"{where}: {DAMAGED}")
    _same(package, facts)
    if str(len(raw)) != package.fields.get("S"):
        raise UntrustedError(f"{where}: {len(raw)} bytes, the index says {package.fields['S']}")
    return Content(facts, scripts, data)


def _same(package: Package, facts: dict[str, tuple[str, ...]]) -> None:
    for key, letter in (("pkgname", "P"), ("pkgver", "V")):
        if facts.get(key) != (package.fields[letter],):
            raise UntrustedError(f"{package.label}: {DAMAGED}")


def _read_control(control: bytes) -> tuple[dict[str, tuple[str, ...]], tuple[Script, ...]]:
    facts: dict[str, tuple[str, ...]] = {}
    scripts: list[Script] = []
    with tarfile.open(fileobj=io.BytesIO(control), mode="r:gz") as archive:
        for entry in archive:
            stream = archive.extractfile(entry)
            content = stream.read() if stream is not None else b""
            if entry.name == ".PKGINFO":
                facts = _parse_facts(content.decode("utf-8", "surrogateescape"))
            elif entry.name.removeprefix(".") in SCRIPTS:
                kind = entry.name.removeprefix(".")
                scripts.append(Script(kind, content, entry.mode & 0o7777, int(entry.mtime)))
    return facts, tuple(scripts)


def _parse_facts(text: str) -> dict[str, tuple[str, ...]]:
    facts: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition(" = ")
        if equals and not line.startswith("#"):
            facts[key] = (*facts.get(key, ()), value)
    return facts
