"""Going forward: what a repository took back is named, and allowed by name alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from build.config import BuildConfig
from build.errors import ConfigError, SnapshotError
from build.snapshot.forward import check_branch_of_urls
from build.snapshot.store import Store
from tests.apk.makers import EPOCH
from tests.snapshot.served import (
    TAIL,
    Notes,
    apk_package,
    made,
    pin_world,
    publish,
    world,
)

DAY = 86400
OLD, NEW = "2023-11-14 22:13 UTC", "2023-11-15 22:13 UTC"


def hello(version: str = "1.0-r0", *, epoch: int = EPOCH, text: bytes = b"x") -> bytes:
    return made("hello", version, depends=("musl",), epoch=epoch, text=text)


def at(day: int, *more: bytes, musl: str = "1.0-r0") -> list[bytes]:
    """Return a repository whose newest package is of that day, if `more` has no newer one."""
    return [
        apk_package(),
        made("musl", musl),
        made("clock", f"1.{day}-r0", epoch=EPOCH + day * DAY),
        *more,
    ]


@dataclass(frozen=True)
class Change:
    """What a repository served when it was locked, and what it serves now."""

    before: Callable[[], list[bytes]]
    after: Callable[[], list[bytes]]
    message: str
    """Of the refusal; empty if there is none."""
    allow: str = ""
    """What makes it pass; what else is given does not."""
    keep_index: bool = True
    """Whether the store still has the index of the lock."""


CHANGES = {
    "the index is older": Change(
        lambda: at(2, hello("1.1-r0", epoch=EPOCH + DAY)),
        lambda: at(0, hello()),
        "older than the lock: its newest package is of 2023-11-14 22:13 UTC, the lock's of "
        "2023-11-16 22:13 UTC\n  clock-1.2-r0.apk of .*: downgraded, the repository has 1.0-r0 of",
        allow="v3.24/main",
    ),
    "the index is older, and lost": Change(
        lambda: at(0, hello(epoch=EPOCH + DAY)),
        lambda: at(0, hello()),
        f"its newest package is of {OLD}, the lock's of {NEW}\n  hello-1.0-r0.apk of {NEW}: "
        f"rebuilt, the repository's build is of {OLD}",
        allow="hello",
        keep_index=False,
    ),
    "much is older": Change(
        lambda: at(1, hello(), *(made(f"p{n}", epoch=EPOCH + DAY) for n in range(9))),
        lambda: at(0, hello()),
        "p0-1.0-r0.apk of .*: withdrawn, the repository has no package of this name\n.*\n.*\n.*\n"
        "  and 5 more",
        allow="v3.24/main",
    ),
    "the newest package was withdrawn": Change(
        lambda: at(0, hello(), made("bad", epoch=EPOCH + DAY)),
        lambda: at(0, hello()),
        f"bad-1.0-r0.apk of {NEW}: withdrawn, the repository has no package of this name",
        allow="bad",
    ),
    "the newest package was downgraded": Change(
        lambda: at(0, hello(), made("bad", "1.1-r0", epoch=EPOCH + DAY)),
        lambda: at(0, hello(), made("bad", "1.0-r5")),
        f"bad-1.1-r0.apk of {NEW}: downgraded, the repository has 1.0-r5 of {OLD}",
        allow="bad",
    ),
    "a package of the lock was downgraded": Change(
        lambda: at(0, hello("1.10-r0", epoch=EPOCH + DAY)),
        lambda: at(2, hello("1.9-r3")),
        f"of its packages, 1 went back\n  hello-1.10-r0.apk of {NEW}: downgraded, the repository "
        f"has 1.9-r3 of {OLD}",
        allow="hello",
    ),
    "two packages of the lock were downgraded": Change(
        lambda: at(0, hello("1.1-r0"), musl="1.1-r0"),
        lambda: at(2, hello()),
        "of its packages, 2 went back\n  hello-1.1-r0.apk of .*\n  musl-1.1-r0.apk of ",
        allow="hello musl",
    ),
    "a package of the lock was rebuilt earlier": Change(
        lambda: at(2, hello(epoch=EPOCH + DAY)),
        lambda: at(2, hello(text=b"y")),
        f"hello-1.0-r0.apk of {NEW}: rebuilt, the repository's build is of {OLD}",
        allow="hello",
    ),
    "a package of the lock was rebuilt later": Change(
        lambda: at(2, hello()), lambda: at(2, hello(epoch=EPOCH + DAY, text=b"y")), ""
    ),
    "a package of the lock was upgraded": Change(
        lambda: at(2, hello("1.10-r0")), lambda: at(2, hello("1.11-r0")), ""
    ),
    "another package was withdrawn, and one is newer": Change(
        lambda: at(0, hello(), made("bad", epoch=EPOCH + DAY)), lambda: at(2, hello()), ""
    ),
    "nothing changed": Change(lambda: at(0, hello()), lambda: at(0, hello()), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_went_back_is_named_and_allowed_by_its_name_alone(name: str, tmp_path: Path) -> None:
    change, folder = CHANGES[name], tmp_path / "served"
    config = world(tmp_path, f"{folder}/{TAIL}")
    publish(folder, *change.before())
    lock = pin_world(config)
    if not change.keep_index:
        Store(config.store).path(lock.repositories[0].index_sha256).unlink()
    publish(folder, *change.after())
    if not change.message:
        pin_world(config, previous=lock)
        return
    for allowed in ([], ["unrelated", "v3.24/community"]):
        with pytest.raises(SnapshotError, match=change.message) as refused:
            pin_world(config, previous=lock, allowed=allowed)
    assert f"{folder}/{TAIL}: older than the lock: " in str(refused.value)
    allowed = change.allow.split()
    with pytest.raises(SnapshotError, match="older than the lock"):
        pin_world(config, previous=lock, allowed=allowed[1:])
    if "/" not in change.allow:
        assert refused.value.hint.endswith("--allow " + " ".join(sorted(allowed)) + "`")
    pin_world(config, previous=lock, allowed=allowed)
    pin_world(config, previous=lock, allowed=[f"{folder}/{TAIL}"])
    pin_world(config, previous=lock, allow_older=True)


def test_one_allowed_package_does_not_allow_an_older_index(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    config = world(tmp_path, f"{folder}/{TAIL}")
    publish(folder, *at(2, hello(), made("bad", epoch=EPOCH + 3 * DAY)))
    lock = pin_world(config)
    publish(folder, *at(0, hello()))
    with pytest.raises(SnapshotError, match="the lock's of 2023-11-16") as refused:
        pin_world(config, previous=lock, allowed=["bad"])
    assert "bad-1.0-r0" not in str(refused.value)


def test_a_rebuilt_and_a_withdrawn_package_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    config = world(tmp_path, f"{folder}/{TAIL}", packages=["hello", "extra"])
    publish(folder, *at(2, hello(), made("extra")))
    lock = pin_world(config)
    publish(folder, *at(2, hello(epoch=EPOCH + DAY, text=b"y")))
    notes = Notes()
    fewer = world(tmp_path, f"{folder}/{TAIL}")
    assert pin_world(fewer, previous=lock, notes=notes).id != lock.id
    withdrawn, replaced = notes.lines
    assert withdrawn == f"extra-1.0-r0.apk was withdrawn: {folder}/{TAIL} has it no more"
    assert replaced.startswith("hello-1.0-r0.apk was replaced under the same version: Q1")
    assert OLD in replaced
    assert replaced.endswith(f"of {NEW}")


def test_a_package_of_the_future_is_refused_when_it_is_pinned(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    config = world(tmp_path, f"{folder}/{TAIL}")
    publish(folder, *at(0, hello(epoch=EPOCH + 2 * DAY)))
    message = "hello-1.0-r0.apk: built 2023-11-16 22:13 UTC, in the future: it is 2023-11-14 22:13"
    with pytest.raises(SnapshotError, match=message) as refused:
        pin_world(config, now=EPOCH)
    assert "set the clock" in refused.value.hint
    assert pin_world(config, now=EPOCH + DAY + 1).epoch == EPOCH + 2 * DAY
    publish(folder, *at(9, hello()))  # what is not pinned may be of any time
    pin_world(config, now=EPOCH)


def of_branch(
    folder: Path, branch: str, release: str, tail: str = TAIL
) -> tuple[BuildConfig, Path]:
    served = folder / "served"
    packages = [*at(0, hello())]
    if release:
        packages.append(made("alpine-release", release))
    publish(served, *packages, tail=tail)
    names = ["hello", "alpine-release"] if release else ["hello"]
    config = world(folder, f"{served}/{tail}", packages=names)
    return replace(config, branch=branch), served


BRANCHES: dict[str, tuple[str, str, str, str]] = {
    "as named": ("v3.24", "3.24.1-r0", TAIL, ""),
    "edge": ("edge", "3.25.0_alpha20260805-r0", "edge/main", ""),
    "latest-stable": ("latest-stable", "3.24.1-r0", "latest-stable/main", ""),
    "latest-stable with a number": ("v3.24", "3.24.1-r0", "latest-stable/main", ""),
    "no branch of Alpine": ("mine", "3.24.1-r0", "mine/main", ""),
    "no release package": ("v3.24", "", TAIL, ""),
    "another path": ("v3.24", "3.23.1-r0", "v3.23/main", "is of v3.23, branch = 'v3.24'"),
    "a path of edge": ("v3.24", "", "edge/main", "is of edge, branch = 'v3.24'"),
    "another release": ("v3.24", "3.25.0-r0", TAIL, "alpine-release of v3.25, branch = 'v3.24'"),
    "edge in a stable branch": (
        "v3.24",
        "3.24.0_alpha20260101-r0",
        TAIL,
        "alpine-release of edge, branch = 'v3.24'",
    ),
    "latest-stable moved on": (
        "v3.24",
        "3.25.0-r0",
        "latest-stable/main",
        "alpine-release of v3.25, branch = 'v3.24'",
    ),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_branch_path_and_release_agree(name: str, tmp_path: Path) -> None:
    branch, release, tail, message = BRANCHES[name]
    config, _ = of_branch(tmp_path, branch, release, tail)
    if not message:
        assert pin_world(config).branch == branch
        return
    with pytest.raises((ConfigError, SnapshotError), match=message) as refused:
        pin_world(config)
    assert refused.value.hint


def test_a_mirror_of_a_folder_has_no_branch_in_its_path(tmp_path: Path) -> None:
    config = world(tmp_path, f"{tmp_path}/repository", "https://a.example/our/repo")
    check_branch_of_urls(config)


def test_latest_stable_that_moves_on_is_noticed(tmp_path: Path) -> None:
    config, served = of_branch(tmp_path, "latest-stable", "3.24.2-r0", "latest-stable/main")
    lock = pin_world(config)
    packages = [*at(0, hello()), made("alpine-release", "3.25.0-r0")]
    publish(served, *packages, tail="latest-stable/main")
    message = "latest-stable has moved on: alpine-release is of v3.25, in the lock of v3.24"
    with pytest.raises(SnapshotError, match=message) as refused:
        pin_world(config, previous=lock)
    assert "--allow alpine-release" in refused.value.hint
    moved = pin_world(config, previous=lock, allowed=["alpine-release"])
    assert moved.id != lock.id
