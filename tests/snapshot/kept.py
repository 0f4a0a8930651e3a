"""A small snapshot with real bytes: signed packages, their index and key, lock and store."""

import hashlib
from dataclasses import replace
from pathlib import Path

from build.apk.index import read_index
from build.apk.writing import write_index
from build.snapshot.lock import Lock, LockedPackage
from build.snapshot.store import Store
from tests.apk.makers import key, package, trusted
from tests.snapshot.conftest import lock_of

URL = "https://mirror.example/alpine/v3.24/main"
MIRROR = "https://other.example/alpine"


def keep(store: Store, *names: str, version: str = "1.0-r0", url: str = URL) -> Lock:
    """Return a lock of packages of these names, all that it names being in `store`."""
    files = {name: package(name, version) for name in names}
    raw = write_index(files.values(), key(), "tests")
    index = read_index(raw, trusted(), where="index")
    packages = [
        LockedPackage(
            name=record.name,
            version=record.version,
            arch="x86_64",
            repository=0,
            file=record.file_name,
            sha256=store.put(files[record.name]),
            size=record.size,
            checksum=record.checksum,
            origin=record.origin,
            commit="",
            license=record.license,
            build_time=record.build_time,
            order={"apk": position, "droplet": position},
        )
        for position, record in enumerate(sorted(index.records, key=lambda each: each.name), 1)
    ]
    (served,) = lock_of(*packages).repositories
    repository = replace(
        served,
        url=url,
        index_sha256=store.put(raw),
        index_size=len(raw),
        key=key().name,
        key_sha256=store.put(key().public_pem()),
    )
    return replace(lock_of(*packages), epoch=packages[0].build_time, repositories=(repository,))


def spoil(store: Store, sha256: str) -> Path:
    """Change one byte of a blob and return its path."""
    path = store.path(sha256)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    assert hashlib.sha256(content).hexdigest() != sha256
    return path
