"""Snapshots for the tests of pushing one and of finding it again."""

import shutil
from pathlib import Path

from build.snapshot.archive import write_archive
from build.snapshot.fetch import Fetcher
from build.snapshot.lock import Lock, dump_lock
from build.snapshot.restore import fill_store
from build.snapshot.store import Store
from ci.config import read_config
from ci.rehearsal.github.state import StoredAsset, StoredRelease, World
from ci.release.snapshots import snapshot_sources
from tests.publish.release import Counted
from tests.snapshot.served import Notes
from tests.snapshot.test_kept import no_pause

TOKEN = {"GITHUB_TOKEN": "no-secret-at-all"}
URL = "http://127.0.0.1:9/v3.24/main"
"""Repository of the locks; nothing listens there."""


def store_of(folder: Path) -> Store:
    """Return the store of the configuration in `folder`."""
    return Store(folder / ".snowdrop" / "store")


def refill(config: Path, lock: Lock, **environment: str) -> list[str]:
    """Empty the store, fill it as a build does, and return the results of the sources."""
    folder, notes = config.parent, Notes()
    shutil.rmtree(folder / ".snowdrop" / "store")
    read = read_config(config)
    sources = snapshot_sources(read, environment, no_pause)
    fill_store(read.build, lock, store_of(folder), Fetcher(no_pause), notes, sources)
    return notes.lines


def cut(content: bytes) -> bytes:
    """Return an archive without its end."""
    return content[:-3000]


def flip(content: bytes) -> bytes:
    """Return an archive with one byte of its first package changed."""
    at = content.index(b".apk\0") + 600
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def archive_of(folder: Path, lock: Lock) -> bytes:
    """Return the archive of `lock`, from the store of the configuration in `folder`."""
    path = folder / "made.tar"
    write_archive(path, lock, store_of(folder), trust_root=None, progress=Counted())
    return path.read_bytes()


def add_release(
    world: World, folder: Path, tag: str, lock: Lock, archive: bytes | None = None
) -> None:
    """Add a published release with a lock and a snapshot archive."""
    files = {
        "release.lock": dump_lock(lock),
        f"snowdrop-{tag}-snapshot.tar": archive or archive_of(folder, lock),
    }
    release = StoredRelease(
        number=world.next_number(),
        tag=tag,
        commitish="main",
        name=tag,
        body="",
        draft=False,
        prerelease=False,
        created=world.now(),
        published=world.now(),
    )
    for name, content in files.items():
        number = world.next_number()
        world.blob(number).write_bytes(content)
        release.assets.append(
            StoredAsset(
                number=number,
                name=name,
                label=None,
                content_type="application/octet-stream",
                size=len(content),
                sha256=None,
                state="uploaded",
                created=world.now(),
            )
        )
    world.releases[release.number] = release
    world.tags[tag] = "5" * 40
