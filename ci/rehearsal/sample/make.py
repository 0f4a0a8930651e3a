"""Signed repositories for the builder and the image, made from Debian's packages."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from build.apk.index import INDEX
from build.apk.writing import Entry, Recipe, SigningKey, derive_key, write_index, write_package
from build.edges.progress import Progress
from build.errors import BuildError
from ci.rehearsal.sample import package_lists as lists
from ci.rehearsal.sample.convert import (
    Contents,
    linked_names,
    own_entries,
    own_scripts,
    read_deb,
    taken_entries,
    with_modes,
)
from ci.rehearsal.sample.debian import Deb, apk_version, fetch
from ci.rehearsal.sample.kernel import kernel_entries
from ci.rehearsal.sample.recipes import HERE, SampleRecipe, Table, read_table
from ci.rehearsal.sample.standin import standin_entries

ARCH = "x86_64"
KEY_NAME = "rehearsal-only.rsa.pub"
LEVEL = 2
"""Of zlib: the packages are read once and thrown away."""
DESCRIPTION = "snowdrop sample distribution"
STANDIN = "apk-tools-static"
OPTIONAL = ("openssh",)
"""In the repository of the image without being asked for."""
STAMP = "sample-stamp"


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample distribution on disk."""

    builder: Path
    """Repository of the builder: the folder above `x86_64/`."""
    image: Path
    """Repository of the image."""
    keys: Path
    """Folder with the one key that signs both."""


@dataclass(frozen=True, slots=True)
class Made:
    """One package as bytes, with what a choice of packages needs to know of it."""

    recipe: Recipe
    apk: bytes

    @property
    def file_name(self) -> str:
        """As the index of a repository wants it."""
        return f"{self.recipe.name}-{self.recipe.version}.apk"


