"""A snapshot is kept in a real S3 server or at GitHub's double, and a build finds it there."""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest

import ci.publish.mirror
from build.errors import ConfigError, PublishError, RemoteError, SnapshotError
from build.snapshot.archive import open_archive, write_archive
from build.snapshot.fetch import Fetcher
from build.snapshot.kept import kept_name
from build.snapshot.lock import Lock, dump_lock, write_lock
from build.snapshot.restore import fill_store
from build.snapshot.store import Store
from ci.commands import store as store_command
from ci.config import read_config
from ci.rehearsal.github.server import running as github_running
from ci.rehearsal.github.state import Fault, StoredAsset, StoredRelease, World
from ci.rehearsal.s3 import ObjectStore
from ci.rehearsal.s3 import running as s3_running
from ci.release.snapshots import kept_tag, snapshot_sources
from tests.apk.makers import key
from tests.publish.conftest import Outcome
from tests.publish.release import Counted, world_in, write_config
from tests.snapshot.kept import keep
from tests.snapshot.served import Notes
from tests.snapshot.test_kept import no_pause

UPLOAD, CREATE, UPDATE = (
    "repos/upload-release-asset",
    "repos/create-release",
    "repos/update-release",
)
URL = "http://127.0.0.1:9/v3.24/main"
"""Repository of the lock; nothing listens there."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with s3_running(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def spaces(s3: ObjectStore, tmp_path: Path) -> dict[str, str]:
    """Return a [spaces] table with a prefix for this test alone."""
    return {
        "bucket": s3.bucket,
        "region": "fra1",
        "prefix": f"{tmp_path.name.replace('_', '-')}/",
        "endpoint": s3.endpoint,
        "public_url": s3.public_url,
    }


@pytest.fixture
def keys(s3: ObjectStore) -> dict[str, str]:
    return {"SPACES_KEY": s3.key, "SPACES_SECRET": s3.secret}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_in(tmp_path)


@pytest.fixture
def api(world: World) -> Iterator[str]:
    with github_running(world) as url:
        yield url
    assert world.violations == []


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci.commands.store.time.sleep", lambda seconds: None)


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    """A lock in the folder of the configuration, whose files are all in the store."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / key().name).write_bytes(key().public_pem())
    lock = keep(store_of(tmp_path), "hello", "world", url=URL)
    write_lock(tmp_path / "release.lock", lock)
    return lock


def store_of(folder: Path) -> Store:
    return Store(folder / ".snowdrop" / "store")


def refill(config: Path, lock: Lock, **environment: str) -> list[str]:
    """Empty the store, fill it as a build does, and return the results of the sources."""
    folder, notes = config.parent, Notes()
    shutil.rmtree(folder / ".snowdrop" / "store")
    read = read_config(config)
    sources = snapshot_sources(read, environment, no_pause)
    fill_store(read.build, lock, store_of(folder), Fetcher(no_pause), notes, sources)
    return notes.lines


def test_a_snapshot_in_the_space_serves_a_build_without_a_mirror(
    tmp_path: Path,
    lock: Lock,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
) -> None:
    config = write_config(tmp_path, spaces=spaces)
    outcome = call(store_command, config, "push", "--json", environment=keys)
    url = f"{spaces['public_url']}/{spaces['prefix']}snapshots/{lock.id}.tar"
    assert (outcome.data["url"], outcome.data["state"]) == (url, "uploaded")
    head = requests.head(url, timeout=5)
    assert head.headers["Content-Type"] == "application/x-tar"
    assert "immutable" in head.headers["Cache-Control"]
    (line,) = refill(config, lock)
    base = url.rpartition("/")[0]
    assert line == f"kept snapshots at {base}: has 3 of 3 missing files"


