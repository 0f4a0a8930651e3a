"""Files whose digest does not hold, and what no plain file is: nothing of it is parsed.

Each row names the check that would have parsed it; it is skipped and says so.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from ci.release.manifest import bundle_name
from tests.verify.attacks import Attack, deep
from tests.verify.attacks.content import SBOM, flip, folder, rewrite
from tests.verify.attacks.fields import relocked
from tests.verify.stage import ARCHIVE, IMAGE, NEW, OWN_NAME, Scene, stem

INVENTORY = f"{stem(NEW)}.image.json"
BUILDER = f"snowdrop-builder-{NEW}.cdx.json"
TIB = 1 << 40
Change = Callable[[Scene], object]


def pipe(name: str) -> Change:
    """Return what puts a pipe in the place of a file: opening it may wait without end."""

    def do(scene: Scene) -> None:
        (scene / name).unlink()
        os.mkfifo(scene / name)

    return do


def listening(name: str) -> Change:
    """Return what puts a socket in the place of a file."""

    def do(scene: Scene) -> None:
        (scene / name).unlink()
        before = Path.cwd()
        os.chdir(scene.folder)  # a socket's name has at most 108 bytes, see unix(7)
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(f"./{name[:50]}")
            Path(name[:50]).rename(name)
        finally:
            os.chdir(before)

    return do


def linked(name: str, target: str = "") -> Change:
    """Return what puts a link to the file's own bytes, or to `target`, in its place."""

    def do(scene: Scene) -> None:
        outside = scene.place / "outside"
        (scene / name).rename(outside)
        (scene / name).symlink_to(target or outside)

    return do


def sparse(name: str, size: int = TIB) -> Change:
    """Return what makes a file longer without taking space: hashing it takes an hour."""
    return lambda scene: os.truncate(scene / name, size)


def missing(name: str) -> Change:
    """Return what removes a file."""
    return lambda scene: (scene / name).unlink()


def changed(name: str) -> dict[str, tuple[Change, str]]:
    """Return the ways in which no file may be, and what its digest's check says."""
    return {
        "one bit": (flip(name), "sha256 "),
        "missing": (missing(name), "no such file"),
        "a pipe": (pipe(name), "a pipe, expected a plain file"),
        "a socket": (listening(name), "expected a plain file"),
        "a folder": (folder(name), "a folder, expected a plain file"),
        "a link to its own bytes": (linked(name), "a symbolic link"),
        "a link to zeros": (linked(name, "/dev/zero"), "a symbolic link"),
        "1 TiB without content": (sparse(name), f"{TIB} bytes, expected "),
    }


def skipped(kind: str, name: str, check: str) -> list[Attack]:
    """Return two rows for each way: the digest is refused, and `check` is skipped."""
    rows = []
    for how, (do, found) in changed(name).items():
        rows.append(Attack(f"digest of {kind}: {how}", deep(do), f"digest of {name}", found))
        text = f"skipped: digest of {name} failed"
        rows.append(Attack(f"unopened {kind}: {how}", deep(do), check, text))
    return rows


def bad_lock(content: Callable[[bytes], bytes]) -> Change:
    """Return what puts an unsigned lock into the archive."""
    return deep(relocked(content))


def alone(do: Change) -> Callable[[Scene], None]:
    """Return what changes a file, and verifies the image with its bundles only."""

    def change(scene: Scene) -> None:
        do(scene)
        scene.target = str(scene / IMAGE)

    return change


SNAPSHOT = "snapshot signatures"
ATTACKS = [
    *skipped("archive", ARCHIVE, SNAPSHOT),
    *skipped("image.json", INVENTORY, f"packages in {IMAGE}"),
    *skipped("SBOM", SBOM, f"SBOM of {IMAGE}"),
    *skipped("builder's SBOM", BUILDER, f"packages in the SBOM {BUILDER}"),
    *skipped("own package", OWN_NAME, f"packages in the SBOM of {IMAGE}"),
    *(
        Attack(f"unopened archive: {name}", bad_lock(content), SNAPSHOT, "skipped: digest of ")
        for name, content in {
            "a lock with a version without end": lambda raw: raw.replace(
                b"-r0", b"_p1" * 1_000_000, 1
            ),
            "a lock with dotted keys without end": lambda raw: raw + b"a." * 1_000_000 + b"a = 1\n",
            "a lock that leads to other keys": lambda raw: raw.replace(
                b'arch = "', b'arch = "../', 1
            ),
        }.items()
    ),
    Attack(
        "unopened image.json: very deep",
        deep(rewrite(INVENTORY, lambda _: b"[" * 1_000_000)),
        f"packages in {IMAGE}",
        "skipped: digest of ",
    ),
    *(
        Attack(f"digest of image: {how}", do, f"digest of {IMAGE}", found)
        for how, (do, found) in changed(IMAGE).items()
    ),
    *(
        Attack(f"{name}: {how}", do(name), check, found)
        for name, check in {
            "release.json": "release.json",
            "SHA256SUMS": "signature of SHA256SUMS",
            bundle_name(IMAGE): f"signature of {IMAGE}",
            bundle_name("SHA256SUMS"): "trust root",
        }.items()
        for how, do, found in (
            ("a pipe, unopened", pipe, "a pipe, expected a plain file"),
            ("a link, unopened", linked, "a symbolic link"),
            ("1 TiB, unopened", sparse, "more than 4194304 bytes"),
        )
    ),
    *(
        Attack(f"image alone: {how}", alone(do), f"digest of {IMAGE}", found)
        for how, do, found in (
            ("a link", linked(IMAGE), "a symbolic link"),
            ("1 TiB", sparse(IMAGE), f"{TIB} bytes, expected "),
        )
    ),
    Attack("image alone: a pipe", alone(pipe(IMAGE)), "", "no such folder or file"),
    Attack(
        "image alone: provenance is a link to nothing",
        alone(linked("provenance.sigstore.json", "nothing")),
        "provenance",
        "a symbolic link",
    ),
]
