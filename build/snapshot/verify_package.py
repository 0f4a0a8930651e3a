"""Chain of verification from a key to a file: each link is checked.

An index is signed by a trusted key and names a package's checksum and size; `build.apk.package`
checks the rest, down to the SHA-1 of each file. Stricter than apk 2 and 3, which install a
package that is unsigned or has another size than in the index, as long as its `C:` is right.
"""

from build.apk.index import IndexRecord
from build.apk.package import PackageFile, SignatureChecker, read_package
from build.errors import VerificationError

ANY_ARCH = "noarch"


def check_package(
    raw: bytes, record: IndexRecord, keys: SignatureChecker, *, look_inside: bool = True
) -> PackageFile:
    """Return the package in `raw` after checking that it is the one that `record` names.

    Without `look_inside` its files are hashed together and not one by one.

    Raises:
        VerificationError: size, checksum, name, version or architecture differ, or the
            package's own chain is broken.
        SnapshotError: it is a package of format 3.
    """
    where = record.file_name
    # Compare the size first: a truncated file gets a clearer message than "wrong checksum".
    if len(raw) != record.size:
        raise VerificationError(f"{where}: {len(raw)} bytes, the index says {record.size}")
    package = read_package(raw, keys, where=where, look_inside=look_inside)
    info = package.info
    links = [
        ("checksum", package.checksum, record.checksum),
        ("name", info.name, record.name),
        ("version", info.version, record.version),
        # An index is written for one architecture and names it for `noarch` packages, too.
        ("architecture", record.arch if info.arch == ANY_ARCH else info.arch, record.arch),
    ]
    for what, found, expected in links:
        if found != expected:
            raise VerificationError(f"{where}: {what} {found}, the index says {expected}")
    return package
