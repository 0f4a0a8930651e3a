"""release.toml's half about images, as frozen values; every refusal is one line.

A path in the file is relative to the folder of the file, so that a configuration can be
moved together with what it names.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.firstboot.packages import DEPENDS
from build.tables import Table, read_toml

ARCHITECTURES = ("x86_64",)
RUNLEVELS = ("sysinit", "boot", "default", "shutdown")
ACCEPT = re.compile(r"[a-z][a-z0-9-]* /\S*: \S.*")
NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
"""A package or service name as Alpine writes them."""
BRANCH = re.compile(r"[A-Za-z][A-Za-z0-9.-]*")
MIB = 1024 * 1024
UNITS = {"MiB": MIB, "GiB": 1024 * MIB}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an image's sources come from."""

    name: str
    """Prefix of every artifact."""
    version: str
    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where packages come from, and who may have signed them."""

    repositories: tuple[str, ...]
    """As written: `http(s)://` or `file://` URLs or folders, each the one above `x86_64/`."""
    mirrors: tuple[str, ...]
    """Other places of the same repositories: what stands before `/BRANCH/NAME` differs."""
    keys: Path
    """A folder of `*.rsa.pub` files: the only keys that are trusted."""
    base: Path
    """The folder that a repository written as a relative path is taken from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """One image that release.toml asks for."""

    variant: str
    arch: str
    disk: int
    """Size of the disk in bytes; a multiple of 1 MiB."""
    packages: tuple[str, ...]
    services: Mapping[str, tuple[str, ...]]
    """Services by runlevel."""
    overlay: Path | None
    """A folder of the maintainer's own files, or None."""
    kernel_options: str
    """Words for the kernel's command line, after those that every image has."""
    accept: tuple[str, ...] = ()
    """Findings of an inspection that are meant so: `RULE /PATH: REASON`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """All that pin and build want to know of release.toml."""

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
    """Folder for what can be made again: builder roots, unpacked trees."""

    @property
    def choice_sha256(self) -> str:
        """Digest of what chooses packages; a lock made from another choice is stale.

        Besides release.toml that is what the first-boot service needs: solved into every image.
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
    """Return a size such as `512 MiB` or `1 GiB` in bytes, None when it is no such size.

    >>> parse_size("512 MiB") == 512 * 1024 * 1024
    True
    """
    number, _, unit = text.partition(" ")
    if not number.isascii() or not number.isdigit() or unit not in UNITS:
        return None
    return int(number) * UNITS[unit]


def read_build_config(file: Path) -> BuildConfig:
    """Return what release.toml says about images.

    Raises:
        ConfigError: one line with file, key, value and what is expected.
    """
    top = read_toml(file)
    snapshot, builder = top.table("snapshot"), top.table("builder")
    snapshot.only("branch", "repositories", "mirrors", "keys", "lock", "store", "work")
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
    if not re.fullmatch(r"[a-z][a-z0-9]*", variant):
        raise section.fail("VARIANT", "lower-case letters and digits", variant)
    arch = section.text("arch", expected="one of: " + ", ".join(ARCHITECTURES))
    if arch not in ARCHITECTURES:
        raise section.fail("arch", "one of: " + ", ".join(ARCHITECTURES))
    expected = "a size from 64 MiB to 2048 GiB, such as 512 MiB or 1 GiB"
    written = section.text("disk", expected)
    disk = parse_size(written)
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
