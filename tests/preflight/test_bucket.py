"""`preflight --part bucket` writes a probe, reads it as a stranger and removes it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import ConfigError, RemoteError
from ci.__main__ import main
from ci.config import SpacesConfig
from ci.preflight.bucket import check_bucket
from ci.preflight.checks import CheckFailed
from ci.rehearsal.s3 import ObjectStore, running
from tests.publish.release import write_config

Check = Callable[[SpacesConfig], str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def spaces(store: ObjectStore) -> SpacesConfig:
    return SpacesConfig(
        bucket=store.bucket,
        region="fra1",
        prefix="alpine/",
        endpoint=store.endpoint,
        public_url=store.public_url,
    )


@pytest.fixture
def keys(store: ObjectStore) -> dict[str, str]:
    return {"SPACES_KEY": store.key, "SPACES_SECRET": store.secret}


def left(store: ObjectStore) -> int:
    return store.client().list_objects_v2(Bucket=store.bucket)["KeyCount"]


def test_a_usable_bucket_passes_and_keeps_nothing(
    store: ObjectStore, spaces: SpacesConfig, keys: dict[str, str]
) -> None:
    found = check_bucket(spaces, keys)
    assert "kept from a second write, read by a stranger, removed" in found
    assert left(store) == 0


def test_a_fault_is_named_and_the_probe_removed(
    store: ObjectStore, spaces: SpacesConfig, keys: dict[str, str]
) -> None:
    with pytest.raises(RemoteError) as refused:
        check_bucket(spaces, {**keys, "SPACES_SECRET": "not-the-secret"})
    assert "SPACES_SECRET" in refused.value.hint
    with pytest.raises(CheckFailed, match="GET without an account returns 40"):
        check_bucket(replace(spaces, public_url=f"{store.endpoint}/another"), keys)
    with pytest.raises(ConfigError, match=r"^SPACES_SECRET"):
        check_bucket(spaces, {"SPACES_KEY": store.key})
    assert left(store) == 0


def test_without_a_bucket_there_is_nothing_to_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path)
    assert main(["preflight", "--part", "bucket", "--config", str(config)]) == 0
    assert "nothing is mirrored" in capsys.readouterr().out
