"""`store push` keeps a snapshot in a Space, on a real S3 server, and a build finds it there."""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest

import ci.publish.mirror
from build.errors import ConfigError, SnapshotError
from build.snapshot.lock import Lock, write_lock
from ci.commands import store as store_command
from ci.rehearsal.s3 import ObjectStore
from tests.publish.conftest import Outcome
from tests.publish.release import write_config
from tests.publish.snapshots import URL, cut, flip, refill, store_of
from tests.snapshot.kept import keep
from tests.snapshot.test_kept import no_pause


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ci.commands.store", "ci.release.snapshots"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=no_pause))


@pytest.fixture
def push(
    tmp_path: Path,
    lock: Lock,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
) -> Callable[..., Outcome]:
    """Return a function that runs `store push` with these further options."""
    config = write_config(tmp_path, spaces=spaces)
    return lambda *words: call(store_command, config, "push", *words, environment=keys)


def test_a_snapshot_in_the_space_serves_a_build_without_a_mirror(
    tmp_path: Path,
    lock: Lock,
    spaces: dict[str, str],
    push: Callable[..., Outcome],
) -> None:
    outcome = push("--json")
    url = f"{spaces['public_url']}/{spaces['prefix']}snapshots/{lock.id}.tar"
    assert (outcome.data["url"], outcome.data["state"]) == (url, "uploaded")
    head = requests.head(url, timeout=5)
    assert head.headers["Content-Type"] == "application/x-tar"
    assert "immutable" in head.headers["Cache-Control"]
    (line,) = refill(tmp_path / "release.toml", lock)
    base = url.rpartition("/")[0]
    assert line == f"kept snapshots at {base}: has 3 of 3 missing files"


def test_a_second_push_uploads_nothing(
    push: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push()
    monkeypatch.setattr("ci.publish.kept.upload_file", None)
    outcome = push()
    assert ".tar: kept, " in outcome.text
    # Another version of Snowdrop writes another README.txt: the snapshot is the same.
    monkeypatch.setattr("build.snapshot.archive.readme", lambda *_: b"another text")
    outcome = push()
    assert ".tar: kept, " in outcome.text


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "half uploaded": (cut, "truncated|damaged|not a snapshot"),
    "a byte changed": (flip, "sha256 .*, its lock says"),
    "another file": (lambda content: b"<html>", "not a snapshot archive"),
}


@pytest.mark.parametrize(("harm", "message"), DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("labelled", [True, False])
def test_a_damaged_object_is_named_and_replaced(
    harm: Callable[[bytes], bytes],
    message: str,
    labelled: bool,
    lock: Lock,
    store: ObjectStore,
    spaces: dict[str, str],
    push: Callable[..., Outcome],
) -> None:
    url = push("--json").data["url"]
    content = requests.get(str(url), timeout=5).content
    name = f"{spaces['prefix']}snapshots/{lock.id}.tar"
    digest = {"sha256": hashlib.sha256(content).hexdigest()} if labelled else {}
    store.client().put_object(Bucket=store.bucket, Key=name, Body=harm(content), Metadata=digest)
    outcome = push()
    assert ".tar: replaced, " in outcome.text
    (note,) = outcome.progress.notes
    assert note.startswith(f"{name}: damaged, it is replaced: ")
    assert re.search(message, note)
    assert requests.get(str(url), timeout=5).content == content


def test_the_snapshot_of_another_lock_is_replaced(
    tmp_path: Path,
    lock: Lock,
    store: ObjectStore,
    spaces: dict[str, str],
    push: Callable[..., Outcome],
) -> None:
    other = keep(store_of(tmp_path), "other", url=URL)
    write_lock(tmp_path / "release.lock", other)
    url = str(push("--json").data["url"])
    key = f"{spaces['prefix']}snapshots/{lock.id}.tar"
    body = requests.get(url, timeout=5).content
    store.client().put_object(Bucket=store.bucket, Key=key, Body=body)
    write_lock(tmp_path / "release.lock", lock)
    outcome = push()
    assert f"the snapshot of another lock, {other.id}" in outcome.progress.notes[0]


def test_an_upload_is_conditional_and_public(
    push: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, str]] = []
    start = ci.publish.mirror._start_counting

    def watch(request: AWSPreparedRequest, **event: object) -> None:
        sent.append({key.lower(): _text(value) for key, value in request.headers.items()})
        start(request, **event)

    monkeypatch.setattr(ci.publish.mirror, "_start_counting", watch)
    push()
    (headers,) = sent
    assert (headers["x-amz-acl"], headers["if-none-match"]) == ("public-read", "*")
    assert headers["x-amz-meta-sha256"] == headers["x-amz-content-sha256"]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_an_incomplete_store_is_completed_before_a_push(
    tmp_path: Path,
    lock: Lock,
    push: Callable[..., Outcome],
) -> None:
    shutil.copytree(tmp_path / ".snowdrop", tmp_path / "copy")
    store_of(tmp_path).path(lock.packages[0].sha256).unlink()
    with pytest.raises(SnapshotError, match=r"1 of 4 files that release\.lock names are in no"):
        push()
    shutil.rmtree(tmp_path / ".snowdrop")
    (tmp_path / "copy").rename(tmp_path / ".snowdrop")
    push()
    store_of(tmp_path).path(lock.packages[0].sha256).unlink()
    outcome = push()
    assert ".tar: kept, " in outcome.text


@pytest.mark.parametrize("missing", ["SPACES_KEY", "SPACES_SECRET", "GITHUB_TOKEN"])
def test_a_missing_secret_is_named_before_anything_is_done(
    missing: str, tmp_path: Path, spaces: dict[str, str], call: Callable[..., Outcome], lock: Lock
) -> None:
    environment = {"SPACES_KEY": "some-key", "SPACES_SECRET": "some-secret"}
    environment.pop(missing, "")
    config = write_config(tmp_path, spaces=None if missing == "GITHUB_TOKEN" else spaces)
    with pytest.raises(ConfigError, match=f"^{missing}: not in the environment"):
        call(store_command, config, "push", environment=environment)
