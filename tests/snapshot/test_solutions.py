"""apk is asked once for the same question, and again for any other."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from build.config import BuildConfig
from build.edges.container import Engine
from build.snapshot.lock import Lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.store import Store
from tests.apk.makers import EPOCH
from tests.snapshot.served import BASIC, TAIL, Notes, made, publish, scripted, world


def asked(config: BuildConfig, previous: Lock | None = None) -> tuple[Lock, int]:
    """Return the lock, and how often an engine was chosen."""
    count = 0

    def engine_for(root: Path, argv: Sequence[str]) -> Engine:
        nonlocal count
        count += 1
        return scripted(root, argv)

    request = PinRequest(
        config=config,
        store=Store(config.store),
        engine_for=engine_for,
        progress=Notes(),
        previous=previous,
    )
    return pin(request), count


@pytest.fixture
def config(tmp_path: Path) -> BuildConfig:
    publish(tmp_path / "served", *(make() for make in BASIC))
    return world(tmp_path, f"{tmp_path}/served/{TAIL}")


def test_the_same_question_is_asked_once(config: BuildConfig) -> None:
    lock, first = asked(config)
    again, second = asked(config, lock)
    assert (again.id, first, second) == (lock.id, 1, 0)
    # Neither the lock nor the store is needed for that.
    for blob in config.store.glob("??/*"):
        blob.unlink()
    assert asked(config)[0].id == lock.id


def more(config: BuildConfig, folder: Path) -> BuildConfig:
    publish(folder / "served", *(make() for make in BASIC), made("new", epoch=EPOCH + 1))
    return config


def fewer_names(config: BuildConfig, folder: Path) -> BuildConfig:
    return world(folder, f"{folder}/served/{TAIL}", packages=["hello", "musl"])


def builder_names(config: BuildConfig, folder: Path) -> BuildConfig:
    return replace(config, builder_packages=("musl", "hello"))


def damaged(text: str) -> Callable[[BuildConfig, Path], BuildConfig]:
    def change(config: BuildConfig, folder: Path) -> BuildConfig:
        (config.work / "solutions.json").write_text(text)
        return config

    return change


def other_answer(config: BuildConfig, folder: Path) -> BuildConfig:
    """Answers whose packages no repository has, and of other types."""
    path = config.work / "solutions.json"
    answers = json.loads(path.read_text())
    wrong = [[["hello", "9"]], [["hello"]], [[1, 2]], {}, [], "x", 1]
    path.write_text(json.dumps(dict(zip(answers, wrong, strict=False))))
    return config


CHANGES: dict[str, Callable[[BuildConfig, Path], BuildConfig]] = {
    "another index": more,
    "other names": fewer_names,
    "another builder": builder_names,
    "an empty file": damaged(""),
    "no JSON": damaged("{"),
    "another document": damaged("[1]"),
    "a deep document": damaged("[" * 100_000),
    "another answer": other_answer,
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_question_or_a_damaged_file_is_asked(
    name: str, config: BuildConfig, tmp_path: Path
) -> None:
    asked(config)
    changed = CHANGES[name](config, tmp_path)
    lock, count = asked(changed)
    assert count == 1
    fresh = replace(changed, work=tmp_path / "fresh")
    assert asked(fresh)[0].id == lock.id


def test_a_lock_that_was_changed_by_hand_is_no_source(config: BuildConfig) -> None:
    lock, _ = asked(config)
    fewer = replace(lock, packages=tuple(p for p in lock.packages if p.name != "hello"))
    assert asked(config, fewer)[0].id == lock.id
