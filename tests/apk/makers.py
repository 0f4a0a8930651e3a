"""Makers of small signed packages, and the real Alpine data that some tests read."""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from build.apk.signature import Keyring
from build.apk.streams import gzip_member, tar_entry
from build.apk.unpack import unpack_data
from build.apk.writing import Entry, Recipe, SigningKey, derive_key, write_package
from tests.alpine import ALPINE, SMALL

needs_alpine = pytest.mark.alpine
EPOCH = 1_700_000_000


@cache
def key(name: str = "tests.rsa.pub") -> SigningKey:
    """Return the key that the tests trust, or by another name one that they do not."""
    return derive_key(b"tests of snowdrop " + name.encode(), name)


def trusted() -> Keyring:
    """Return a key ring with the tests' key only."""
    return Keyring("the tests' keys", {key().name: key().public_pem()})


def recipe(
    name: str = "hello", version: str = "1.0-r0", *, depends: tuple[str, ...] = ()
) -> Recipe:
    """Return a package of one program, a link to it, a folder and a script."""
    return Recipe(
        name=name,
        version=version,
        description="Says hello",
        epoch=EPOCH,
        depends=depends,
        provides=(f"cmd:{name}={version}",),
        scripts={"post-install": "#!/bin/sh\nexit 0\n"},
        entries=(
            Entry(f"usr/bin/{name}", 0o4755, "file", b"#!/bin/sh\necho hello\n"),
            Entry(f"usr/bin/{name}-again", 0o777, "symlink", target=name),
            Entry(f"var/lib/{name}", 0o700, "dir"),
            Entry(f"usr/share/{'d' * 90}/{'f' * 180}", 0o640, "file", b"far down", group="shadow"),
        ),
    )


def package(
    name: str = "hello", version: str = "1.0-r0", *, depends: tuple[str, ...] = ()
) -> bytes:
    """Return that package, signed by the tests' key."""
    return write_package(recipe(name, version, depends=depends), key())


def package_of(members: Iterable[tarfile.TarInfo]) -> bytes:
    """Return a correctly signed package whose data member has these tar members."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member)
    data = gzip_member(content.getvalue())
    info = "pkgname = odd\npkgver = 1-r0\narch = x86_64\nsize = 4096\n"
    info += f"datahash = {hashlib.sha256(data).hexdigest()}\n"
    control = gzip_member(b"".join(tar_entry(".PKGINFO", info.encode())))
    signature = tar_entry(f".SIGN.RSA.{key().name}", key().sign(control))
    return gzip_member(b"".join(signature)) + control + data


def real_packages() -> list[Path]:
    """Return the files of the small real repository."""
    return sorted((SMALL / "x86_64").glob("*.apk"))


def real_keys() -> Keyring:
    """Return Alpine's keys."""
    return Keyring.from_folder(ALPINE / "keys")


def real_apk(into: Path) -> list[str]:
    """Return the command of Alpine's own apk 2.14, unpacked below `into`."""
    # apk and the libraries that it links to.
    for name in ("musl-1", "apk-tools-2", "libcrypto3", "libssl3", "zlib"):
        (path,) = (SMALL / "x86_64").glob(f"{name}*.apk")
        unpack_data(path.read_bytes(), into)
    loader = str(into / "lib/ld-musl-x86_64.so.1")
    return [loader, "--library-path", str(into / "lib"), str(into / "sbin/apk")]
