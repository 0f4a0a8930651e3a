"""`mirror` and `publish` that are killed or stopped: one plain run more ends as if nothing was."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session

from build.errors import PublishError, RemoteError
from ci.commands import mirror as mirror_command
from ci.rehearsal.github.server import running as github_running
from ci.rehearsal.s3 import ObjectStore
from tests.publish.conftest import Outcome
from tests.publish.killing import ROOT, Case, ten_kills
from tests.publish.release import COMMIT, IMAGE, VERSION, world_in, write_config, write_release
from tests.publish.s3_proxy import Fault, Proxy
from tests.publish.test_parts import unfinished

pytestmark = pytest.mark.full
CATALOGUE = ("catalogue.json", "index.html", "feed.xml")
LARGE_IMAGE = 2_200_000
"""Blocks of 32 bytes: an image that is sent in parts."""


def listing(store: ObjectStore, prefix: str) -> dict[str, str]:
    """Return the sha256 of each object below the prefix, by its name there."""
    client = store.client()
    listed = client.list_objects_v2(Bucket=store.bucket, Prefix=prefix)
    return {
        each["Key"].removeprefix(prefix): hashlib.sha256(
            client.get_object(Bucket=store.bucket, Key=each["Key"])["Body"].read()
        ).hexdigest()
        for each in listed.get("Contents", [])
    }


@contextmanager
def killed_after(request: int) -> Iterator[None]:
    """End the process after that request to the bucket took effect, as SIGKILL does."""
    real, count = URLLib3Session.send, 0

    def send(session: URLLib3Session, prepared: AWSPreparedRequest) -> object:
        nonlocal count
        answer = real(session, prepared)
        count += 1
        if count == request:
            raise SystemExit(137)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", send)
        yield


def test_a_kill_after_each_request_of_a_mirror_is_followed_by_one_plain_run(
    store: ObjectStore,
    tmp_path: Path,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The image is sent in two parts."""
    dist = write_release(tmp_path, blocks=200_000)
    monkeypatch.setattr("ci.publish.mirror.LARGE", (dist / IMAGE).stat().st_size)
    monkeypatch.setattr("ci.publish.parts.PART", 5 * 1024 * 1024)
    states: dict[int, list[str]] = {}
    for number in range(1, 100):
        prefix = f"{spaces['prefix']}{number}/"
        config = write_config(tmp_path, spaces={**spaces, "prefix": prefix})
        try:
            with killed_after(number):
                call(mirror_command, config, environment=keys)
        except SystemExit:
            call(mirror_command, config, environment=keys)
        else:
            break
        states[number] = sorted(listing(store, prefix))
        assert unfinished(store, prefix) == [], number
    # HEAD and PUT of each file, the parts of the image, the catalogue: read, written, read.
    assert len(states) > 40
    names = {*(f"{VERSION}/{path.name}" for path in dist.iterdir())}
    expected = sorted(names | set(CATALOGUE))
    assert {number for number, found in states.items() if found != expected} == set()


def test_ctrl_c_in_an_upload_ends_with_130_and_one_clean_message(
    proxy: Proxy, store: ObjectStore, tmp_path: Path, spaces: dict[str, str], keys: dict[str, str]
) -> None:
    write_release(tmp_path)
    through = proxy.settings(spaces, store.bucket)
    argv = [sys.executable, "-m", "ci", "mirror", "--config"]
    argv.append(str(write_config(tmp_path, spaces=through)))
    environment = {**os.environ, **keys}
    proxy.fault = Fault("PUT", IMAGE, "stalled")
    with subprocess.Popen(
        argv, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 60
        while not proxy.done and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, proxy.done) == (130, 1)
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "error: interrupted", err
    proxy.fault = None
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(listing(store, spaces["prefix"])) == 15 + 3


def test_a_mirror_that_serves_other_bytes_the_second_time_is_found(
    proxy: Proxy,
    store: ObjectStore,
    tmp_path: Path,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
) -> None:
    write_release(tmp_path)
    through = proxy.settings(spaces, store.bucket)
    config = write_config(tmp_path, spaces=through)
    call(mirror_command, config, environment=keys)
    before = listing(store, spaces["prefix"])
    proxy.fault = Fault("GET", IMAGE, "other bytes")
    with pytest.raises(PublishError, match=f"{IMAGE}: downloaded sha256"):
        call(mirror_command, config, environment=keys)
    assert call(mirror_command, config, environment=keys).text.count(" kept ") == 15
    assert listing(store, spaces["prefix"]) == before


def test_a_service_that_refuses_connections_is_named(
    store: ObjectStore,
    tmp_path: Path,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    write_release(tmp_path)
    gone = write_config(tmp_path, spaces={**spaces, "endpoint": "http://127.0.0.1:1"})
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:1") as failed:
        call(mirror_command, gone, environment=keys)
    assert "run the same command again" in failed.value.hint
    call(mirror_command, write_config(tmp_path, spaces=spaces), environment=keys)
    assert len(listing(store, spaces["prefix"])) == 15 + 3


@pytest.mark.timeout(1800)
def test_ten_random_kills_of_mirror_end_with_the_same_listing(
    store: ObjectStore, tmp_path: Path, spaces: dict[str, str], keys: dict[str, str]
) -> None:
    write_release(tmp_path, blocks=LARGE_IMAGE)

    @contextmanager
    def case(number: int) -> Iterator[Case]:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "dist").symlink_to(tmp_path / "dist")
        prefix = f"{spaces['prefix']}{number}/"
        config = write_config(folder, spaces={**spaces, "prefix": prefix})

        def state() -> dict[str, str]:
            assert unfinished(store, prefix) == []
            found = listing(store, prefix)
            # The catalogue has the prefix in its URLs.
            for name in CATALOGUE:
                content = requests.get(f"{store.public_url}/{prefix}{name}", timeout=5).text
                found[name] = content.replace(prefix, "PREFIX/")
            return found

        yield Case(("mirror", "--config", str(config)), keys, state)

    ten_kills(case)


@pytest.mark.timeout(1800)
def test_ten_random_kills_of_publish_end_with_the_same_release(tmp_path: Path) -> None:
    write_release(tmp_path)

    @contextmanager
    def case(number: int) -> Iterator[Case]:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "dist").symlink_to(tmp_path / "dist")
        world = world_in(folder)
        world.tags[VERSION] = COMMIT

        def state() -> dict[str, object]:
            (release,) = world.releases.values()
            return {
                "release": (release.tag, release.draft, release.prerelease, release.name),
                "assets": sorted((each.name, each.sha256, each.state) for each in release.assets),
                "violations": world.violations,
            }

        with github_running(world) as api:
            config = write_config(folder, api=api)
            token = {"GITHUB_TOKEN": "rehearsal-only"}
            yield Case(("publish", "--config", str(config)), token, state)

    ten_kills(case)
