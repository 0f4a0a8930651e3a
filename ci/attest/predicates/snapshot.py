"""The snapshot, with every signature in it verified again.

The lock names bytes by SHA-256. Here the chain that `pin` verified is verified once more: from the
trusted keys of the checkout over the indexes to each package in the archive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.apk.index import INDEX, Index, package_folder, read_index
from build.apk.info import PackageInfo
from build.apk.signature import Keyring
from build.edges.progress import Progress
from build.errors import VerificationError
from build.snapshot.archive import Archive
from build.snapshot.lock import Lock, LockedPackage
from build.snapshot.verify_package import check_package


@dataclass(frozen=True, slots=True)
class VerifiedSnapshot:
    """The contents of a snapshot archive, with every signature verified."""

    lock: Lock
    infos: Mapping[str, PackageInfo]
    """The `.PKGINFO` of each package, by its name in the archive."""

    def members(self, closure: str) -> dict[str, LockedPackage]:
        """Return the packages of a closure by their names in the archive, in install order."""
        return {member_name(self.lock, package): package for package in self.lock.closure(closure)}


def member_name(lock: Lock, package: LockedPackage) -> str:
    """Return the name of a package in the archive: `image/0/x86_64/musl-1.2.5-r9.apk`."""
    repository = lock.repositories[package.repository]
    folder = package_folder(package.arch, repository.arch)
    return f"{repository.role}/{package.repository}/{folder}/{package.file}"


def verify_snapshot(
    archive: Archive, keys: Mapping[str, Path], progress: Progress
) -> VerifiedSnapshot:
    """Return the contents of `archive`, after verifying every digest and every signature.

    `keys`: the folder of trusted keys by role, `image` and `builder`.

    Raises:
        ConfigError: a folder of keys cannot be used.
        VerificationError: a member differs from the lock, or a signature is not valid.
        SnapshotError: an index or a package is of format 3.
    """
    lock = archive.lock
    rings = {role: Keyring.from_folder(folder, lock.arch) for role, folder in keys.items()}
    total = sum(package.size for package in lock.packages)
    infos: dict[str, PackageInfo] = {}
    with progress.step(f"Verify {archive.path.name}", total=total) as step:
        indexes = []
        for number, repository in enumerate(lock.repositories):
            archive.read(f"keys/{repository.key}")
            name = f"{repository.role}/{number}/{repository.arch}/{INDEX}"
            index = read_index(archive.read(name), rings[repository.role], where=name)
            if index.signer != repository.key:
                raise VerificationError(
                    f"{name}: signed by {index.signer}, the lock names {repository.key}"
                )
            indexes.append(index)
        for package in lock.packages:
            ring = rings[lock.repositories[package.repository].role]
            name = member_name(lock, package)
            infos[name] = _check(archive.read(name), package, indexes[package.repository], ring)
            step.advance(package.size)
    return VerifiedSnapshot(lock, infos)


def snapshot_predicate(snapshot: VerifiedSnapshot) -> dict[str, object]:
    """Return each verified index, with its key and its number of packages, and the closures."""
    lock = snapshot.lock
    return {
        "lock": {"id": lock.id},
        "apk": lock.apk_version,
        "epoch": lock.epoch,
        "repositories": [
            {
                "place": repository.role,
                "arch": repository.arch,
                "description": repository.description,
                "index": {"sha256": repository.index_sha256, "size": repository.index_size},
                "key": {"name": repository.key, "sha256": repository.key_sha256},
                "mirrors": list(repository.mirrors),
                "packages": sum(package.repository == number for package in lock.packages),
            }
            for number, repository in enumerate(lock.repositories)
        ],
        "closures": {name: len(lock.closure(name)) for name in lock.closures},
    }


def _check(raw: bytes, package: LockedPackage, index: Index, ring: Keyring) -> PackageInfo:
    for record in index.records.named(package.name):
        if record.version == package.version:
            # `pin` checked the package file by file; the SHA-256 proves that it is the same.
            return check_package(raw, record, ring, look_inside=False).info
    raise VerificationError(
        f"{package.file}: its index has no {package.name} of version {package.version}"
    )
