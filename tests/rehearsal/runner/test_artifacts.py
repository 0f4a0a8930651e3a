"""Artifacts have the names that the real actions give, and no hidden files."""

from pathlib import Path

import pytest

from ci.rehearsal.runner.inside.artifacts import files_to_upload, matching


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    for name in ("dist/a.qcow2", "dist/a.boot.json", "dist/.hidden", "dist/sub/b", ".snowdrop/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_uploaded_without_its_own_name(folder: Path) -> None:
    assert list(files_to_upload("dist/", folder)) == ["a.boot.json", "a.qcow2", "sub/b"]


def test_names_begin_after_the_part_without_wildcards(folder: Path) -> None:
    assert list(files_to_upload("dist/*.boot.json", folder)) == ["a.boot.json"]


def test_one_file_is_uploaded_by_its_name(folder: Path) -> None:
    assert list(files_to_upload("dist/a.qcow2", folder)) == ["a.qcow2"]


def test_a_pattern_without_files_gives_none(folder: Path) -> None:
    assert files_to_upload("dist/*.sig", folder) == {}
    assert files_to_upload("nothing/", folder) == {}


def test_patterns_choose_artifacts() -> None:
    names = ["booted", "built", "signed"]
    assert list(matching("{built,booted}", names)) == ["booted", "built"]
    assert list(matching("b*", names)) == ["booted", "built"]
    assert list(matching("signed", names)) == ["signed"]
    assert list(matching("sign", names)) == []
