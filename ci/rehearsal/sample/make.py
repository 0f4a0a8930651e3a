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
from build.edges.temporary import temporary_folder
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
"""Of zlib: a low one, since a package is read only a few times."""
DESCRIPTION = "snowdrop sample distribution"
STANDIN = "apk-tools-static"
OPTIONAL = ("openssh",)
"""In the image's repository, though no image requests it."""
C_LIBRARIES = ("musl", "libc6")
"""Alpine's and Debian's."""
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
    """One package: its recipe and its bytes."""

    recipe: Recipe
    apk: bytes

    @property
    def file_name(self) -> str:
        """The name that apk derives from an index record."""
        return f"{self.recipe.name}-{self.recipe.version}.apk"


def make_sample(
    *,
    out: Path,
    work: Path,
    mirror: str | None,
    without: frozenset[str] = frozenset(),
    progress: Progress,
) -> Sample:
    """Return the repositories below `out`; make them only when their input has changed.

    `work` keeps the downloads. `without` are the names of packages in real repositories. When
    these are a distribution, the image's repository has only the packages that it lacks to boot.

    Raises:
        ConfigError: no Debian mirror is known.
        MissingToolError: apt, dpkg-deb or Debian's keyring is absent.
        RemoteError: the mirror does not respond.
    """
    out, work = out.resolve(), work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    table = read_table()
    with _locked(work):
        debs = fetch(table, work, mirror=mirror, progress=progress)
        stamp = _stamp(debs, without)
        sample = Sample(out / "builder", out / "image", out / "keys")
        # Both indexes are checked too: a stamp alone does not show that a file was removed.
        indexes = [folder / ARCH / INDEX for folder in (sample.builder, sample.image)]
        if _read_stamp(out) != stamp or not all(index.is_file() for index in indexes):
            with progress.step(f"Make {len(table.recipes)} sample packages"):
                made = make_packages(table, debs)
                _write_all(out, made, without, stamp)
    return sample


@cache
def rehearsal_key() -> SigningKey:
    """Return the key of the sample; it is public, so its signatures authenticate nothing."""
    return derive_key(b"snowdrop rehearsal", KEY_NAME)


def make_packages(table: Table, debs: Sequence[Deb]) -> dict[str, Made]:
    """Return every package of the table, by name."""
    key = rehearsal_key()
    # dpkg-deb takes most of the time, and it is a separate process: one for each processor.
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
    """Return `names` with all dependencies, and packages whose install_if is met.

    Raises:
        BuildError: no package provides a dependency.
    """
    providers = _providers(made)
    found: set[str] = set()
    todo = list(names)
    while todo:
        need = todo.pop()
        provider = providers.get(need)
        if provider is None:
            raise BuildError(f"sample: no package provides {need}, expected one in recipes.toml")
        if provider in found:
            continue
        found.add(provider)
        todo += made[provider].recipe.depends
        todo += [
            name
            for name, package in made.items()
            if package.recipe.install_if and found.issuperset(package.recipe.install_if)
        ]
    return found


def _providers(made: Mapping[str, Made]) -> dict[str, str]:
    """Return the package that provides each name; a package's own name comes first."""
    providers = {
        provided.partition("=")[0]: name
        for name, package in made.items()
        for provided in package.recipe.provides
    }
    return providers | {name: name for name in made}


def _complete(
    recipe: SampleRecipe, contents: Mapping[str, Contents], versions: Mapping[str, str]
) -> Recipe:
    """Return the package of `recipe` with its files, its scripts and abuild's fields."""
    debs = [contents[name] for name in recipe.sources]
    package = recipe.package
    version = package.version or versions[recipe.sources[0]]
    entries = {**taken_entries(recipe, debs), **own_entries(recipe), **_special_entries(recipe)}
    if recipe.modules:
        entries |= kernel_entries(debs[0], recipe.modules)
    entries = with_modes(entries, recipe.modes)
    needed, provided = linked_names(entries.values(), version)
    return replace(
        package,
        version=version,
        epoch=max((deb.epoch for deb in debs), default=package.epoch),
        depends=(*package.depends, *needed),
        provides=(*package.provides, *provided),
        scripts=own_scripts(recipe),
        entries=tuple(entries.values()),
    )


def _special_entries(recipe: SampleRecipe) -> dict[str, Entry]:
    """Return the entries that come neither from Debian nor from files/."""
    files: list[tuple[str, int, bytes]] = []
    match recipe.name:
        case "apk-tools-static":
            files = standin_entries()
        case "mkinitfs":
            files = [("sbin/mkinitfs", 0o755, (HERE / "programs" / "mkinitfs.sh").read_bytes())]
        case "alpine-keys":
            files = [(f"usr/share/apk/keys/{KEY_NAME}", 0o644, rehearsal_key().public_pem())]
    return {path: Entry(path, mode, "file", content) for path, mode, content in files}


def is_distribution(names: frozenset[str]) -> bool:
    """Return whether repositories with packages of these `names` are a whole distribution.

    Others only add packages to one, and have no C library.
    """
    return not names.isdisjoint(C_LIBRARIES)


def _chosen(made: Mapping[str, Made], without: frozenset[str]) -> dict[str, set[str]]:
    """Return the names of the packages in each repository."""
    builder = closure(made, (*lists.BUILDER_PACKAGES, STANDIN))
    if not is_distribution(without):
        image = closure(made, (*lists.IMAGE_PACKAGES, *OPTIONAL, STANDIN)) - without
        return {"builder": builder, "image": image}
    # apk would choose a library of Debian's over the real repository's for its newer version.
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
    with temporary_folder(f"{out.name}.new-", out.parent) as folder:
        new = folder / out.name
        for repository, names in _chosen(made, without).items():
            write_repository(new / repository, [made[name] for name in sorted(names)], repository)
        (new / "keys").mkdir()
        (new / "keys" / KEY_NAME).write_bytes(rehearsal_key().public_pem())
        (new / STAMP).write_text(stamp)
        # The stamp is in the folder, so an interrupted run leaves no stamp or a complete folder.
        shutil.rmtree(out, ignore_errors=True)
        new.rename(out)


def _stamp(debs: Sequence[Deb], without: frozenset[str]) -> str:
    """Return a digest of the repositories' whole input."""
    digest = hashlib.sha256()
    for deb in debs:
        digest.update(f"{deb.name} {deb.version} {deb.sha256}\n".encode())
    digest.update(f"{sorted(without)}\n".encode())
    for entry, _, content in standin_entries():
        digest.update(f"{entry}\0".encode())
        digest.update(hashlib.sha256(content).digest())
    writing = HERE.parents[2] / "build" / "apk"
    for folder in (HERE, writing):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            # Folders of tools are no source: __pycache__, .ruff_cache and the like.
            if path.is_file() and not any(part[0] in "._" for part in name.parts[:-1]):
                digest.update(f"{name}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest() + "\n"


def _read_stamp(out: Path) -> str | None:
    return (out / STAMP).read_text() if (out / STAMP).is_file() else None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock `folder`; wait while another process makes a sample in it (flock(2))."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
