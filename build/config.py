"""Image configuration in release.toml as frozen values; every error is one line.

A path in the file is relative to the folder of the file, so that a configuration can be
moved together with the files it names.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.apk.info import NAME
from build.firstboot.packages import DEPENDS
from build.tables import Table, read_toml

ARCHITECTURES = ("x86_64",)
ARCHITECTURE = re.compile("|".join(ARCHITECTURES))
RUNLEVELS = ("sysinit", "boot", "default", "shutdown")
ACCEPT = re.compile(r"[a-z][a-z0-9-]* /\S*: \S.*")
BRANCH = re.compile(r"[A-Za-z][A-Za-z0-9.-]*")
MIB = 1024 * 1024
UNITS = {"MiB": MIB, "GiB": 1024 * MIB}
KEPT = re.compile(r"https?://[^\s?#]+|(?!.*://).+")
"""An http(s) URL without a query, or a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Name, version and source commit of what is built."""

    name: str
    """Prefix of every artifact's name."""
    version: str
    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Repositories and the keys that may have signed them."""

    repositories: tuple[str, ...]
    """As written: `http(s)://` or `file://` URLs or folders, each the one above `x86_64/`."""
    mirrors: tuple[str, ...]
    """Mirrors of the same repositories: they differ in what is before `/BRANCH/NAME`."""
    keys: Path
    """Folder of `*.rsa.pub` files, the only trusted keys."""
    base: Path
    """Folder that relative repositories are resolved against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """One `[image.VARIANT]` of release.toml."""

    variant: str
    arch: str
    disk: int
    """Size of the disk in bytes; a multiple of 1 MiB."""
    packages: tuple[str, ...]
    services: Mapping[str, tuple[str, ...]]
    """Services by runlevel."""
    overlay: Path | None
    """Folder of the maintainer's own files, or None."""
    kernel_options: str
    """Added to the kernel's command line, after the options that every image has."""
    accept: tuple[str, ...] = ()
    """Accepted findings of an inspection: `RULE /PATH: REASON`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """Everything in release.toml that pin and build need."""

    file: Path
    branch: str
    """First part of a release's version, Alpine's branch: `v3.24`."""
    source: Source
    builder_source: Source
    builder_packages: tuple[str, ...]
    images: Mapping[str, ImageConfig]
    lock: Path
    store: Path
    work: Path
    """Folder for caches: builder roots, unpacked trees."""
    kept: tuple[str, ...] | None = None
    """URLs or folders of kept snapshots, as written; None when release.toml does not name any."""

    @property
    def choice_sha256(self) -> str:
        """SHA-256 of what determines the packages; a lock with another digest is stale.

        Besides release.toml that is the list of packages that the first-boot service needs.
        """
        chosen = {
            "branch": self.branch,
            "repositories": self.source.repositories,
            "builder": {
                "repositories": self.builder_source.repositories,
                "packages": sorted(self.builder_packages),
            },
            "images": {
                name: {"arch": image.arch, "packages": sorted({*image.packages, *DEPENDS})}
                for name, image in self.images.items()
            },
        }
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def parse_size(text: str) -> int | None:
    """Return a size such as `512 MiB` or `1 GiB` in bytes, or None if it is not a size.

    >>> parse_size("512 MiB") == 512 * 1024 * 1024
    True
    """
    match = re.fullmatch(f"([0-9]+) ({'|'.join(UNITS)})", text)
    return int(match[1]) * UNITS[match[2]] if match else None


def read_build_config(file: Path) -> BuildConfig:
    """Return the image configuration in release.toml.

    Raises:
        ConfigError: one line with file, key, value and what is expected.
    """
    top = read_toml(file)
    snapshot, builder = top.table("snapshot"), top.table("builder")
    snapshot.only("branch", "repositories", "mirrors", "keys", "kept", "lock", "store", "work")
    builder.only("repositories", "mirrors", "keys", "packages")
    source = _source(snapshot)
    images = top.table("image")
    if not images.values:
        raise images.fail("VARIANT", "at least one table, such as [image.droplet]")
    return BuildConfig(
        file=file,
        branch=snapshot.text("branch", expected="Alpine's branch: v3.24", pattern=BRANCH),
        source=source,
        builder_source=_source(builder, source),
        builder_packages=_packages(builder),
        images={name: _image(images.table(name), name) for name in sorted(images.values)},
        lock=snapshot.path("lock", expected="a path", default="release.lock"),
        store=snapshot.path("store", expected="a path", default=".snowdrop/store"),
        work=snapshot.path("work", expected="a path", default=".snowdrop/work"),
        kept=snapshot.strings("kept", expected="a list of http(s) URLs or folders", pattern=KEPT)
        if "kept" in snapshot.values
        else None,
    )


def _source(section: Table, otherwise: Source | None = None) -> Source:
    if otherwise and "repositories" not in section.values:
        return otherwise
    return Source(
        repositories=section.strings("repositories", expected="a list of URLs or folders"),
        mirrors=section.strings("mirrors", expected="a list of URLs", default=()),
        keys=section.path("keys", expected="a folder of *.rsa.pub files"),
        base=Path(section.where).parent,
    )


def _packages(section: Table) -> tuple[str, ...]:
    return section.strings("packages", expected="a list of package names", pattern=NAME)


def _image(section: Table, variant: str) -> ImageConfig:
    section.only("arch", "disk", "packages", "services", "overlay", "kernel_options", "accept")
    if not re.fullmatch(r"[a-z][a-z0-9]{0,63}", variant):
        raise section.fail("VARIANT", "lower-case letters and digits", variant)
    arch = section.text("arch", "one of: " + ", ".join(ARCHITECTURES), pattern=ARCHITECTURE)
    expected = "a size from 64 MiB to 2048 GiB, such as 512 MiB or 1 GiB"
    disk = parse_size(section.text("disk", expected))
    if disk is None or not 64 * MIB <= disk <= 2048 * 1024 * MIB:
        raise section.fail("disk", expected)
    services = section.table("services", required=False)
    services.only(*RUNLEVELS)
    return ImageConfig(
        variant=variant,
        arch=arch,
        disk=disk,
        packages=_packages(section),
        services={
            level: services.strings(level, expected="a list of service names", pattern=NAME)
            for level in RUNLEVELS
            if level in services.values
        },
        overlay=section.path("overlay", expected="a folder")
        if "overlay" in section.values
        else None,
        kernel_options=section.text(
            "kernel_options",
            expected="words of letters, digits and =,._:/-",
            default="",
            pattern=re.compile(r"[A-Za-z0-9=,._:/ -]*"),
        ),
        accept=section.strings(
            "accept", expected="a list of `RULE /PATH: REASON`", default=(), pattern=ACCEPT
        ),
    )
