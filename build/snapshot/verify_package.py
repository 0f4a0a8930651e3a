"""Chain of verification from a key to a file: each link is checked.

An index is signed by a trusted key and names a package's checksum and size; `build.apk.package`
checks the rest, down to the SHA-1 of each file. Stricter than apk 2 and 3, which install a
package that is unsigned or has another size than in the index, as long as its `C:` is right.
"""

from build.apk.index import ANY_ARCH, IndexRecord
from build.apk.package import PackageFile, SignatureChecker, read_package
from build.errors import VerificationError
from build.words import counted

PLACEHOLDER = ".dummy"
"""What Alpine's own empty packages have."""
REBUILD = "the package has to be built again: abuild, nfpm and melange write what apk installs"


def check_package(
    raw: bytes, record: IndexRecord, keys: SignatureChecker, *, look_inside: bool = True
) -> PackageFile:
    """Return the package in `raw` after checking that it is the one that `record` names.

    Without `look_inside` its files are hashed together and not one by one, as suffices for a
    package that was checked before.

    Raises:
        VerificationError: size, checksum, name, version or architecture differ, the package's
            own chain is broken, or apk would install it with failures or not at all.
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
    if problem := find_problem(package, record):
        raise VerificationError(f"{where}: {problem}", hint=REBUILD)
    return package


def find_problem(package: PackageFile, record: IndexRecord) -> str:
    """Return why apk would not install all of `package`, or an empty string.

    A build would find out too, but much later and with a lock that names the package.
    """
    content = package.content
    if content is None:
        return ""
    # apk takes a package of installed size 0 for an empty one (apk-tools, src/database.c).
    if record.installed_size == 0 and (content.count or package.scripts):
        return (
            "installed size 0 in the index: apk would leave out its "
            f"{counted(content.count, 'file')} and {counted(len(package.scripts), 'script')}"
        )
    if content.problems:
        more = len(content.problems) - 1
        return content.problems[0] + (f", and {more} more" if more else "") + ": apk fails on it"
    return ""


def unusual(package: PackageFile) -> tuple[str, ...]:
    """Return what a person should know about a package that apk installs, a line each."""
    found = package.content.skipped if package.content else []
    skipped = [name for name in found if name != PLACEHOLDER]
    if not skipped:
        return ()
    names = ", ".join(map(repr, skipped[:3])) + (", ..." if len(skipped) > 3 else "")
    dotted = counted(len(skipped), "name that starts", "names that start")
    return (f"apk leaves out {dotted} with a dot: {names}",)