def test_a_second_push_uploads_nothing(
    tmp_path: Path,
    lock: Lock,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = write_config(tmp_path, spaces=spaces)
    call(store_command, config, "push", environment=keys)
    monkeypatch.setattr("ci.publish.kept.upload_file", None)
    outcome = call(store_command, config, "push", environment=keys)
    assert ".tar: kept, " in outcome.text
    # Another version of Snowdrop writes another README.txt: the snapshot is the same.
    monkeypatch.setattr("build.snapshot.archive.readme", lambda *_: b"another text")
    outcome = call(store_command, config, "push", environment=keys)
    assert ".tar: kept, " in outcome.text


def _cut(content: bytes) -> bytes:
    return content[:-3000]


def _flip(content: bytes) -> bytes:
    at = content.index(b".apk\0") + 600
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "half uploaded": (_cut, "truncated|damaged|not a snapshot"),
    "a byte changed": (_flip, "sha256 .*, its lock says"),
    "another file": (lambda content: b"<html>", "not a snapshot archive"),
}


@pytest.mark.parametrize(("harm", "message"), DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("labelled", [True, False])
def test_a_damaged_object_is_named_and_replaced(
    harm: Callable[[bytes], bytes],
    message: str,
    labelled: bool,
    tmp_path: Path,
    lock: Lock,
    s3: ObjectStore,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
) -> None:
    config = write_config(tmp_path, spaces=spaces)
    url = call(store_command, config, "push", "--json", environment=keys).data["url"]
    content = requests.get(str(url), timeout=5).content
    name = f"{spaces['prefix']}snapshots/{lock.id}.tar"
    digest = {"sha256": hashlib.sha256(content).hexdigest()} if labelled else {}
    s3.client().put_object(Bucket=s3.bucket, Key=name, Body=harm(content), Metadata=digest)
    outcome = call(store_command, config, "push", environment=keys)
    assert ".tar: replaced, " in outcome.text
    (note,) = outcome.progress.notes
    assert note.startswith(f"{name}: damaged, it is replaced: ")
    assert re.search(message, note)
    assert requests.get(str(url), timeout=5).content == content


def test_the_snapshot_of_another_lock_is_replaced(
    tmp_path: Path,
    lock: Lock,
    s3: ObjectStore,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
) -> None:
    config = write_config(tmp_path, spaces=spaces)
    other = keep(store_of(tmp_path), "other", url=URL)
    write_lock(tmp_path / "release.lock", other)
    url = str(call(store_command, config, "push", "--json", environment=keys).data["url"])
    key = f"{spaces['prefix']}snapshots/{lock.id}.tar"
    body = requests.get(url, timeout=5).content
    s3.client().put_object(Bucket=s3.bucket, Key=key, Body=body)
    write_lock(tmp_path / "release.lock", lock)
    outcome = call(store_command, config, "push", environment=keys)
    assert f"the snapshot of another lock, {other.id}" in outcome.progress.notes[0]


def test_an_upload_is_conditional_and_public(
    tmp_path: Path,
    lock: Lock,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, str]] = []
    start = ci.publish.mirror._start_counting

    def watch(request: AWSPreparedRequest, **event: object) -> None:
        sent.append({key.lower(): _text(value) for key, value in request.headers.items()})
        start(request, **event)

    monkeypatch.setattr(ci.publish.mirror, "_start_counting", watch)
    call(store_command, write_config(tmp_path, spaces=spaces), "push", environment=keys)
    (headers,) = sent
    assert (headers["x-amz-acl"], headers["if-none-match"]) == ("public-read", "*")
    assert headers["x-amz-meta-sha256"] == headers["x-amz-content-sha256"]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_an_incomplete_store_is_completed_before_a_push(
    tmp_path: Path,
    lock: Lock,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
) -> None:
    config = write_config(tmp_path, spaces=spaces)
    shutil.copytree(tmp_path / ".snowdrop", tmp_path / "copy")
    store_of(tmp_path).path(lock.packages[0].sha256).unlink()
    with pytest.raises(SnapshotError, match=r"1 of 4 files that release\.lock names are in no"):
        call(store_command, config, "push", environment=keys)
    shutil.rmtree(tmp_path / ".snowdrop")
    (tmp_path / "copy").rename(tmp_path / ".snowdrop")
    call(store_command, config, "push", environment=keys)
    store_of(tmp_path).path(lock.packages[0].sha256).unlink()
    outcome = call(store_command, config, "push", environment=keys)
    assert ".tar: kept, " in outcome.text


