"""Bytes that are not those that were signed, and files that are no files."""

import os
import shutil
from collections.abc import Callable

from ci.release.manifest import (
    DIFFERENCE_BUNDLE,
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    boot_bundle,
    build_bundle,
    bundle_name,
    sbom_bundle,
)
from tests.verify.attacks import Attack
from tests.verify.stage import ARCHIVE, IMAGE, NEW, OLD, OWN_NAME, Scene, sha256_of, stem

OTHER = f"{stem(NEW, 'server')}.qcow2"
SBOM = f"{stem(NEW)}.cdx.json"


def flip(name: str, place: int = -1) -> Callable[[Scene], None]:
    """Return what changes one bit of a file, in its middle or at `place`."""

    def do(scene: Scene) -> None:
        content = bytearray((scene / name).read_bytes())
        content[len(content) // 2 if place < 0 else place] ^= 1
        (scene / name).write_bytes(content)

    return do


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Scene], None]:
    """Return what puts other bytes into a file."""

    def do(scene: Scene) -> None:
        (scene / name).write_bytes(change((scene / name).read_bytes()))

    return do


def replaced(name: str, old: str, new: str) -> Callable[[Scene], None]:
    """Return what replaces text in a file once; it must be there."""

    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return rewrite(name, change)


def copied(source: str, name: str) -> Callable[[Scene], object]:
    """Return what puts one file of the release in the place of another."""
    return lambda scene: shutil.copyfile(scene / source, scene / name)


def from_old(source: str, name: str) -> Callable[[Scene], object]:
    """Return what puts a file of the older release in the place of one."""
    return lambda scene: shutil.copyfile(scene.stage.old / source, scene / name)


def listed(change: Callable[[list[str]], object]) -> Callable[[Scene], None]:
    """Return what signs another list of checksums than the manifest has."""

    def do(scene: Scene) -> None:
        lines = (scene / "SHA256SUMS").read_text().splitlines(keepends=True)
        change(lines)
        content = "".join(sorted(lines, key=lambda line: line.split("  ")[1]))
        (scene / "SHA256SUMS").write_text(content)
        bundle = scene.stage.mint.file(sha256_of(scene / "SHA256SUMS"))
        scene.put("SHA256SUMS.sigstore.json", bundle)

    return do


def link(scene: Scene) -> None:
    """Put a link to the image's own bytes in the place of the image."""
    outside = scene.place / "image"
    (scene / IMAGE).rename(outside)
    (scene / IMAGE).symlink_to(outside)


def folder(name: str) -> Callable[[Scene], None]:
    """Return what puts a folder where a file belongs."""

    def do(scene: Scene) -> None:
        (scene / name).unlink()
        (scene / name).mkdir()

    return do


def pipe(scene: Scene) -> None:
    """Put a pipe in the place of a bundle: opening it may wait without end."""
    (scene / bundle_name(IMAGE)).unlink()
    os.mkfifo(scene / bundle_name(IMAGE))


def hidden_folder(scene: Scene) -> None:
    """Add a folder that no statement speaks of."""
    (scene / ".git").mkdir()


def named_in_manifest(name: str) -> Callable[[Scene], None]:
    """Return what gives the image another name in manifest and checksums."""

    def do(scene: Scene) -> None:
        for file in ("release.json", "SHA256SUMS"):
            replaced(file, IMAGE, name)(scene)
        digest = scene.stage.mint
        scene.put("SHA256SUMS.sigstore.json", digest.file(sha256_of(scene / "SHA256SUMS")))

    return do


