"""An archive is the whole snapshot with equal bytes each time; nothing else is accepted."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from build.apk.streams import BLOCK, tar_header
from build.config import BuildConfig
from build.edges.progress import Silent
from build.errors import ConfigError, RemoteError, SnapshotError, SnowdropError, VerificationError
from build.snapshot.archive import open_archive, write_archive
from build.snapshot.fetch import mirrored
from build.snapshot.lock import Lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.store import Store
from tests.distribution import Distribution
from tests.snapshot.kept import MIRROR, URL, keep, spoil
from tests.snapshot.test_pin import as_root, config, engine_for, pinned

PACKAGE = "image/0/x86_64/hello-1.0-r0.apk"
Members = list[tuple[str, bytes]]


def archived(folder: Path, lock: Lock, store: Store, name: str = "archive.tar") -> Path:
    path = folder / name
    write_archive(path, lock, store, trust_root=b"{}", progress=Silent())
    return path


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Lock, Store]:
    store = Store(tmp_path / "store")
    return keep(store, "hello", "world"), store


def test_two_archives_have_equal_bytes_and_everything_can_be_read_back(
    kept: tuple[Lock, Store], tmp_path: Path
) -> None:
    lock, store = kept
    first = write_archive(tmp_path / "1.tar", lock, store, trust_root=b"{}", progress=Silent())
    content = (tmp_path / "1.tar").read_bytes()
    assert (first.size, first.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    elsewhere = Store(tmp_path / "elsewhere")
    archive = open_archive(tmp_path / "1.tar")
    archive.fill(elsewhere, Silent())
    assert archive.lock == lock
    assert dict(elsewhere.blobs()) == dict(store.blobs())
    again = write_archive(tmp_path / "2.tar", lock, elsewhere, trust_root=b"{}", progress=Silent())
    assert again == first


def test_tar_lists_plain_files_of_root_in_order(kept: tuple[Lock, Store], tmp_path: Path) -> None:
    lock, store = kept
    with tarfile.open(archived(tmp_path, lock, store)) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [
            "README.txt",
            "image/0/x86_64/APKINDEX.tar.gz",
            PACKAGE,
            "image/0/x86_64/world-1.0-r0.apk",
            "keys/tests.rsa.pub",
            "release.lock",
            "snapshot.sha256",
            "trust/trusted_root.json",
        ]
        for member in members:
            assert member.isreg(), member
            assert (member.uid, member.uname, member.mode) == (0, "root", 0o644)
            assert (member.mtime, member.pax_headers) == (lock.epoch, {})


def test_a_missing_or_damaged_blob_prevents_an_archive(
    kept: tuple[Lock, Store], tmp_path: Path
) -> None:
    lock, store = kept
    spoil(store, lock.packages[0].sha256)
    with pytest.raises(VerificationError, match=f"expected {lock.packages[0].sha256}"):
        archived(tmp_path, lock, store)
    store.path(lock.packages[0].sha256).unlink()
    with pytest.raises(SnapshotError, match="no blob"):
        archived(tmp_path, lock, store)
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_an_archive_serves_only_the_mirrors_that_it_was_made_from(
    kept: tuple[Lock, Store], tmp_path: Path
) -> None:
    lock, store = kept
    fetcher = open_archive(archived(tmp_path, lock, store)).fetcher(tmp_path)
    hello = store.read(lock.packages[0].sha256)
    for url in (URL, mirrored(URL, MIRROR)):
        assert fetcher.fetch(url, "x86_64/hello-1.0-r0.apk", limit=len(hello)) == hello
    with pytest.raises(RemoteError, match="longer than"):
        fetcher.fetch(URL, "x86_64/hello-1.0-r0.apk", limit=len(hello) - 1)
    for url, name in (("https://else.example/v3.24/main", "hello"), (URL, "hello-1.1")):
        with pytest.raises(RemoteError, match=f"has no {url}/x86_64/{name}") as refused:
            fetcher.fetch(url, f"x86_64/{name}", limit=1 << 20)
        assert "release.toml" in refused.value.hint


def rewritten(path: Path, change: Callable[[Members], Members]) -> None:
    """Rewrite the archive at `path` with other members, as well-formed as before."""
    with tarfile.open(path) as archive:
        mtime = int(archive.getmembers()[0].mtime)
        members = [
            (member.name, file.read())
            for member in archive
            if (file := archive.extractfile(member))
        ]
    out = io.BytesIO()
    for name, each in change(members):
        out.write(tar_header(name, len(each), mtime=mtime) + each + bytes(-len(each) % BLOCK))
    path.write_bytes(out.getvalue() + bytes(2 * BLOCK))


def put(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda path: rewritten(path, lambda all_: sorted({**dict(all_), name: content}.items()))


def without(name: str) -> Callable[[Path], None]:
    return lambda path: rewritten(path, lambda all_: [each for each in all_ if each[0] != name])


def at(offset: int, piece: bytes) -> Callable[[Path], None]:
    """Return what overwrites bytes of the file; the checksum of a header stays as it was."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        first = offset % len(content)
        content[first : first + len(piece)] = piece
        path.write_bytes(content)

    return change


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        member = archive.getmember(PACKAGE)
    content[member.offset_data + member.size - 1] ^= 1
    path.write_bytes(content)