def test_a_snapshot_at_github_serves_a_build_without_a_mirror(
    tmp_path: Path, lock: Lock, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    config = write_config(tmp_path, api=api)
    token = {"GITHUB_TOKEN": "no-secret-at-all"}
    outcome = call(store_command, config, "push", environment=token)
    (release,) = world.releases.values()
    assert f"/releases/tag/{kept_tag(lock.id)}: uploaded, " in outcome.text
    assert (release.tag, release.draft, release.prerelease) == (kept_tag(lock.id), False, True)
    assert (release.latest, [asset.name for asset in release.assets]) == (
        "false",
        [kept_name(lock.id)],
    )
    # Without an account, and with a token as a private repository needs it.
    for environment in ({}, token):
        (line,) = refill(config, lock, **environment)
        assert line == "kept snapshots of octo/snowdrop at GitHub: has 3 of 3 missing files"
    (asset,) = release.assets
    before = asset.number
    outcome = call(store_command, config, "push", environment=token)
    assert ": kept, " in outcome.text
    assert [each.number for each in release.assets] == [before]


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(CREATE, kind) for kind in ("502-after", "reset-after")),
        *(Fault(UPLOAD, kind) for kind in ("starter", "reset-midway", "502-after", "damaged")),
        *(Fault(UPDATE, kind) for kind in ("502-before", "502-after")),
    ],
    ids=lambda fault: f"{fault.operation} {fault.kind}",
)
def test_a_push_that_was_interrupted_is_completed(
    fault: Fault, tmp_path: Path, lock: Lock, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    """Once by the retry of the same command, once by the next command."""
    config = write_config(tmp_path, api=api)
    token = {"GITHUB_TOKEN": "no-secret-at-all"}
    world.faults += [fault] * (1 if fault.kind.endswith("after") else 9)
    try:
        call(store_command, config, "push", environment=token)
    except RemoteError:
        assert all(release.draft for release in world.releases.values())
    world.faults.clear()
    call(store_command, config, "push", environment=token)
    (release,) = world.releases.values()
    (asset,) = release.assets
    assert (release.draft, asset.name, asset.state) == (False, kept_name(lock.id), "uploaded")
    assert open_archive(world.blob(asset.number)).lock == lock


def test_a_damaged_archive_at_github_is_replaced_unless_that_is_forbidden(
    tmp_path: Path, lock: Lock, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    config = write_config(tmp_path, api=api)
    token = {"GITHUB_TOKEN": "no-secret-at-all"}
    call(store_command, config, "push", environment=token)
    (release,) = world.releases.values()
    blob = world.blob(release.assets[0].number)
    blob.write_bytes(_flip(blob.read_bytes()))
    with pytest.raises(PublishError, match="is damaged, and GitHub does not let it be replaced"):
        call(store_command, config, "push", environment=token)
    release.immutable = False
    outcome = call(store_command, config, "push", environment=token)
    assert ": replaced, " in outcome.text
    assert open_archive(world.blob(release.assets[0].number)).lock == lock


def test_the_archive_of_a_former_release_is_found_by_its_lock(
    tmp_path: Path, lock: Lock, world: World, api: str
) -> None:
    """Of two releases only the older one has the files; the archive of the newer is not read."""
    other = keep(store_of(tmp_path), "other", url=URL)
    config = write_config(tmp_path, api=api)
    add_release(world, tmp_path, "v3.24.20261101", lock)
    add_release(world, tmp_path, "v3.24.20261110", other, archive=b"not read")
    for environment in ({}, {"GITHUB_TOKEN": "no-secret-at-all"}):
        kept, former = refill(config, lock, **environment)
        assert kept.startswith("kept snapshots of octo/snowdrop at GitHub: ")
        assert former == (
            "archives of the releases of octo/snowdrop: "
            "v3.24.20261110: its lock names none of the missing files; "
            "v3.24.20261101: has 3 of 3 missing files"
        )


def test_an_archive_in_dist_is_at_hand(tmp_path: Path, lock: Lock, world: World, api: str) -> None:
    config = write_config(tmp_path, api=api)
    (tmp_path / "dist").mkdir()
    path = tmp_path / "dist" / "snowdrop-v3.24.20261101-snapshot.tar"
    path.write_bytes(archive_of(tmp_path, lock))
    _, line = refill(config, lock)
    assert line == f"archive {path}: has 3 of 3 missing files"


def test_an_empty_list_of_kept_snapshots_asks_nobody_for_one(tmp_path: Path, api: str) -> None:
    config = write_config(tmp_path, api=api)
    text = config.read_text()
    config.write_text(text.replace("[snapshot]", "[snapshot]\nkept = []"))
    names = [each.name for each in snapshot_sources(read_config(config), {}, no_pause)]
    assert names == ["archives of the releases of octo/snowdrop"]
    # A fresh clone names no repository yet.
    config.write_text(text.replace("octo/snowdrop", "OWNER/REPO"))
    assert snapshot_sources(read_config(config), {}, no_pause) == ()
    for wrong in ("ftp://x/y", "https://x.example/y?z", ""):
        config.write_text(text.replace("[snapshot]", f'[snapshot]\nkept = ["{wrong}"]'))
        with pytest.raises(ConfigError, match=r"snapshot.kept = .* expected a list of http"):
            read_config(config)


def test_a_reply_of_another_form_is_a_result(
    tmp_path: Path, lock: Lock, world: World, api: str, call: Callable[..., Outcome]
) -> None:
    config = write_config(tmp_path, api=api)
    world.faults.append(Fault("repos/list-releases", "502-before"))
    world.faults.append(Fault("repos/list-releases", "reset-after"))
    with pytest.raises(SnapshotError, match="has 1 of 4 now") as failure:
        refill(config, lock)
    assert "archives of the releases of octo/snowdrop: no release with an archive" in str(
        failure.value
    )


@pytest.mark.parametrize("missing", ["SPACES_KEY", "SPACES_SECRET", "GITHUB_TOKEN"])
def test_a_missing_secret_is_named_before_anything_is_done(
    missing: str, tmp_path: Path, spaces: dict[str, str], call: Callable[..., Outcome], lock: Lock
) -> None:
    environment = {"SPACES_KEY": "some-key", "SPACES_SECRET": "some-secret"}
    environment.pop(missing, "")
    config = write_config(tmp_path, spaces=None if missing == "GITHUB_TOKEN" else spaces)
    with pytest.raises(ConfigError, match=f"^{missing}: not in the environment"):
        call(store_command, config, "push", environment=environment)


def archive_of(folder: Path, lock: Lock) -> bytes:
    path = folder / "made.tar"
    write_archive(path, lock, store_of(folder), trust_root=None, progress=Counted())
    return path.read_bytes()


def add_release(
    world: World, folder: Path, tag: str, lock: Lock, archive: bytes | None = None
) -> None:
    """Add a published release with a lock and a snapshot archive."""
    files = {
        "release.lock": dump_lock(lock),
        f"snowdrop-{tag}-snapshot.tar": archive or archive_of(folder, lock),
    }
    release = StoredRelease(
        number=world.next_number(),
        tag=tag,
        commitish="main",
        name=tag,
        body="",
        draft=False,
        prerelease=False,
        created=world.now(),
        published=world.now(),
    )
    for name, content in files.items():
        number = world.next_number()
        world.blob(number).write_bytes(content)
        release.assets.append(
            StoredAsset(
                number=number,
                name=name,
                label=None,
                content_type="application/octet-stream",
                size=len(content),
                sha256=None,
                state="uploaded",
                created=world.now(),
            )
        )
    world.releases[release.number] = release
    world.tags[tag] = "5" * 40
