"""source.tar holds the commit, with the same bytes on every machine."""

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import ConfigError
from ci.attest.source import write_source
from tests.attest.conftest import COMMIT, EPOCH, commit_sources, git
from tests.release.test_manifest import MANIFEST


def tar_of(checkout: Path, commit: str = COMMIT, *, dirty: bool = False) -> Path:
    path = checkout.with_suffix(".tar")
    write_source(path, checkout, replace(MANIFEST, version="v1", commit=commit, dirty=dirty))
    return path


@pytest.fixture(name="checkout")
def _checkout(tmp_path: Path) -> Path:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    commit_sources(checkout)
    return checkout


def test_two_clones_give_the_same_bytes_whatever_their_working_trees_hold(
    checkout: Path, tmp_path: Path
) -> None:
    git(checkout, "clone", "-q", ".", str(tmp_path / "clone"))
    (tmp_path / "clone" / "README.md").chmod(0o600)
    (tmp_path / "clone" / "src" / "run").write_text("another program")
    (tmp_path / "clone" / "new").write_text("not committed")
    content = tar_of(checkout).read_bytes()
    assert tar_of(tmp_path / "clone").read_bytes() == content


def test_it_unpacks_to_the_files_with_their_modes_and_the_epoch(checkout: Path) -> None:
    with tarfile.open(tar_of(checkout)) as archive:
        members = archive.getmembers()
        files = [(each.name, archive.extractfile(each)) for each in members if each.isfile()]
        held = {name: file.read() for name, file in files if file}
    assert held == {
        "snowdrop-v1/README.md": b"Sources\n",
        "snowdrop-v1/src/run": b"#!/bin/sh\n",
    }
    modes = {each.name: (each.mode, each.linkname) for each in members}
    assert modes["snowdrop-v1/src/run"][0] == 0o755
    assert modes["snowdrop-v1/link"] == (0o777, "src/run")
    assert {(each.mtime, each.uid, each.uname) for each in members} == {(EPOCH, 0, "root")}


def test_a_changed_tree_is_archived_without_ignored_files(
    checkout: Path,
) -> None:
    (checkout / ".gitignore").write_text("ignored\n")
    (checkout / "ignored").write_text("secret")
    (checkout / "new").write_text("new")
    (checkout / "README.md").unlink()
    with tarfile.open(tar_of(checkout, dirty=True)) as archive:
        names = {name.removeprefix("snowdrop-v1/") for name in archive.getnames()}
    assert names == {".gitignore", "link", "new", "src/run"}


def test_a_missing_commit_is_named(checkout: Path) -> None:
    with pytest.raises(ConfigError, match=f"has no commit {'0' * 40}"):
        tar_of(checkout, "0" * 40)


def test_a_nested_repository_is_refused(checkout: Path) -> None:
    shutil.copytree(checkout, checkout / "inner", symlinks=True)
    git(checkout, "add", "inner")
    git(checkout, "commit", "-qm", "Another repository")
    with pytest.raises(ConfigError, match=r"^inner: another repository in this one"):
        tar_of(checkout, git(checkout, "rev-parse", "HEAD"))
