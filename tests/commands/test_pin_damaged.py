"""A damaged lock is replaced by the command that the error names, and by no other."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from build.firstboot.packages import DEPENDS
from build.snapshot.lock import dump_lock
from build.snapshot.lock_reader import read_lock
from tests.commands.conftest import Project
from tests.snapshot.served import apk_package, made, publish, scripted
from tests.snapshot.test_damage_kept import LOCKS, a_lock

TAIL = "v3.19/main"
"""Of the branch in the project's release.toml."""


@pytest.fixture
def pinned(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that pins a repository of small packages without running anything."""
    engine = SimpleNamespace(engine=scripted(Path(), ()))
    monkeypatch.setattr("ci.commands.pin.choose_engine", lambda *_, **__: engine)
    served = project.folder.parent / "served"
    names = {*DEPENDS, "hello", "e2fsprogs"}
    publish(served, apk_package(), *(made(name) for name in sorted(names)), tail=TAIL)
    project.configure(served / TAIL, packages=("hello",))
    return project


def commanded(hint: str) -> list[str]:
    """Return the words of the command in a hint."""
    (command,) = re.findall(r"`nox -s (pin[^`]*)`", hint)
    return [word for word in shlex.split(command) if word != "--"]


@pytest.mark.parametrize("damage", LOCKS)
def test_the_command_that_the_message_names_repairs_the_lock(damage: str, pinned: Project) -> None:
    lock = pinned.folder / "release.lock"
    damaged = LOCKS[damage][0](dump_lock(a_lock()))
    for words in (["pin"], ["pin", "--check"], ["pin", "--package", "hello"]):
        lock.write_bytes(damaged)
        failed = pinned.ci(*words)
        assert failed.status == 2, failed
        assert lock.read_bytes() == damaged
        assert "hunter2" not in failed.out + failed.err
        hint = commanded(failed.err.partition("hint: ")[2])
        assert hint != words
    repaired = pinned.ci(*hint)
    assert repaired.status == 0, repaired.err
    assert "hunter2" not in repaired.out + repaired.err
    assert "it is replaced" in repaired.err
    assert "no committed lock to compare with" in repaired.err
    assert "hello" in {each.name for each in read_lock(lock).closure("droplet")}
    assert pinned.ci("pin", "--check").status == 0


def test_a_replaced_lock_is_not_older_than_the_committed_one(pinned: Project) -> None:
    served, lock = pinned.folder.parent / "served", pinned.folder / "release.lock"
    names = {*DEPENDS, "hello", "e2fsprogs"}
    older = [apk_package(), *(made(name) for name in sorted(names))]
    newer = [*(each for each in older if each != made("hello")), made("hello", "2.0-r0")]
    publish(served, *newer, tail=TAIL)
    assert pinned.ci("pin").status == 0
    pinned.release("v3.19.1")
    committed = lock.read_bytes()
    publish(served, *older, tail=TAIL)
    lock.write_bytes(committed[:-9])
    refused = pinned.ci("pin", "--replace")
    assert refused.status == 1
    assert "hello-2.0-r0.apk of 2023-11-14 22:13 UTC: downgraded" in refused.err
    assert lock.read_bytes() == committed[:-9]
    assert pinned.ci("pin", "--replace", "--allow-older").status == 0
    assert "hello-1.0-r0.apk" in lock.read_text()
    # A committed lock that is damaged, too, stops nothing.
    lock.write_bytes(committed.replace(b"\n", b"\r\n"))
    pinned.release("v3.19.2")
    result = pinned.ci("pin", "--replace")
    assert (result.status, "HEAD:release.lock has CRLF line ends" in result.err) == (0, True)


def test_a_lock_with_the_digest_of_another_blob_of_the_store_is_pinned_again(
    pinned: Project,
) -> None:
    assert pinned.ci("pin").status == 0
    path, before = pinned.folder / "release.lock", pinned.lock
    digests = {each.name: each.sha256 for each in before.packages}
    text = path.read_text().replace(digests["hello"], "HELLO")
    text = text.replace(digests["busybox"], digests["hello"]).replace("HELLO", digests["busybox"])
    path.write_text(text)
    assert pinned.lock != before
    result = pinned.ci("pin")
    assert (result.status, pinned.lock) == (0, before), result.err


def test_replace_leaves_an_intact_lock_as_it_is(pinned: Project) -> None:
    assert pinned.ci("pin").status == 0
    before = pinned.lock
    result = pinned.ci("pin", "--replace")
    assert (result.status, pinned.lock, "replaced" in result.err) == (0, before, False)
