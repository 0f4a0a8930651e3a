"""An older mirror is refused, and a replaced package is reported."""

from pathlib import Path

import pytest

from build.errors import SnapshotError
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


@pytest.mark.parametrize("with_index", [True, False], ids=["index kept", "index lost"])
def test_a_mirror_older_than_the_lock_is_refused_with_both_dates(
    with_index: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    config = world(tmp_path, f"{folder}/{TAIL}")
    unrelated = made("unrelated", epoch=EPOCH + DAY)
    taken = hello(epoch=EPOCH if with_index else EPOCH + DAY)
    publish(folder, apk_package(), made("musl"), taken, *([unrelated] if with_index else []))
    lock = pin_world(config)
    if not with_index:
        Store(config.store).path(lock.repositories[0].index_sha256).unlink()
    publish(folder, apk_package(), made("musl"), hello())
    said = f"older than the lock: its newest package is of {OLD}, the lock's of {NEW}"
    with pytest.raises(SnapshotError, match=said) as failure:
        pin_world(config, previous=lock)
    assert "--allow-older" in failure.value.hint
    assert pin_world(config, previous=lock, allow_older=True).id != lock.id


def test_a_package_whose_version_goes_back_is_refused_with_both_dates(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    config = world(tmp_path, f"{folder}/{TAIL}")
    publish(folder, apk_package(), made("musl"), hello("1.10-r0", epoch=EPOCH + DAY))
    lock = pin_world(config)
    later = made("unrelated", epoch=EPOCH + 2 * DAY)
    publish(folder, apk_package(), made("musl"), hello("1.9-r3"), later)
    said = f"it has hello-1.9-r3.apk of {OLD}, the lock hello-1.10-r0.apk of {NEW}"
    with pytest.raises(SnapshotError, match=said):
        pin_world(config, previous=lock)
    publish(folder, apk_package(), made("musl"), hello("1.11-r0"), later)
    assert pin_world(config, previous=lock).id != lock.id


def test_a_package_replaced_under_the_same_version_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    config = world(tmp_path, f"{folder}/{TAIL}")
    publish(folder, apk_package(), made("musl"), hello())
    lock = pin_world(config)
    publish(folder, apk_package(), made("musl"), hello(epoch=EPOCH + DAY, text=b"y"))
    notes = Notes()
    assert pin_world(config, previous=lock, notes=notes).id != lock.id
    (note,) = notes.lines
    assert note.startswith("hello-1.0-r0.apk was replaced under the same version: Q1")
    assert OLD in note
    assert note.endswith(f"of {NEW}")
