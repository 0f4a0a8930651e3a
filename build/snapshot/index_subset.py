"""An index cut down to some of its packages, so that apk can choose no others.

What is cut down is no longer what its repository signed: it is signed with the key of the local
packages, which everybody has. So an excerpt is made of an index that was verified, is read at
once, and goes nowhere else. Standard library only.
"""

from collections.abc import Set

from build.apk.index import Index, Records, parse_records
from build.apk.writing import write_index
from build.firstboot.packages import KEY_NAME, local_key


def excerpt(records: Records, wanted: Set[tuple[str, str]], description: str) -> bytes:
    """Return an index of those packages whose name and version are `wanted`, word for word."""
    return write_index(records.written(wanted), local_key(), description)


def shown(index: Index, wanted: Set[tuple[str, str]]) -> Index:
    """Return `index` cut down to what is `wanted`."""
    text = "\n".join(index.records.written(wanted))
    return Index(
        raw=excerpt(index.records, wanted, index.description),
        description=index.description,
        signer=KEY_NAME,
        records=parse_records(text.encode(), where="excerpt"),
    )
