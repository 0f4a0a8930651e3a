"""The verified release that an import or a conversion starts from."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from build.errors import ConfigError, VerificationError
from build.tables import Table
from ci.release.manifest import (
    MANIFEST,
    Artifact,
    Manifest,
    build_bundle,
    parse_manifest,
    variant_of,
)
from ci.release.statements import read_predicate
from ci.report.console import Console
from ci.verify.verify import verify_target


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """An image whose whole release was verified a moment ago."""

    folder: Path
    """The files of the release."""
    manifest: Manifest
    image: Artifact

    @property
    def path(self) -> Path:
        """The qcow2 file."""
        return self.folder / self.image.name

    def raw(self) -> tuple[int, str]:
        """Return size and sha256 of the raw disk, from the signed build record."""
        bundle = build_bundle(self.image.name)
        record = Table(bundle, read_predicate(self.folder / bundle), VerificationError)
        table = record.table("raw")
        return table.number("size"), table.sha256("sha256")


def verify_image_of(
    arguments: argparse.Namespace, into: Path, console: Console, *, variant: str | None
) -> VerifiedImage:
    """Verify the target of `verify`'s arguments; return the image of a variant.

    The files of a remote release are kept in the new folder `into`.

    Raises:
        ConfigError: there are several images and no variant was named, or none of that variant.
        VerificationError: a check failed; the report above names it.
        SignatureOnlyError: only a signature was verified, which is not enough.
    """
    return _choose(verify_release(arguments, into, console), variant)


def verify_release(
    arguments: argparse.Namespace, into: Path, console: Console
) -> list[VerifiedImage]:
    """Verify the target of `verify`'s arguments; return its images.

    Raises:
        ConfigError: the target is one image.
        VerificationError: a check failed; the report above names it.
        SignatureOnlyError: only a signature was verified, which is not enough.
    """
    local = Path(arguments.target)
    if local.is_file():
        raise ConfigError(
            f"{local}: one image, expected a whole release: a folder, a tag or a URL",
            hint="`nox -s verify -- TAG --save DIR` fetches one",
        )
    if not local.is_dir():
        arguments.save = arguments.save or into
    # With --json, standard output has one document: that of the command itself.
    report = replace(console, json=False, out=console.err) if console.json else console
    verify_target(arguments, report).require_verified(arguments.target)
    folder = local if local.is_dir() else Path(arguments.save)
    manifest = parse_manifest((folder / MANIFEST).read_bytes())
    return [VerifiedImage(folder, manifest, image) for image in manifest.of_role("image")]


def _choose(found: list[VerifiedImage], variant: str | None) -> VerifiedImage:
    images = {variant_of(each.manifest, each.image): each for each in found}
    if variant is None and len(images) == 1:
        return found[0]
    if variant not in images:
        named = f"--variant {variant}: no such image" if variant else "several images"
        version = found[0].manifest.version if found else "the release"
        raise ConfigError(
            f"{version}: {named}", hint=f"name one with `--variant`: {', '.join(images)}"
        )
    return images[variant]
