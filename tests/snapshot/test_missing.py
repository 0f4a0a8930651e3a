"""A package that no repository has: the hint says where it is, or which name is meant."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from build.config import BuildConfig
from build.errors import SnapshotError
from build.snapshot.lock import Lock
from tests.snapshot.served import BASIC, TAIL, Mirror, made, mirror_of, pin_world, publish, world

COMMUNITY = "v3.24/community"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A mirror with `hello` in main and `cpio` in community, and another branch."""
    served = tmp_path / "served"
    publish(served, *(make() for make in BASIC))
    publish(served, made("cpio"), made("qemu-img"), tail=COMMUNITY)
    publish(served, made("other"), *(make() for make in BASIC), tail="v3.23/main")
    with mirror_of(served) as mirror:
        yield mirror


def refused(config: BuildConfig, *, previous: Lock | None = None) -> str:
    """Return the hint of a pin that fails."""
    with pytest.raises(SnapshotError, match="no repository has it") as failure:
        pin_world(config, previous=previous)
    return failure.value.hint


def pinned_before(folder: Path, mirror: Mirror) -> Lock:
    """Return a lock of both repositories, whose indexes are in the store from then on."""
    both = world(folder, f"{mirror.url}/{TAIL}", f"{mirror.url}/{COMMUNITY}")
    return pin_world(both)


def main_only(folder: Path, mirror: Mirror, *packages: str) -> BuildConfig:
    return world(folder, f"{mirror.url}/{TAIL}", packages=packages)


def test_the_index_of_an_earlier_pin_says_where_a_package_is(
    mirror: Mirror, tmp_path: Path
) -> None:
    pinned_before(tmp_path, mirror)
    hint = refused(main_only(tmp_path, mirror, "hello", "cpio", "qemu-img"))
    where = f"is in {mirror.url}/{COMMUNITY}: add it to `repositories` in {tmp_path}/release.toml"
    assert hint in (f"cpio {where}", f"cpio {where}; qemu-img {where}")


def test_the_lock_says_it_too_without_a_cache(mirror: Mirror, tmp_path: Path) -> None:
    lock = pinned_before(tmp_path, mirror)
    (tmp_path / "work/answers.json").unlink()
    hint = refused(main_only(tmp_path, mirror, "cpio"), previous=lock)
    assert hint.startswith(f"cpio is in {mirror.url}/{COMMUNITY}: ")


def test_the_repositories_of_the_images_are_asked_for_the_builder(
    mirror: Mirror, tmp_path: Path
) -> None:
    config = world(tmp_path, f"{mirror.url}/{TAIL}", f"{mirror.url}/{COMMUNITY}")
    builder = replace(config.source, repositories=(f"{mirror.url}/{TAIL}",))
    config = replace(config, builder_source=builder, builder_packages=("musl", "cpio"))
    assert refused(config).startswith(f"cpio is in {mirror.url}/{COMMUNITY}: ")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("helo", "helo: is hello meant?"),
        ("hello-dev", "hello-dev: is hello meant?"),
        ("cpio", "cpio: look in v3.24/community, which is not among the repositories"),
    ],
)
def test_without_another_index_the_nearest_names_are_suggested(
    name: str, hint: str, mirror: Mirror, tmp_path: Path
) -> None:
    assert refused(main_only(tmp_path, mirror, name)) == hint


def test_another_branch_is_not_suggested(mirror: Mirror, tmp_path: Path) -> None:
    old = replace(world(tmp_path, f"{mirror.url}/v3.23/main"), branch="v3.23")
    pin_world(old)
    pinned_before(tmp_path, mirror)
    both = [f"{mirror.url}/{TAIL}", f"{mirror.url}/{COMMUNITY}"]
    hint = refused(world(tmp_path, *both, packages=["other"]))
    assert hint.startswith("other: no repository has it or a similar name")


def test_what_a_dependency_lacks_is_no_matter_of_release_toml(tmp_path: Path) -> None:
    served: Callable[[bytes], Path] = lambda content: publish(  # noqa: E731
        tmp_path / "served", *(make() for make in BASIC), content
    )
    served(made("tool", depends=("absent",)))
    with pytest.raises(SnapshotError, match="absent: no repository has it, tool") as failure:
        pin_world(world(tmp_path, f"{tmp_path}/served/{TAIL}", packages=["tool"]))
    assert failure.value.hint.startswith("change `packages` or `repositories`")
