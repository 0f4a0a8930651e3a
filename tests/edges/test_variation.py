"""Another manner of building: other names, another order, another engine, the same content."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

import pytest

from build.edges import variation
from build.edges.container import Choice, Engine
from build.errors import BuildError
from tests import skips

MEMORY = "/dev/shm"  # noqa: S108 - looked at before it is used


def test_files_made_anew_are_the_same_files(tmp_path: Path) -> None:
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
    variation.lay_out_anew(folder)
    assert seen() == before
    assert (folder / "bin/a").samefile(folder / "bin/z")
    assert (folder / "bin/b").stat().st_ino != old
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason=skips.TMPFS)
def test_a_reader_gets_another_order_where_the_file_system_keeps_one() -> None:
    with TemporaryDirectory(dir=MEMORY) as held:
        folder = Path(held) / "packages"
        folder.mkdir()
        for number in range(20):
            (folder / f"{number:02}").touch()
        before = os.listdir(folder)  # noqa: PTH208 - its order is the point
        variation.lay_out_anew(folder)
        assert os.listdir(folder) == before[::-1]  # noqa: PTH208


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were tried, in this order; `podman` is the only one that works."""
    names: list[str] = []

    def choose_engine(*_: object, wanted: str, host_name: str, **__: object) -> Choice:
        names.append(wanted)
        if wanted != "podman":
            raise BuildError(f"no container engine works here: {wanted}: not here")
        return Choice(cast("Engine", SimpleNamespace(name=wanted, host_name=host_name)), ())

    monkeypatch.setattr(variation, "choose_engine", choose_engine)
    return names


def choose(other_than: str) -> Choice:
    wish = variation.Variation(rather_not=other_than, host_name="elsewhere")
    return variation.choose(wish, Path("/root"), ["true"], wanted=None, tmpfs=[])


def test_another_engine_is_taken_where_there_is_one(tried: list[str]) -> None:
    choice = choose("unshare")
    assert (choice.engine.name, tried) == ("podman", ["docker", "podman"])
    assert choice.refused == (("docker", "not here"),)
    assert vars(choice.engine)["host_name"] == "elsewhere"


def test_the_same_engine_is_taken_only_when_no_other_works(tried: list[str]) -> None:
    choice = choose("podman")
    assert (choice.engine.name, tried) == ("podman", ["docker", "unshare", "podman"])
    assert choice.refused == (("docker", "not here"), ("unshare", "not here"))
