"""Versions sort as Alpine's apk sorts them."""

from itertools import combinations
from pathlib import Path

import pytest

from build.apk.version import version_key
from build.edges.process import run
from tests.apk.makers import needs_alpine, real_apk

# From the oldest to the newest.
SORTED = (
    "0.9-r5",
    "1_alpha-r0",
    "1_alpha2-r0",
    "1_beta1-r0",
    "1_pre1-r0",
    "1_rc1-r0",
    "1_rc2-r0",
    "1_rc10-r0",
    "1",
    "1-r0",
    "1-r1",
    "1-r10",
    "1_cvs20200101-r0",
    "1_svn5-r0",
    "1_git20230717-r4",
    "1_hg1-r0",
    "1_p1-r0",
    "1_p1-r1",
    "1_p2_git1-r0",
    "1a-r0",
    "1b_rc1-r0",
    "1b-r0",
    "1.001-r0",
    "1.01-r0",
    "1.05-r0",
    "1.1_rc1-r0",
    "1.1-r0",
    "1.1.1-r0",
    "1.2-r0",
    "1.10-r0",
    "9.6_p1-r0",
    "10-r0",
    "20230506-r0",
)


def test_versions_sort_by_alpines_rules() -> None:
    assert all(version_key(old) < version_key(new) for old, new in combinations(SORTED, 2))
    assert version_key("1.2~5f1c-r0") > version_key("1.2-r9")
    assert version_key("1.0.0b1-r0") > version_key("1.0.0b-r0")


@pytest.mark.parametrize("text", ["", "a", "1.", "1.2-3", "1_new1", "1.2-r", "v1"])
def test_an_invalid_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        version_key(text)


@needs_alpine
def test_alpines_own_apk_agrees_with_the_table(tmp_path: Path) -> None:
    apk = real_apk(tmp_path)
    pairs = list(combinations(SORTED, 2))[::7]
    assert [pair for pair in pairs if run([*apk, "version", "-t", *pair]).text != "<\n"] == []
