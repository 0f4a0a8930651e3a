"""A large file is sent in parts; an interrupted upload is resumed, a stale one aborted."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest

from build.errors import PublishError
from ci.config import SpacesConfig
from ci.publish import mirror, parts
from ci.publish.mirror import open_bucket, upload_file
from ci.publish.parts import MIB, abort_stale
from ci.publish.release_files import ReleaseFile
from ci.rehearsal.s3 import ObjectStore
from tests.publish.release import Counted

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SIZE = 12 * MIB + 5
SMALLEST = 5 * MIB
"""Of a part that is not the last one: S3 takes no smaller one."""


class Killed(BaseException):
    """The end of the process, as by SIGKILL: nothing handles it."""


@pytest.fixture(autouse=True, name="sizes")
def _sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", SMALLEST)
    monkeypatch.setattr(mirror, "LARGE", SMALLEST)


@pytest.fixture(name="client")
def _client(spaces: dict[str, str], keys: dict[str, str]) -> "S3Client":
    return open_bucket(SpacesConfig(**spaces), keys)


@pytest.fixture(name="key")
def _key(spaces: dict[str, str]) -> str:
    return f"{spaces['prefix']}v1/image.qcow2"


def large_file(folder: Path, salt: str = "", *, same: int = 0) -> ReleaseFile:
    """Return a file of 12 MiB; its first `same` bytes do not depend on the salt."""
    block = hashlib.sha256(salt.encode()).digest()
    content = (bytes(same) + block * (SIZE // len(block) + 1))[:SIZE]
    path = folder / f"image{salt}.qcow2"
    path.write_bytes(content)
    return ReleaseFile(
        path=path,
        size=SIZE,
        sha256=hashlib.sha256(content).hexdigest(),
        media_type="application/x-qemu-disk",
    )


def send(client: "S3Client", store: ObjectStore, key: str, file: ReleaseFile) -> int:
    """Upload the file; return the bytes that the progress showed."""
    progress = Counted()
    with progress.step("upload") as step:
        upload_file(client, store.bucket, key, file, step)
    return progress.steps["upload"]


def sent_parts(client: "S3Client") -> list[str]:
    """Return a list to which the number of each part is added before it is sent."""
    seen: list[str] = []

    def watch(request: AWSPreparedRequest, **_: object) -> None:
        assert request.url
        seen.append(request.url.partition("partNumber=")[2].partition("&")[0])

    client.meta.events.register("before-send.s3.UploadPart", watch)
    return seen


def kill_before(client: "S3Client", operation: str, count: int = 1) -> Callable[[], None]:
    """Kill the process before its request number `count` of that operation; return the undoing."""
    event, left = f"before-send.s3.{operation}", [count]

    def kill(**_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    client.meta.events.register(event, kill)
    return lambda: client.meta.events.unregister(event, kill)


def unfinished(store: ObjectStore, prefix: str) -> list[str]:
    """Return the keys of the unfinished uploads."""
    listed = store.client().list_multipart_uploads(Bucket=store.bucket, Prefix=prefix)
    return [each["Key"] for each in listed.get("Uploads", [])]


def test_an_upload_in_parts_is_served_as_one_file_with_its_headers(
    client: "S3Client", store: ObjectStore, key: str, tmp_path: Path
) -> None:
    file, numbers = large_file(tmp_path), sent_parts(client)
    assert send(client, store, key, file) == SIZE
    assert numbers == ["1", "2", "3"]
    head = requests.head(f"{store.public_url}/{key}", timeout=5)
    assert (head.headers["Content-Length"], head.headers["Content-Type"]) == (
        str(SIZE),
        "application/x-qemu-disk",
    )
    assert head.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert head.headers["Content-Disposition"] == 'attachment; filename="image.qcow2"'
    assert head.headers["x-amz-meta-sha256"] == file.sha256
    served = requests.get(f"{store.public_url}/{key}", timeout=5).content
    assert hashlib.sha256(served).hexdigest() == file.sha256
    assert unfinished(store, key) == []


@pytest.mark.parametrize(
    ("operation", "count", "missing"),
    [
        ("UploadPart", 2, ["2", "3"]),
        pytest.param("UploadPart", 3, ["3"], marks=pytest.mark.full),
        pytest.param("CompleteMultipartUpload", 1, [], marks=pytest.mark.full),
    ],
)
def test_the_next_run_sends_the_missing_parts_alone(
    operation: str,
    count: int,
    missing: list[str],
    client: "S3Client",
    store: ObjectStore,
    key: str,
    tmp_path: Path,
) -> None:
    file = large_file(tmp_path)
    undo = kill_before(client, operation, count)
    with pytest.raises(Killed):
        send(client, store, key, file)
    undo()
    assert unfinished(store, key) == [key]
    numbers = sent_parts(client)
    # What is there already counts as progress too.
    assert send(client, store, key, file) == SIZE
    assert numbers == missing
    served = requests.get(f"{store.public_url}/{key}", timeout=5).content
    assert hashlib.sha256(served).hexdigest() == file.sha256
    assert unfinished(store, key) == []


@pytest.mark.full
@pytest.mark.parametrize("sent", [0, 2])
def test_an_unfinished_upload_of_other_bytes_is_not_resumed(
    sent: int, client: "S3Client", store: ObjectStore, key: str, tmp_path: Path
) -> None:
    """Its digest is in its metadata, which cannot be changed."""
    undo = kill_before(client, "UploadPart", sent + 1)
    with pytest.raises(Killed):
        send(client, store, key, large_file(tmp_path, "old", same=SMALLEST))
    undo()
    new, numbers = large_file(tmp_path, "new", same=SMALLEST), sent_parts(client)
    send(client, store, key, new)
    assert numbers == ["1", "2", "3"]
    head = requests.head(f"{store.public_url}/{key}", timeout=5)
    assert head.headers["x-amz-meta-sha256"] == new.sha256
    assert abort_stale(client, store.bucket, key, {key}) == 1
    assert unfinished(store, key) == []


@pytest.mark.full
def test_a_resumed_upload_of_another_file_that_began_alike_gets_the_right_digest(
    client: "S3Client", store: ObjectStore, key: str, tmp_path: Path
) -> None:
    undo = kill_before(client, "UploadPart", 3)
    with pytest.raises(Killed):
        send(client, store, key, large_file(tmp_path, "old", same=2 * SMALLEST))
    undo()
    new, numbers = large_file(tmp_path, "new", same=2 * SMALLEST), sent_parts(client)
    send(client, store, key, new)
    assert numbers == ["3"]
    answer = requests.get(f"{store.public_url}/{key}", timeout=5)
    assert hashlib.sha256(answer.content).hexdigest() == new.sha256
    assert answer.headers["x-amz-meta-sha256"] == new.sha256
    assert answer.headers["Content-Type"] == "application/x-qemu-disk"
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.full
def test_an_upload_that_vanishes_before_its_completion_is_sent_again(
    client: "S3Client", store: ObjectStore, key: str, tmp_path: Path
) -> None:
    file, numbers = large_file(tmp_path), sent_parts(client)
    lost: list[str] = []

    def lose(**_: object) -> None:
        if not lost:
            (each,) = store.client().list_multipart_uploads(Bucket=store.bucket, Prefix=key)[
                "Uploads"
            ]
            lost.append(each["UploadId"])
            store.client().abort_multipart_upload(
                Bucket=store.bucket, Key=key, UploadId=each["UploadId"]
            )

    client.meta.events.register("before-send.s3.CompleteMultipartUpload", lose)
    assert send(client, store, key, file) == SIZE
    assert numbers == ["1", "2", "3"] * 2
    served = requests.get(f"{store.public_url}/{key}", timeout=5).content
    assert hashlib.sha256(served).hexdigest() == file.sha256


@pytest.mark.full
def test_two_publishers_at_once_write_one_object_and_leave_no_upload(
    client: "S3Client",
    store: ObjectStore,
    key: str,
    keys: dict[str, str],
    tmp_path: Path,
    spaces: dict[str, str],
) -> None:
    other, file = open_bucket(SpacesConfig(**spaces), keys), large_file(tmp_path)
    runs: list[int] = []

    def between(**_: object) -> None:
        if not runs:
            runs.append(send(other, store, key, file))

    client.meta.events.register("before-send.s3.CompleteMultipartUpload", between)
    send(client, store, key, file)
    assert runs == [SIZE]
    served = requests.get(f"{store.public_url}/{key}", timeout=5).content
    assert hashlib.sha256(served).hexdigest() == file.sha256
    assert unfinished(store, key) == []


@pytest.mark.full
def test_other_bytes_that_another_run_wrote_meanwhile_stay(
    client: "S3Client", store: ObjectStore, key: str, tmp_path: Path
) -> None:
    def between(**_: object) -> None:
        store.client().put_object(Bucket=store.bucket, Key=key, Body=b"other")

    client.meta.events.register("before-send.s3.CompleteMultipartUpload", between)
    with pytest.raises(PublishError, match="the mirror has sha256 unknown"):
        send(client, store, key, large_file(tmp_path))
    assert requests.get(f"{store.public_url}/{key}", timeout=5).content == b"other"
    assert unfinished(store, key) == []


def test_only_stale_uploads_are_aborted_and_no_object(
    client: "S3Client",
    store: ObjectStore,
    spaces: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix, bucket, setup = spaces["prefix"], store.bucket, store.client()
    names = ("v1/finished", "v2/running")
    for name in (*(f"{prefix}{each}" for each in names), "elsewhere/running"):
        setup.create_multipart_upload(Bucket=bucket, Key=name)
    setup.put_object(Bucket=bucket, Key=f"{prefix}v1/finished", Body=b"object")
    finished = {f"{prefix}v1/finished"}
    assert abort_stale(client, bucket, prefix, finished) == 1
    assert unfinished(store, prefix) == [f"{prefix}v2/running"]
    # A day later.
    monkeypatch.setattr(parts, "STALE", timedelta(seconds=-5))
    assert abort_stale(client, bucket, prefix, finished) == 1
    assert unfinished(store, prefix) == []
    assert unfinished(store, "elsewhere/") == ["elsewhere/running"]
    found = setup.get_object(Bucket=bucket, Key=f"{prefix}v1/finished")
    assert found["Body"].read() == b"object"
