"""The store returns what was put into it, or reports that it cannot."""

import os
from pathlib import Path

import pytest

from build.errors import SnapshotError, VerificationError
from build.snapshot.store import Store


def test_a_blob_is_read_and_linked(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sha256 = store.put(b"content")
    assert store.has(sha256)
    assert store.read(sha256) == b"content"
    store.link(sha256, tmp_path / "deep/down/file")
    store.link(sha256, tmp_path / "deep/down/file")
    assert (tmp_path / "deep/down/file").read_bytes() == b"content"


def test_a_missing_blob_is_reported_with_a_hint(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert not store.has("a" * 64)
    for attempt in (lambda: store.read("a" * 64), lambda: store.link("a" * 64, tmp_path / "file")):
        with pytest.raises(SnapshotError, match=r"^store: no blob a{64}") as failure:
            attempt()
        assert "`nox -s pin`" in failure.value.hint


def test_a_damaged_blob_is_refused_and_replaced_by_putting_it_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sha256 = store.put(b"content")
    path = store.path(sha256)
    path.chmod(0o644)
    path.write_bytes(b"changed")
    for attempt in (lambda: store.read(sha256), lambda: store.link(sha256, tmp_path / "file")):
        with pytest.raises(VerificationError, match=f"expected {sha256}"):
            attempt()
    assert not (tmp_path / "file").exists()
    store.put(b"content")
    assert store.read(sha256) == b"content"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = Store(tmp_path / "store")
    with pytest.raises(OSError, match="No space left"):
        store.put(b"content")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_name_that_is_not_a_digest_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for name in ("../../etc/passwd", "A" * 64, ""):
        with pytest.raises(ValueError, match="not a SHA-256"):
            store.read(name)
