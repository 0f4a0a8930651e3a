"""Repositories that do not fit each other, or their own packages.

Main and community are published one after the other, and a mirror copies files while they change:
what is inconsistent now may be consistent in a minute.
"""

from collections.abc import Sequence

from build.apk.index import IndexRecord
from build.apk.package import SignatureChecker, read_package
from build.errors import SnowdropError, VerificationError
from build.snapshot.repositories import Repository, format_time


class AnotherBuildError(VerificationError):
    """A package that is whole and signed, but not the build that the index names."""


def explain_mismatch(
    error: VerificationError, raw: bytes, record: IndexRecord, keys: SignatureChecker
) -> VerificationError:
    """Return `error`, or what explains it if `raw` is another build of the package.

    A content delivery network serves index and packages out of caches of different minutes.
    """
    try:
        package = read_package(raw, keys, where=record.file_name)
    except SnowdropError:
        return error
    info = package.info
    same_build = package.checksum == record.checksum
    if same_build or (info.name, info.version) != (record.name, record.version):
        return error
    return AnotherBuildError(
        f"{record.file_name}: another build than the index names: built "
        f"{format_time(info.build_time)}, the index says {format_time(record.build_time)}"
    )


def describe_out_of_step(
    repositories: Sequence[Repository], error: SnowdropError, tries: int
) -> str:
    """Return the message for an `error` that stays although the indexes were fetched again."""
    states = [
        f"  {repository.url}: {repository.index.description or 'no description'}, "
        f"newest package of {format_time(repository.index.records.newest_build_time)}"
        for repository in repositories
    ]
    what = "repositories that are out of step" if len(states) > 1 else "a repository out of step"
    return "\n".join(
        [str(error), f"It looks like {what}; fetched {tries} times, always the same:", *states]
    )
