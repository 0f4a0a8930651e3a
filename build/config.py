"""Image configuration in release.toml as frozen values; every error is one line.

A path in the file is relative to the folder of the file, so that a configuration can be
moved together with the files it names.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.errors import ConfigError
from build.firstboot.packages import DEPENDS

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
    """Name, version and source commit of what is built."""

    name: str
    """Prefix of every artifact's name."""
    version: str
    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One table of a TOML file that is read key by key; what nobody asked for is unknown."""

    file: Path
    name: str
    values: Mapping[str, Any]
    """As tomllib gives them: not looked at yet."""

    def fail(self, key: str, found: object, allowed: str) -> ConfigError:
        """Return the one line that names file, key, value and what is allowed."""
        where = f"{self.name}.{key}" if self.name else key
        return ConfigError(f"{self.file}: {where} = {_shown(found)}: {allowed}")

    def text(
        self,
        key: str,
        *,
        allowed: str,
        default: str | None = None,
        pattern: re.Pattern[str] | None = None,
    ) -> str:
        """Return the string at `key`; without `default` it must be there."""
        value = self.values.get(key, default)
        if value is None:
            raise self.fail(key, None, allowed)
        if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
            raise self.fail(key, value, allowed)
        return value

    def texts(
        self,
        key: str,
        *,
        allowed: str,
        default: Sequence[str] | None = None,
        pattern: re.Pattern[str] | None = None,
    ) -> tuple[str, ...]:
        """Return the list of strings at `key`, in the order written, each once."""
        value = self.values.get(key, default)
        if value is None:
            raise self.fail(key, None, allowed)
        if not isinstance(value, (list, tuple)):
            raise self.fail(key, value, allowed)
        for item in value:
            if not isinstance(item, str) or not item or (pattern and not pattern.fullmatch(item)):
                raise self.fail(key, item, allowed)
        if len(set(value)) != len(value):
            twice = next(item for item in value if list(value).count(item) > 1)
            raise self.fail(key, twice, "each entry once")
        return tuple(value)

    def number(self, key: str, *, allowed: str, default: int, low: int, high: int) -> int:
        """Return the whole number at `key`, from `low` to `high`."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.fail(key, value, allowed)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the true or false at `key`."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, value, "true or false")
        return value

    def path(self, key: str, *, allowed: str, default: str | None = None) -> Path:
        """Return the path at `key`, taken from the folder of the file."""
        written = self.text(key, allowed=allowed, default=default)
        # "a/../b" is told as "b" in messages; resolve() would show the whole path instead.
        return Path(os.path.normpath(self.file.parent / written))

    def section(self, key: str, *, needed: bool = True) -> "Section":
        """Return the table at `key`; empty when it is absent and not needed."""
        value = self.values.get(key)
        if value is None and not needed:
            value = {}
        if not isinstance(value, dict):
            raise self.fail(key, value, "a table")
        return Section(self.file, f"{self.name}.{key}" if self.name else key, value)

    def only(self, *known: str) -> None:
        """Refuse a key that is not in `known`.

        Raises:
            ConfigError: naming the first unknown key and those that there are.
        """
        for key, value in self.values.items():
            if key not in known:
                raise self.fail(key, value, f"unknown key, there is: {', '.join(sorted(known))}")


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


def read_section(file: Path) -> Section:
    """Return the whole file as one section.

    Raises:
        ConfigError: it cannot be read, is not UTF-8 or is not TOML (line and column given).
    """
    try:
        return Section(file, "", tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such file", hint="name the configuration with `--config FILE`"
        ) from None
    except (OSError, ValueError) as error:
        # TOMLDecodeError and UnicodeDecodeError are ValueErrors. CPython raises a plain
        # ValueError for a number of more than 4,300 digits.
        raise ConfigError(f"{file}: {error}") from None


def parse_size(text: str) -> int | None:
    """Return a size such as `512 MiB` or `1 GiB` in bytes, or None if it is not a size.

    >>> parse_size("512 MiB") == 512 * 1024 * 1024
    True
    """
    number, _, unit = text.partition(" ")
    if not number.isascii() or not number.isdigit() or unit not in UNITS:
        return None
    return int(number) * UNITS[unit]


def read_build_config(file: Path) -> BuildConfig:
    """Return the image configuration in release.toml.

    Raises:
        ConfigError: one line with file, key, value and what is allowed.
    """
    top = read_section(file)
    snapshot, builder = top.section("snapshot"), top.section("builder")
    snapshot.only("branch", "repositories", "mirrors", "keys", "lock", "store", "work")
    builder.only("repositories", "mirrors", "keys", "packages")
    source = _source(snapshot)
    images = top.section("image")
    if not images.values:
        raise images.fail("VARIANT", None, "at least one table, such as [image.droplet]")
    return BuildConfig(
        file=file,
        branch=snapshot.text("branch", allowed="Alpine's branch: v3.24", pattern=BRANCH),
        source=source,
        builder_source=_source(builder, source),
        builder_packages=_packages(builder),
        images={name: _image(images.section(name), name) for name in sorted(images.values)},
        lock=snapshot.path("lock", allowed="a path", default="release.lock"),
        store=snapshot.path("store", allowed="a path", default=".snowdrop/store"),
        work=snapshot.path("work", allowed="a path", default=".snowdrop/work"),
    )


def _source(section: Section, otherwise: Source | None = None) -> Source:
    if otherwise and "repositories" not in section.values:
        return otherwise
    return Source(
        repositories=section.texts("repositories", allowed="a list of URLs or folders"),
        mirrors=section.texts("mirrors", allowed="a list of URLs", default=()),
        keys=section.path("keys", allowed="a folder of *.rsa.pub files"),
        base=section.file.parent,
    )


def _packages(section: Section) -> tuple[str, ...]:
    return section.texts("packages", allowed="a list of package names", pattern=NAME)


def _image(section: Section, variant: str) -> ImageConfig:
    section.only("arch", "disk", "packages", "services", "overlay", "kernel_options", "accept")
    if not re.fullmatch(r"[a-z][a-z0-9]*", variant):
        raise section.fail("VARIANT", variant, "lower-case letters and digits")
    arch = section.text("arch", allowed="one of: " + ", ".join(ARCHITECTURES))
    if arch not in ARCHITECTURES:
        raise section.fail("arch", arch, "one of: " + ", ".join(ARCHITECTURES))
    allowed = "a size from 64 MiB to 2048 GiB, such as 512 MiB or 1 GiB"
    written = section.text("disk", allowed=allowed)
    disk = parse_size(written)
    if disk is None or not 64 * MIB <= disk <= 2048 * 1024 * MIB:
        raise section.fail("disk", written, allowed)
    services = section.section("services", needed=False)
    services.only(*RUNLEVELS)
    return ImageConfig(
        variant=variant,
        arch=arch,
        disk=disk,
        packages=_packages(section),
        services={
            level: services.texts(level, allowed="a list of service names", pattern=NAME)
            for level in RUNLEVELS
            if level in services.values
        },
        overlay=section.path("overlay", allowed="a folder")
        if "overlay" in section.values
        else None,
        kernel_options=section.text(
            "kernel_options",
            allowed="words of letters, digits and =,._:/-",
            default="",
            pattern=re.compile(r"[A-Za-z0-9=,._:/ -]*"),
        ),
        accept=section.texts(
            "accept", allowed="a list of `RULE /PATH: REASON`", default=(), pattern=ACCEPT
        ),
    )


def _shown(value: object) -> str:
    return "nothing" if value is None else json.dumps(value, default=str)