def make_sample(
    *,
    out: Path,
    work: Path,
    mirror: str | None,
    without: frozenset[str] = frozenset(),
    progress: Progress,
) -> Sample:
    """Return the repositories below `out`, made anew only when something of them changed.

    `work` keeps what was fetched. `without` are the names that a real repository carries:
    when there are any, the image's repository holds only what that one lacks to boot.

    Raises:
        ConfigError: no Debian mirror is known.
        MissingToolError: apt, dpkg-deb or Debian's keyring is absent.
        RemoteError: the mirror does not answer.
    """
    out, work = out.resolve(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    table = read_table()
    with _alone(work):
        debs = fetch(table, work, mirror=mirror, progress=progress)
        stamp = _stamp(debs, without)
        sample = Sample(out / "builder", out / "image", out / "keys")
        indexes = [folder / ARCH / INDEX for folder in (sample.builder, sample.image)]
        if _text(out / STAMP) != stamp or not all(index.is_file() for index in indexes):
            with progress.step(f"Make {len(table.recipes)} sample packages"):
                made = make_packages(table, debs)
                _write_all(out, made, without, stamp)
    return sample


@cache
def rehearsal_key() -> SigningKey:
    """Return the key of the sample: anybody can derive it, so it proves nothing."""
    return derive_key(b"snowdrop rehearsal", KEY_NAME)


def make_packages(table: Table, debs: Sequence[Deb]) -> dict[str, Made]:
    """Return every package of the table, by name."""
    key = rehearsal_key()
    # The time goes to dpkg-deb, a process of its own: as many at once as there are processors.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        read = pool.map(read_deb, [deb.path for deb in debs])
        contents = {deb.name: content for deb, content in zip(debs, read, strict=True)}
    versions = {deb.name: apk_version(deb.version) for deb in debs}
    made = {}
    for recipe in table.recipes:
        package = _complete(recipe, contents, versions)
        made[recipe.name] = Made(package, write_package(package, key, level=LEVEL))
    return made


def closure(made: Mapping[str, Made], names: Sequence[str]) -> set[str]:
    """Return `names` with all that they need, and what comes by itself where both are.

    Raises:
        BuildError: something needs what no package gives.
    """
    givers = _givers(made)
    found: set[str] = set()
    todo = list(names)
    while todo:
        need = todo.pop()
        giver = givers.get(need)
        if giver is None:
            raise BuildError(f"sample: no package gives {need}, expected one in recipes.toml")
        if giver in found:
            continue
        found.add(giver)
        todo += made[giver].recipe.depends
        todo += [
            name
            for name, package in made.items()
            if package.recipe.install_if and found.issuperset(package.recipe.install_if)
        ]
    return found


def _givers(made: Mapping[str, Made]) -> dict[str, str]:
    """Return the package that gives each name; its own name counts first."""
    givers = {
        provided.partition("=")[0]: name
        for name, package in made.items()
        for provided in package.recipe.provides
    }
    return givers | {name: name for name in made}


def _complete(
    recipe: SampleRecipe, contents: Mapping[str, Contents], versions: Mapping[str, str]
) -> Recipe:
    """Return the package of `recipe` with its files, its scripts and what abuild would add."""
    debs = [contents[name] for name in recipe.sources]
    package = recipe.package
    version = package.version or versions[recipe.sources[0]]
    entries = {**taken_entries(recipe, debs), **own_entries(recipe), **_special_entries(recipe)}
    if recipe.modules:
        entries |= kernel_entries(debs[0], recipe.modules)
    entries = with_modes(entries, recipe.modes)
    needs, gives = linked_names(entries.values(), version)
    return replace(
        package,
        version=version,
        epoch=max((deb.epoch for deb in debs), default=package.epoch),
        depends=(*package.depends, *needs),
        provides=(*package.provides, *gives),
        scripts=own_scripts(recipe),
        entries=tuple(entries.values()),
    )


def _special_entries(recipe: SampleRecipe) -> dict[str, Entry]:
    """Return the entries that are neither Debian's nor plain files of ours."""
    files: list[tuple[str, int, bytes]] = []
    match recipe.name:
        case "apk-tools-static":
            files = standin_entries()
        case "mkinitfs":
            files = [("sbin/mkinitfs", 0o755, (HERE / "programs" / "mkinitfs.sh").read_bytes())]
        case "alpine-keys":
            files = [(f"usr/share/apk/keys/{KEY_NAME}", 0o644, rehearsal_key().public_pem())]
    return {path: Entry(path, mode, "file", content) for path, mode, content in files}


def _chosen(made: Mapping[str, Made], without: frozenset[str]) -> dict[str, set[str]]:
    """Return which packages are in which repository."""
    builder = closure(made, (*lists.BUILDER_PACKAGES, STANDIN))
    if not without:
        image = closure(made, (*lists.IMAGE_PACKAGES, *OPTIONAL, STANDIN))
        return {"builder": builder, "image": image}
    # Beside a real distribution a library of Debian's would be taken for a newer one of its own.
    image = {name for name in lists.BESIDE_ALPINE if name not in without}
    if not without & {"apk-tools", STANDIN}:
        image |= closure(made, [STANDIN])
    return {"builder": builder, "image": image}


def write_repository(folder: Path, packages: Sequence[Made], title: str) -> None:
    """Write `packages` and their signed index into the new folder `folder/x86_64`."""
    (folder / ARCH).mkdir(parents=True)
    for package in packages:
        (folder / ARCH / package.file_name).write_bytes(package.apk)
    apks = [package.apk for package in packages]
    index = write_index(apks, rehearsal_key(), f"{DESCRIPTION} {title}", level=LEVEL)
    (folder / ARCH / INDEX).write_bytes(index)


def _write_all(out: Path, made: Mapping[str, Made], without: frozenset[str], stamp: str) -> None:
    """Write both repositories and the key into a new folder, then replace the old one with it."""
    new = out.with_name(out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    for repository, names in _chosen(made, without).items():
        write_repository(new / repository, [made[name] for name in sorted(names)], repository)
    (new / "keys").mkdir()
    (new / "keys" / KEY_NAME).write_bytes(rehearsal_key().public_pem())
    (new / STAMP).write_text(stamp)
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)


def _stamp(debs: Sequence[Deb], without: frozenset[str]) -> str:
    """Return a digest of all that the repositories are made of."""
    digest = hashlib.sha256()
    for deb in debs:
        digest.update(f"{deb.name} {deb.version} {deb.sha256}\n".encode())
    digest.update(f"{sorted(without)}\n".encode())
    writing = HERE.parents[2] / "build" / "apk"
    for folder in (HERE, writing):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            # Folders of tools are no source: __pycache__, .ruff_cache and the like.
            if path.is_file() and not any(part[0] in "._" for part in name.parts[:-1]):
                digest.update(f"{name}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest() + "\n"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else makes a sample in `folder`."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
