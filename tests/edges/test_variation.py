"""Variations of a build: another order of files, another engine."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

import pytest

from build.edges import container, variation
from tests import skips

MEMORY = "/dev/shm"  # noqa: S108 - looked at before it is used


def test_copies_in_reverse_order_are_equal(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    (folder / "bin").mkdir(parents=True, mode=0o700)
    for name in ("a", "b", "c"):
        (folder / "bin" / name).write_text(name)
        (folder / "bin" / name).chmod(0o4755)
    os.link(folder / "bin/a", folder / "bin/z")
    (folder / "link").symlink_to("/bin/a")
    (folder / "dangling").symlink_to("nowhere")
    os.utime(folder / "bin/b", ns=(7, 1_000_000_007))
    os.utime(folder / "bin", ns=(8, 2_000_000_008))

    def seen() -> list[object]:
        found: list[object] = []
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            content = path.read_text() if path.is_file() else ""
            link = str(path.readlink()) if path.is_symlink() else ""
            # The time of a link that nobody sets is not looked at by any reader.
            when = 0 if link else status.st_mtime_ns
            found.append((str(path), status.st_mode, status.st_nlink, when, content, link))
        return found

    before, old = seen(), (folder / "bin/b").stat().st_ino
    variation.copy_reversed(folder)
    assert seen() == before
    assert (folder / "bin/a").samefile(folder / "bin/z")
    assert (folder / "bin/b").stat().st_ino != old
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason=skips.TMPFS)
def test_a_tmpfs_lists_copies_in_reverse_order() -> None:
    with TemporaryDirectory(dir=MEMORY) as held:
        folder = Path(held) / "packages"
        folder.mkdir()
        for number in range(20):
            (folder / f"{number:02}").touch()
        before = os.listdir(folder)  # noqa: PTH208 - its order is the point
        variation.copy_reversed(folder)
        assert os.listdir(folder) == before[::-1]  # noqa: PTH208


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of engines that were tried; only `podman` works."""
    names: list[str] = []

    def probe(
        name: str, job: container.Job, client: Mapping[str, str]
    ) -> tuple[container.Engine | None, str]:
        del job, client
        names.append(name)
        if name != "podman":
            return None, "not here"
        return cast("container.Engine", SimpleNamespace(name=name)), ""

    monkeypatch.setattr(container.choose, "_probe", probe)
    return names


def choose(last: str) -> container.Choice:
    return container.choose_engine(Path("/root"), ["true"], caller={}, last=last)


def test_another_engine_is_preferred_to_the_last_one(tried: list[str]) -> None:
    choice = choose("unshare")
    assert (choice.engine.name, tried) == ("podman", ["docker", "podman"])
    assert choice.refused == (("docker", "not here"),)


def test_the_last_engine_is_used_when_no_other_works(tried: list[str]) -> None:
    choice = choose("podman")
    assert (choice.engine.name, tried) == ("podman", ["docker", "unshare", "podman"])
    assert choice.refused == (("docker", "not here"), ("unshare", "not here"))
