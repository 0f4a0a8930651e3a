"""Tools of the tests of the sample's apk: apks to run, repositories made here."""

import hashlib
import io
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from build.apk.rsa import PrivateKey
from build.apk.writing import Entry, Recipe, SigningKey, derive_key, write_index, write_package
from ci.rehearsal.sample.programs.apk.program import main
from ci.rehearsal.sample.standin import standin_entries
from tests.alpine import ALPINE, SMALL

ROOT = Path(__file__).parents[2]
LIBRARIES = ("musl-1.2", "apk-tools-2", "libcrypto3-", "libssl3-", "zlib-")

needs_alpine = pytest.mark.alpine
needs_root = pytest.mark.root

NEW = 1_735_689_600
"""The first second of 2025: every package of these tests is older, every test is later."""

INSTALLING = re.compile(r"^\( *\d+/\d+\) Installing (\S+) \((\S+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Tool:
    """One apk; `command` starts it."""

    name: str
    command: tuple[str, ...]

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it, in an empty environment."""
        argv = [*self.command, *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, env={}, check=False)

    def add(
        self, root: Path, world: "Repositories", *words: str, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run `add` as Snowdrop does."""
        urls = [word for folder in world.folders for word in ("--repository", str(folder))]
        quiet = ("--no-network", "--no-cache", "--no-progress", *options, "add", *words)
        keys = ("--keys-dir", world.keys, "--repositories-file", "/dev/null")
        return self("--arch", "x86_64", "--root", root, *keys, *urls, *quiet)

    def choose(self, base: Path, world: "Repositories", *words: str) -> tuple[int, list[str]]:
        """Return the exit status and the `name-version` of what it would install, in order."""
        root = base / f"choose-{self.name}"
        if not root.exists():
            root.mkdir()
            assert self.add(root, world, options=["--initdb"]).returncode == 0
        finished = self.add(root, world, *words, options=["--simulate"])
        return finished.returncode, ["-".join(one) for one in INSTALLING.findall(finished.stdout)]


@dataclass(frozen=True)
class Imported(Tool):
    """The sample's apk in this process: a choice takes a tenth of the time of a new one."""

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its `main` with these words."""
        out, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            try:
                status = main([str(word) for word in words])
            except SystemExit as end:
                status = int(end.code or 0)
        return subprocess.CompletedProcess(words, status, out.getvalue(), errors.getvalue())


@dataclass(frozen=True)
class Repositories:
    """Folders above x86_64/, and the keys that are trusted."""

    folders: tuple[Path, ...]
    keys: Path


def install_standin(base: Path) -> Tool:
    """Put the files of the sample's package below `base`; it runs isolated, as installed."""
    for path, mode, content in standin_entries():
        target = base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)
    program = str(base / "sbin" / "apk.static")
    return Tool("standin", (sys.executable, "-I", "-S", "-B", program))


def install_apk2(base: Path) -> Tool:
    """Unpack apk 2.14 with its libraries; musl's loader starts it."""
    for path in (SMALL / "x86_64").glob("*.apk"):
        if path.name.startswith(LIBRARIES):
            _unpack(path, base)
    loader = str(base / "lib" / "ld-musl-x86_64.so.1")
    return Tool("apk2", (loader, "--library-path", f"{base}/lib", f"{base}/sbin/apk"))


def _unpack(package: Path, base: Path) -> None:
    with tarfile.open(package, ignore_zeros=True) as archive:
        archive.extractall(base, filter="tar")


def alpine(base: Path, *folders: Path) -> Repositories:
    """Return real Alpine repositories and all keys that are at hand."""
    keys = base / "alpine-keys"
    if not keys.exists():
        shutil.copytree(ALPINE / "keys", keys)
    return Repositories(folders or (SMALL,), keys)


def make_key(seed: bytes = b"tests", name: str = "tests.rsa.pub") -> SigningKey:
    """Return the key of the repositories made here, or another one."""
    return SigningKey(name, _private(seed))


@cache
def _private(seed: bytes) -> PrivateKey:
    # A second of work each.
    return derive_key(seed, "any").private


def recipe(
    name: str,
    version: str = "1-r0",
    entries: Iterable[Entry] = (),
    **more: Any,  # noqa: ANN401
) -> Recipe:
    """Return a small package; `more` is whatever else a recipe has."""
    brought = tuple(entries)
    return Recipe(
        name=name, version=version, description=name, epoch=1_700_000_000, entries=brought, **more
    )


def folder(path: str, mode: int = 0o755, owner: str = "root") -> Entry:
    """Return a folder of a package."""
    return Entry(path, mode, "dir", owner=owner, group=owner)


def file(path: str, text: str | bytes, mode: int = 0o644, owner: str = "root") -> Entry:
    """Return a file of a package."""
    content = text.encode() if isinstance(text, str) else text
    return Entry(path, mode, "file", content=content, owner=owner, group=owner)


def link(path: str, target: str) -> Entry:
    """Return a symbolic link of a package."""
    return Entry(path, 0o777, "symlink", target=target)


def shell(busybox: bytes) -> Recipe:
    """Return a package with what a script needs: a static busybox as shell, two users."""
    users = "root:x:0:0::/:/bin/sh\nfoo:x:77:78::/:/bin/sh\n"
    return recipe(
        "shell",
        entries=[
            *map(folder, ("bin", "dev", "etc")),
            file("bin/busybox", busybox, 0o755),
            link("bin/sh", "busybox"),
            file("etc/passwd", users),
            file("etc/group", "root:x:0:\nfoo:x:78:\n"),
        ],
    )


def publish(base: Path, key: SigningKey, *repositories: Iterable[Recipe]) -> Repositories:
    """Write repositories of the given packages, signed."""
    folders = []
    for number, recipes in enumerate(repositories):
        home = base / f"repository-{number}" / "x86_64"
        home.mkdir(parents=True)
        packages = {f"{r.name}-{r.version}.apk": write_package(r, key, level=1) for r in recipes}
        for name, content in packages.items():
            (home / name).write_bytes(content)
        (home / "APKINDEX.tar.gz").write_bytes(write_index(packages.values(), key, "t", level=1))
        folders.append(home.parent)
    keys = base / "keys"
    keys.mkdir()
    (keys / key.name).write_bytes(key.public_pem())
    return Repositories(tuple(folders), keys)


def tree(root: Path, *, without: Sequence[str]) -> dict[str, tuple[object, ...]]:
    """Return path -> mode, owner, group, content, links and time of all below `root`.

    The time of a file counts where a package gave it, so where it is before `NEW`.
    """
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if any(name == one or name.startswith(f"{one}/") for one in without):
            continue
        status = path.lstat()
        regular = stat.S_ISREG(status.st_mode)
        content = hashlib.sha256(path.read_bytes()).hexdigest() if regular else ""
        target = str(path.readlink()) if path.is_symlink() else ""
        links = status.st_nlink if regular else 0
        time = int(status.st_mtime) if regular and status.st_mtime < NEW else 0
        owner = (status.st_uid, status.st_gid)
        found[name] = (oct(status.st_mode), *owner, content, target, links, time)
    return found