ATTACKS = [
    Attack("image: one bit", flip(IMAGE), f"digest of {IMAGE}", "sha256 "),
    Attack("image: first byte", flip(IMAGE, 0), f"digest of {IMAGE}", "sha256 "),
    Attack(
        "image: cut short",
        rewrite(IMAGE, lambda raw: raw[:-1]),
        f"digest of {IMAGE}",
        "bytes, expected",
    ),
    Attack(
        "image: empty", rewrite(IMAGE, lambda _: b""), f"digest of {IMAGE}", "0 bytes, expected"
    ),
    Attack(
        "image: longer",
        rewrite(IMAGE, lambda raw: raw + b"\0"),
        f"digest of {IMAGE}",
        "bytes, expected",
    ),
    Attack(
        "image: missing",
        lambda scene: (scene / IMAGE).unlink(),
        f"digest of {IMAGE}",
        "no such file",
    ),
    Attack(
        "image: of the older release",
        from_old(f"{stem(OLD)}.qcow2", IMAGE),
        f"digest of {IMAGE}",
        "sha256 ",
    ),
    Attack(
        "image: of the other variant", copied(OTHER, IMAGE), f"digest of {IMAGE}", "bytes, expected"
    ),
    Attack("image: a link", link, f"digest of {IMAGE}", "a symbolic link"),
    Attack(
        "image: a folder", folder(IMAGE), f"digest of {IMAGE}", "a folder, expected a plain file"
    ),
    Attack(
        "SHA256SUMS: one bit", flip("SHA256SUMS", 3), "signature of SHA256SUMS", "of other bytes"
    ),
    Attack(
        "SHA256SUMS: empty",
        rewrite("SHA256SUMS", lambda _: b""),
        "signature of SHA256SUMS",
        "of other bytes",
    ),
    Attack(
        "SHA256SUMS: of the older release",
        from_old("SHA256SUMS", "SHA256SUMS"),
        "signature of SHA256SUMS",
        "of other bytes",
    ),
    Attack("SHA256SUMS: a folder", folder("SHA256SUMS"), "signature of SHA256SUMS", "a folder"),
    Attack(
        "SHA256SUMS: a file more, signed",
        listed(lambda lines: lines.append(f"{'0' * 64}  more.qcow2\n")),
        "SHA256SUMS",
        "disagree about more.qcow2",
    ),
    Attack(
        "SHA256SUMS: a file less, signed",
        listed(lambda lines: lines.pop(0)),
        "SHA256SUMS",
        "disagree about",
    ),
    Attack(
        "SHA256SUMS: another digest, signed",
        listed(lambda lines: lines.append(f"{'0' * 64}{lines.pop()[64:]}")),
        "SHA256SUMS",
        "disagree about",
    ),
    Attack(
        "manifest: one value",
        replaced("release.json", '"epoch": 1', '"epoch": 2'),
        "SHA256SUMS",
        "release.json: sha256 ",
    ),
    Attack(
        "manifest: cut short",
        rewrite("release.json", lambda raw: raw[:-9]),
        "release.json",
        "not the JSON of one meaning",
    ),
    Attack(
        "manifest: empty",
        rewrite("release.json", lambda _: b""),
        "release.json",
        "not the JSON of one meaning",
    ),
    Attack(
        "manifest: longer",
        rewrite("release.json", lambda raw: raw + b" "),
        "release.json",
        "unknown keys or another byte form",
    ),
    Attack(
        "manifest: missing",
        lambda scene: (scene / "release.json").unlink(),
        "release.json",
        "no such file",
    ),
    Attack(
        "manifest: a key twice",
        replaced("release.json", '"epoch"', f'"tag": "{NEW}",\n  "epoch"'),
        "release.json",
        "key 'tag' twice",
    ),
    Attack(
        "manifest: not UTF-8",
        replaced(
            "release.json",
            '"snowdrop"',
            '"snow\udce9drop"'.encode("utf-8", "surrogateescape").decode("latin-1"),
        ),
        "release.json",
        "snow",
    ),
    Attack(
        "manifest: very deep",
        rewrite("release.json", lambda _: b"[" * 100_000),
        "release.json",
        "levels of JSON",
    ),
    Attack(
        "manifest: very large",
        rewrite("release.json", lambda raw: raw + b" " * (5 << 20)),
        "release.json",
        "more than 4194304 bytes",
    ),
    Attack(
        "manifest: a list",
        rewrite("release.json", lambda _: b"[]"),
        "release.json",
        "expected a table",
    ),
    Attack(
        "manifest: a name with ../",
        named_in_manifest(f"../{IMAGE[3:]}"),
        "release.json",
        "expected a string like",
    ),
    Attack(
        "manifest: an absolute name",
        named_in_manifest("/etc/passwd"),
        "release.json",
        "expected a string like",
    ),
    Attack(
        "manifest: a hidden name",
        named_in_manifest(".bashrc"),
        "release.json",
        "expected a string like",
    ),
    Attack(
        "SBOM: one word",
        replaced(SBOM, "alpine-base", "alpine-bass"),
        f"digest of {SBOM}",
        "sha256 ",
    ),
    Attack("lock: one bit", flip("release.lock"), "digest of release.lock", "sha256 "),
    Attack("own package: one bit", flip(OWN_NAME), f"digest of {OWN_NAME}", "sha256 "),
    Attack("archive: one bit", flip(ARCHIVE), f"digest of {ARCHIVE}", "sha256 "),
    Attack("provenance: one bit", flip(PROVENANCE_BUNDLE), "provenance", PROVENANCE_BUNDLE),
    Attack(
        "provenance: missing",
        lambda scene: (scene / PROVENANCE_BUNDLE).unlink(),
        "provenance",
        "no such file",
    ),
    Attack(
        "provenance: of the older release",
        from_old(PROVENANCE_BUNDLE, PROVENANCE_BUNDLE),
        "provenance",
        "SANs do not match",
    ),
    Attack(
        "boot report: one bit",
        flip(boot_bundle(IMAGE)),
        f"boot report of {IMAGE}",
        ".boot.sigstore.json",
    ),
    Attack(
        "boot report: missing",
        lambda scene: (scene / boot_bundle(IMAGE)).unlink(),
        f"boot report of {IMAGE}",
        "no such file",
    ),
    Attack(
        "boot report: of the other variant",
        copied(boot_bundle(OTHER), boot_bundle(IMAGE)),
        f"boot report of {IMAGE}",
        "other subjects",
    ),
    Attack(
        "build record: of the other variant",
        copied(build_bundle(OTHER), build_bundle(IMAGE)),
        f"build record of {IMAGE}",
        "other subjects",
    ),
    Attack(
        "SBOM bundle: of the other variant",
        copied(sbom_bundle(OTHER), sbom_bundle(IMAGE)),
        f"SBOM of {IMAGE}",
        "other subjects",
    ),
    Attack(
        "snapshot statement: missing",
        lambda scene: (scene / SNAPSHOT_BUNDLE).unlink(),
        "snapshot",
        "no such file",
    ),
    Attack(
        "difference: missing",
        lambda scene: (scene / DIFFERENCE_BUNDLE).unlink(),
        "difference",
        "no such file",
    ),
    Attack(
        "bundle: missing",
        lambda scene: (scene / bundle_name("release.lock")).unlink(),
        "signature of release.lock",
        "no such file",
    ),
    Attack("bundle: a pipe", pipe, f"signature of {IMAGE}", "a pipe, expected a plain file"),
    Attack(
        "a file of which no statement speaks",
        lambda scene: (scene / "install.sh").write_text("#!/bin/sh"),
        "file list",
        "also install.sh",
    ),
    Attack(
        "a bundle of which no statement speaks",
        copied(PROVENANCE_BUNDLE, "more.sigstore.json"),
        "file list",
        "also more.sigstore.json",
    ),
    Attack("a hidden folder", hidden_folder, "file list", "also .git"),
    Attack(
        "a name that moves the cursor",
        lambda scene: (scene / "\x1b[2J").touch(),
        "file list",
        "also \\x1b[2J",
    ),
]
