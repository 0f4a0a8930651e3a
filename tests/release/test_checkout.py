"""What counts as a change of the sources, and which tags are those of releases."""

import subprocess
from pathlib import Path

import pytest

from ci.release.checkout import changes, release_tags


def git(folder: Path, *words: str) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *author, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture(name="checkout")
def _checkout(tmp_path: Path) -> Path:
    """Return a checkout with one commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "source").write_text("text")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


@pytest.mark.parametrize("name", ["out", "out/dist", "a folder [x]"])
def test_own_artifacts_are_no_change(checkout: Path, name: str) -> None:
    (checkout / name).mkdir(parents=True)
    (checkout / name / "image").write_text("bytes")
    assert changes(checkout, [checkout / name]) == []
    assert changes(checkout) == [f"?? {name}/image"]


def test_everything_else_is_a_change(checkout: Path) -> None:
    (checkout / "out").mkdir()
    (checkout / "out" / "image").write_text("bytes")
    (checkout / "outer").write_text("text")
    (checkout / "build" / "source").write_text("changed")
    assert sorted(changes(checkout, [checkout / "out"])) == [" M build/source", "?? outer"]


@pytest.mark.parametrize("name", ["build", "."])
def test_a_folder_with_sources_is_not_left_out(checkout: Path, name: str) -> None:
    (checkout / "build" / "more").write_text("text")
    assert changes(checkout, [checkout / name]) == ["?? build/more"]


def test_a_checkout_below_another_folder_of_the_repository(checkout: Path) -> None:
    inner = checkout / "build"
    (inner / "out").mkdir()
    (inner / "out" / "image").write_text("bytes")
    assert changes(inner, [inner / "out"]) == []


def test_tags_of_releases_of_any_branch(checkout: Path) -> None:
    for tag in ("v3.24.20261123", "edge.20261124", "snapshot-" + "a" * 64, "v1", "latest"):
        git(checkout, "tag", tag)
    assert set(release_tags(checkout)) == {"v3.24.20261123", "edge.20261124"}
