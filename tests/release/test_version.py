"""A tag with a suffix is a prerelease: older than its release, newer than the day before."""

import pytest

from ci.release.version import is_prerelease, parse_tag

IN_ORDER = (
    "v3.24.20261122.1",
    "v3.24.20261123-rc1",
    "v3.24.20261123-rc2",
    "v3.24.20261123-rc10",
    "v3.24.20261123",
    "v3.24.20261123.1-rc1",
    "v3.24.20261123.1",
)


def test_a_prerelease_comes_before_its_release() -> None:
    parts = [parse_tag(tag) for tag in IN_ORDER]
    orders = [each.order for each in parts if each]
    assert len(orders) == len(IN_ORDER)
    assert orders == sorted(orders)


@pytest.mark.parametrize("tag", IN_ORDER)
def test_only_a_suffix_makes_a_prerelease(tag: str) -> None:
    assert is_prerelease(tag) == ("-rc" in tag)
    assert is_prerelease(f"{tag}-dirty") == ("-rc" in tag)


@pytest.mark.parametrize("suffix", ["-rc", "-rc0", "-rc100", "-RC1", "-beta1", "rc1", "-rc1-rc2"])
def test_another_suffix_is_no_tag(suffix: str) -> None:
    assert parse_tag(f"v3.24.20261123{suffix}") is None