def with_pax(path: Path) -> None:
    with tarfile.open(path) as archive:
        files = [(member, archive.extractfile(member)) for member in archive.getmembers()]
        read = [(member, file.read()) for member, file in files if file]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in read:
            member.pax_headers = {"comment": "more"}
            archive.addfile(member, io.BytesIO(content))


DAMAGES = [
    pytest.param(lambda p: p.write_bytes(b""), "not a snapshot archive", id="empty"),
    pytest.param(lambda p: p.write_bytes(b"\x1f\x8b" * 900), "not a snapshot archive", id="gzip"),
    pytest.param(lambda p: p.write_bytes(bytes(2 * BLOCK)), "has no release.lock", id="no files"),
    pytest.param(lambda p: p.write_bytes(p.read_bytes()[:5000]), "truncated in", id="cut short"),
    pytest.param(lambda p: p.write_bytes(p.read_bytes()[:-BLOCK]), "damaged at byte", id="no end"),
    pytest.param(
        lambda p: p.write_bytes(p.read_bytes() + b"more"), "damaged at byte", id="more behind it"
    ),
    pytest.param(flipped, f"{PACKAGE}: sha256 .* its lock says", id="package changed"),
    pytest.param(
        put("keys/tests.rsa.pub", b"another"), "keys/tests.rsa.pub: sha256", id="key changed"
    ),
    pytest.param(put("keys/tests.rsa.pub", bytes(1 << 17)), "at most 65536", id="key too long"),
    pytest.param(put(PACKAGE, b"short"), f"{PACKAGE}: 5 bytes, its lock says", id="package short"),
    pytest.param(put("README.txt", bytes(1 << 21)), "README.txt: .* at most", id="readme too long"),
    pytest.param(put("snapshot.sha256", b""), "differs from release.lock", id="sums"),
    pytest.param(without(PACKAGE), f"lacks {PACKAGE}", id="package missing"),
    pytest.param(without("keys/tests.rsa.pub"), "lacks keys/tests.rsa.pub", id="key missing"),
    pytest.param(without("release.lock"), "has no release.lock", id="lock missing"),
    pytest.param(
        put("release.lock", b"format = 3\n"), "release.lock has an unknown format", id="lock format"
    ),
    pytest.param(put("image/0/x86_64/evil.apk", b"x"), "not a file that its lock", id="more files"),
    pytest.param(put("../../etc/passwd", b"x"), "not a file that its lock names", id="way out"),
    pytest.param(put("/etc/passwd", b"x"), "not a file that its lock names", id="absolute"),
    pytest.param(at(-2 * BLOCK - 1, b"x"), "damaged after trust/", id="padding"),
    pytest.param(at(0, b"READYOU.txt"), "not a snapshot archive", id="name, old checksum"),
    pytest.param(at(100, b"0000777\0"), "not a snapshot archive", id="mode"),
    pytest.param(at(124, b"-0000000001\0"), "not a snapshot archive", id="negative size"),
    pytest.param(at(156, b"2"), "not a snapshot archive", id="symbolic link"),
    pytest.param(with_pax, "not a snapshot archive", id="pax headers"),
    pytest.param(lambda p: rewritten(p, lambda all_: all_[::-1]), "not sorted", id="order"),
    pytest.param(
        lambda p: rewritten(p, lambda all_: [all_[0], *all_]), "'README.txt' twice", id="twice"
    ),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_bytes_that_the_writer_would_not_write_are_refused(
    damage: Callable[[Path], None], message: str, kept: tuple[Lock, Store], tmp_path: Path
) -> None:
    path = archived(tmp_path, *kept)
    open_archive(path).check(Silent())
    damage(path)
    with pytest.raises(SnowdropError, match=message) as refused:
        open_archive(path).check(Silent())
    assert str(refused.value).startswith(str(path))


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tar", tmp_path):
        with pytest.raises(ConfigError, match=f"^{path}: ") as refused:
            open_archive(path)
        assert "nox -s archive" in refused.value.hint


def installed_by_the_readme(path: Path, folder: Path) -> tuple[str, set[tuple[str, str]]]:
    """Return what the commands of README.txt print, without any network, and what they install."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", path], cwd=folder, check=True)
    text = (folder / "README.txt").read_text()
    commands = "\n".join(re.findall(r"^ {4}(.*)", text, re.MULTILINE))
    done = subprocess.run(
        ["unshare", "--net", "sh", "-e", "-c", commands],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    installed = next((folder / "droplet").glob("**/apk/db/installed")).read_text()
    names = re.findall(r"^P:(.*)", installed, re.MULTILINE)
    versions = re.findall(r"^V:(.*)", installed, re.MULTILINE)
    return done.stdout, set(zip(names, versions, strict=True))


@as_root
def test_a_stranger_installs_by_the_readme_with_plain_apk(
    distribution: Distribution, tmp_path: Path
) -> None:
    wanted = config(tmp_path, [distribution.repository])
    lock = pinned(wanted)
    path = archived(tmp_path, lock, Store(wanted.store))
    said, found = installed_by_the_readme(path, tmp_path / "unpacked")
    assert distribution.apk_version in said
    assert found == {(package.name, package.version) for package in lock.closure("droplet")}


@as_root
def test_pinning_from_an_archive_needs_no_mirror_and_gives_the_same_lock(
    distribution: Distribution, tmp_path: Path
) -> None:
    mirror = tmp_path / "alpine" / "v3.19" / "main"
    shutil.copytree(distribution.repository, mirror, copy_function=shutil.copyfile)
    for folder in (mirror, mirror / "x86_64"):
        folder.chmod(0o755)
    wanted = config(tmp_path, [mirror], mirrors=[str(distribution.mirror)])
    lock = pinned(wanted)
    assert lock.repositories[0].mirrors
    path = archived(tmp_path, lock, Store(wanted.store))
    shutil.rmtree(mirror)
    shutil.rmtree(wanted.store)
    assert pinned_from(path, wanted).id == lock.id
    again = archived(tmp_path, lock, Store(wanted.store), "again.tar")
    assert again.read_bytes() == path.read_bytes()


@as_root
def test_pinning_from_an_archive_trusts_signatures_and_not_its_lock(
    distribution: Distribution, tmp_path: Path
) -> None:
    """A package that was changed together with the lock does not match the signed index."""
    wanted = config(tmp_path, [distribution.repository])
    lock, store = pinned(wanted), Store(wanted.store)
    chrony = next(package for package in lock.packages if package.name == "chrony")
    raw = store.read(chrony.sha256)
    changed = replace(chrony, sha256=store.put(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]))
    packages = tuple(changed if each is chrony else each for each in lock.packages)
    path = archived(tmp_path, replace(lock, packages=packages), store)
    open_archive(path).check(Silent())
    with pytest.raises(VerificationError, match=f"^{chrony.file}: "):
        pinned_from(path, wanted)


def pinned_from(path: Path, wanted: BuildConfig) -> Lock:
    return pin(
        PinRequest(
            config=wanted,
            store=Store(wanted.store),
            engine_for=engine_for,
            progress=Silent(),
            extra_packages=("openrc",),
            fetcher=open_archive(path).fetcher(wanted.source.base),
        )
    )
