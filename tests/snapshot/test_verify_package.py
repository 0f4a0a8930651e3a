"""A package must match the index, also where apk itself is less strict."""

from dataclasses import replace

import pytest

from build.apk.index import IndexRecord, read_index
from build.apk.writing import write_index
from build.errors import VerificationError
from build.snapshot.verify_package import check_package
from tests.apk.makers import key, package, trusted


def record_of(content: bytes) -> IndexRecord:
    (record,) = read_index(write_index([content], key(), ""), trusted(), where="index").records
    return record


def test_a_package_that_does_not_match_the_index_is_refused() -> None:
    record = record_of(package())
    assert check_package(package(), record, trusted()).info.name == "hello"
    for changed, message in [
        (replace(record, size=record.size + 5), f"{record.size} bytes, the index says"),
        (replace(record, checksum="Q1" + "A" * 27 + "="), "checksum Q1.*, the index says Q1AAAA"),
        (replace(record, version="2.0-r0"), r"version 1\.0-r0, the index says 2\.0-r0"),
        (replace(record, name="other"), "name hello, the index says other"),
        (replace(record, arch="aarch64"), "architecture x86_64, the index says aarch64"),
    ]:
        with pytest.raises(VerificationError, match=message):
            check_package(package(), changed, trusted())
