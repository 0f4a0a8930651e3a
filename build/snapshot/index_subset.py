"""Subset of an index, so that apk can choose only from some of its packages.

A subset is no longer what the repository signed, so it is signed with the key of the local
packages, which is public. Therefore it is made only from a verified index, is read at once and
is never published. Standard library only.
"""

from collections.abc import Set

from build.apk.index import Index, Records, parse_records
from build.apk.writing import write_index
from build.firstboot.packages import KEY_NAME, local_key


def write_subset(records: Records, wanted: Set[tuple[str, str]], description: str) -> bytes:
    """Return a signed index of the packages whose (name, version) is in `wanted`."""
    return write_index(records.texts(wanted), local_key(), description)


def index_subset(index: Index, wanted: Set[tuple[str, str]]) -> Index:
    """Return `index` with only the packages whose (name, version) is in `wanted`."""
    text = "\n".join(index.records.texts(wanted))
    return Index(
        raw=write_subset(index.records, wanted, index.description),
        description=index.description,
        signer=KEY_NAME,
        records=parse_records(text.encode(), where="index subset"),
    )
