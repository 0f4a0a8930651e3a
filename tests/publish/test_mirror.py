"""The mirror serves the signed bytes publicly and never changes them; on a real S3 server."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError

from build.errors import ConfigError, PublishError, RemoteError
from ci.commands import mirror as mirror_command
from ci.config import SpacesConfig, read_config
from ci.publish.mirror import Mirrored, mirror_release, open_bucket
from ci.publish.release_files import read_release
from ci.rehearsal.s3 import ObjectStore
from tests.publish.conftest import Outcome
from tests.publish.release import IMAGE, VERSION, Counted, write_config, write_release


def test_an_import_gets_the_signed_bytes(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Callable[..., Outcome]
) -> None:
    dist = write_release(tmp_path)
    config = write_config(tmp_path, spaces=spaces)

    outcome = call(mirror_command, config, "--json", environment=keys)

    url = f"{spaces['public_url']}/{spaces['prefix']}{VERSION}/{IMAGE}"
    assert outcome.data["import"] == [url]
    head = requests.head(url, timeout=5)
    assert (head.status_code, head.headers["Content-Type"]) == (200, "application/x-qemu-disk")
    assert "immutable" in head.headers["Cache-Control"]
    for path in dist.iterdir():
        served = requests.get(f"{url.removesuffix(IMAGE)}{path.name}", timeout=5)
        assert served.content == path.read_bytes()
    size = sum(path.stat().st_size for path in dist.iterdir())
    assert outcome.progress.steps["Mirror 15 files"] == size
    assert outcome.progress.steps["Download 15 files without an account"] == size


def test_a_second_run_uploads_nothing(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Callable[..., Outcome]
) -> None:
    write_release(tmp_path)
    config = write_config(tmp_path, spaces=spaces)
    first = call(mirror_command, config, environment=keys)
    second = call(mirror_command, config, environment=keys)
    assert (first.text.count(" uploaded "), second.text.count(" kept ")) == (15, 15)
    assert f"import URL: {spaces['public_url']}/" in second.text
    assert not any(title.startswith("Mirror") for title in second.progress.steps)


def test_other_bytes_at_a_key_are_refused_and_kept(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Callable[..., Outcome]
) -> None:
    write_release(tmp_path)
    config = write_config(tmp_path, spaces=spaces)
    call(mirror_command, config, environment=keys)
    url = f"{spaces['public_url']}/{spaces['prefix']}{VERSION}/{IMAGE}"
    before = requests.get(url, timeout=5).content
    write_release(tmp_path, salt="other bytes")

    with pytest.raises(PublishError, match=r"the mirror has sha256 \w+ .*, expected sha256 \w+"):
        call(mirror_command, config, environment=keys)
    assert requests.get(url, timeout=5).content == before


def test_damaged_bytes_with_correct_metadata_are_found(
    tmp_path: Path,
    store: ObjectStore,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
) -> None:
    image = write_release(tmp_path) / IMAGE
    config = write_config(tmp_path, spaces=spaces)
    release = read_release(read_config(config), Counted())
    label = next(file.sha256 for file in release.files if file.name == IMAGE)
    store.client().put_object(
        Bucket=store.bucket,
        Key=f"{spaces['prefix']}{VERSION}/{IMAGE}",
        Body=image.read_bytes()[:-1] + b"x",
        Metadata={"sha256": label},
    )
    with pytest.raises(PublishError, match=f"{IMAGE}: downloaded sha256"):
        call(mirror_command, config, environment=keys)


def mirrored(
    tmp_path: Path,
    spaces: dict[str, str],
    store: ObjectStore,
    watch: Callable[[AWSPreparedRequest], None],
) -> tuple[Mirrored, ...]:
    """Mirror with a client that passes each PUT to `watch` before it is sent."""
    config = read_config(write_config(tmp_path, spaces=spaces))
    assert isinstance(config.spaces, SpacesConfig)
    client = open_bucket(config.spaces, {"SPACES_KEY": store.key, "SPACES_SECRET": store.secret})
    client.meta.events.register("before-send.s3.PutObject", lambda request, **_: watch(request))
    release = read_release(config, Counted())
    return mirror_release(
        client, config.spaces, release, progress=Counted(), wait=lambda seconds: None
    )


def test_an_upload_sends_the_headers_that_spaces_needs(
    tmp_path: Path, spaces: dict[str, str], store: ObjectStore
) -> None:
    write_release(tmp_path)
    sent: list[dict[str, str]] = []

    def watch(request: AWSPreparedRequest) -> None:
        # Signed values are bytes, whatever the types say.
        values: dict[str, object] = dict(request.headers)
        sent.append(
            {key: str(v, "ascii") if isinstance(v, bytes) else str(v) for key, v in values.items()}
        )

    mirrored(tmp_path, spaces, store, watch)
    assert len(sent) == 15
    for headers in sent:
        lowered = {key.lower(): value for key, value in headers.items()}
        assert lowered["x-amz-acl"] == "public-read"
        assert lowered["if-none-match"] == "*"
        assert lowered["x-amz-meta-sha256"] == lowered["x-amz-content-sha256"]
        assert not any("checksum" in key or "trailer" in key for key in lowered)


def test_a_key_written_by_another_run_is_compared(
    tmp_path: Path, spaces: dict[str, str], store: ObjectStore
) -> None:
    write_release(tmp_path)

    def race(request: AWSPreparedRequest) -> None:
        key = f"{spaces['prefix']}{VERSION}/{IMAGE}"
        if str(request.url).endswith(IMAGE):
            store.client().put_object(Bucket=store.bucket, Key=key, Body=b"other bytes")

    with pytest.raises(PublishError, match="the mirror has sha256 unknown"):
        mirrored(tmp_path, spaces, store, race)


def test_the_public_can_neither_list_nor_write(
    store: ObjectStore, tmp_path: Path, spaces: dict[str, str]
) -> None:
    assert requests.get(store.public_url, timeout=5).status_code == 403
    assert requests.put(f"{store.public_url}/x", data=b"x", timeout=5).status_code == 403
    write_release(tmp_path)
    config = read_config(write_config(tmp_path, spaces=spaces))
    assert config.spaces
    client = open_bucket(config.spaces, {"SPACES_KEY": store.key, "SPACES_SECRET": store.key})
    with pytest.raises(RemoteError) as refused:
        mirror_release(
            client,
            config.spaces,
            read_release(config, Counted()),
            progress=Counted(),
            wait=lambda seconds: None,
        )
    assert isinstance(refused.value.__cause__, ClientError)
    assert "SPACES_SECRET" in refused.value.hint


def test_missing_settings_are_named(
    tmp_path: Path, spaces: dict[str, str], call: Callable[..., Outcome]
) -> None:
    write_release(tmp_path)
    with pytest.raises(ConfigError, match=r"no \[spaces\]"):
        call(mirror_command, write_config(tmp_path))
    config = write_config(tmp_path, spaces=spaces)
    with pytest.raises(ConfigError, match=r"^SPACES_KEY"):
        call(mirror_command, config)
    with pytest.raises(ConfigError, match=r"^SPACES_SECRET"):
        call(mirror_command, config, environment={"SPACES_KEY": "key"})
    write_release(tmp_path, version=f"{VERSION}-dirty")
    remote = write_config(tmp_path, spaces={**spaces, "public_url": "https://files.example.org"})
    with pytest.raises(PublishError, match="uncommitted changes"):
        call(mirror_command, remote, environment={"SPACES_KEY": "k", "SPACES_SECRET": "s"})
