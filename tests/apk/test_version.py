"""Versions sort as Alpine's apk sorts them."""

import random
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from build.apk.index import INDEX, read_index
from build.apk.version import BEFORE, version_key
from build.edges.process import run
from tests.alpine import FULL
from tests.apk.makers import needs_alpine, real_apk, real_keys

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


def ordered(one: str, other: str) -> str:
    """Return `<`, `=` or `>`, as `apk version -t` prints it."""
    mine, theirs = version_key(one), version_key(other)
    return "<" if mine < theirs else ">" if mine > theirs else "="


def written(dice: random.Random) -> str:
    """Return a version with any of the parts that there are."""
    numbers = ["0", "1", "2", "9", "10", "01", "05", "010", "20240101"]
    version = ".".join(["1", *dice.choices(numbers, k=dice.randint(0, 3))])
    suffixes = [*BEFORE, "cvs", "svn", "git", "hg", "p"]
    version += dice.choice(["", "", "", "a", "b"])
    for _ in range(dice.choice([0, 0, 1, 1, 2])):
        version += f"_{dice.choice(suffixes)}" + dice.choice(["", "1", "2", "10", "20230101"])
    return version + dice.choice(["", "-r0", "-r1", "-r10"])


def near(version: str, dice: random.Random) -> str:
    """Return a version with one other number, or the same."""
    parts = re.split(r"(\d+)", version)
    place = dice.randrange(1, len(parts), 2)
    number = parts[place]
    parts[place] = dice.choice([str(int(number) + 1), "0", f"{number}0", number])
    return "".join(parts)


def drawn_pairs(count: int) -> Iterator[tuple[str, str]]:
    """Yield pairs of Alpine's own versions and of others, far apart and close; always the same."""
    dice, real = random.Random(2026), set[str]()  # noqa: S311
    for folder in FULL:
        raw = (folder / "x86_64" / INDEX).read_bytes()
        real |= {each.version for each in read_index(raw, real_keys(), where=INDEX).records}
    alpine = sorted(real)
    for number in range(count):
        one = dice.choice(alpine) if number % 2 else written(dice)
        other = dice.choice(alpine) if number % 2 else written(dice)
        yield one, other if number % 4 > 1 else near(one, dice)


@needs_alpine
@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.full)])
def test_alpines_own_apk_orders_any_versions_so(count: int, tmp_path: Path) -> None:
    apk = real_apk(tmp_path)
    orders, wrong = set[str](), []
    for pair in drawn_pairs(count):
        argv = [*apk, "version", "-t", *pair]
        theirs = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        orders.add(theirs)
        if theirs != ordered(*pair) and not differ_after_zeros(*pair):
            wrong.append((pair, theirs))
    assert wrong == []
    assert orders == {"<", "=", ">"}


KNOWN = (("1.0", "1.00"), ("1.0-r0", "1.00-r0"), ("1.00_p1", "1.000_p1"), ("1.010", "1.05"))
"""Older and newer for apk 3, which compares numbers with a leading zero as text. For apk 2 it is
the reverse: it counts the zeros, then compares what follows as a number."""


def differ_after_zeros(one: str, other: str) -> bool:
    """Return whether the first numbers that differ both start with a zero, as in KNOWN."""
    pairs = zip(re.findall(r"\d+", one), re.findall(r"\d+", other), strict=False)
    first = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
    return all(number.startswith("0") for number in first)


@needs_alpine
def test_apk_2_orders_numbers_that_start_with_zeros_otherwise(tmp_path: Path) -> None:
    apk = real_apk(tmp_path)
    for pair in KNOWN:
        assert differ_after_zeros(*pair)
        assert ordered(*pair) == "<"
        assert run([*apk, "version", "-t", *pair]).text == ">\n"
