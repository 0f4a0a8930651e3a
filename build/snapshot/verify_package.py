"""key -> index -> package -> file: each link checked, or a VerificationError.

Stricter than apk: a package that is unsigned, or whose size is not the index's, is refused
although apk installs it. The rest of the chain, inside the file, is `build.apk.package`'s.
"""

from typing import TYPE_CHECKING

from build.apk.index import IndexRecord
from build.apk.package import PackageFile, read_package
from build.errors import VerificationError

if TYPE_CHECKING:
    from build.apk.signature import Keyring

ANY_ARCH = "noarch"


def check_package(
    raw: bytes, record: IndexRecord, keys: "Keyring", *, look_inside: bool = True
) -> PackageFile:
    """Return what the package `raw` says, checked to be the one that `record` names.

    Without `look_inside` the files in it are hashed together and not one by one.

    Raises:
        VerificationError: size, checksum, name, version or architecture differ, or the
            package's own chain is broken.
        SnapshotError: it is a package of format 3.
    """
    where = record.file_name
    # The size comes first, so that a file cut short is called by its name.
    if len(raw) != record.size:
        raise VerificationError(f"{where}: {len(raw)} bytes, the index says {record.size}")
    package = read_package(raw, keys, where=where, look_inside=look_inside)
    info = package.info
    links = [
        ("checksum", package.checksum, record.checksum),
        ("name", info.name, record.name),
        ("version", info.version, record.version),
        # An index is written for one architecture, and gives it to packages for any.
        ("architecture", record.arch if info.arch == ANY_ARCH else info.arch, record.arch),
    ]
    for what, found, expected in links:
        if found != expected:
            raise VerificationError(f"{where}: {what} {found}, the index says {expected}")
    return package
