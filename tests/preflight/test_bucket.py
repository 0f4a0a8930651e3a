"""`preflight --part bucket` writes a probe, reads it as a stranger and removes it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import ConfigError, RemoteError
from ci.__main__ import main
from ci.config import SpacesConfig
from ci.preflight.bucket import PROBE, check_bucket
from ci.preflight.checks import CheckFailed
from ci.rehearsal.s3 import ObjectStore, running
from tests.edges.hostile import OK, Behaviour, Connection, redirect, says, serving
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


@pytest.mark.parametrize(
    ("start", "status"),
    [(OK + b"\r\n", 200), (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n", 302)],
    ids=["a file", "a redirect"],
)
def test_an_endless_body_at_the_public_address_is_not_read(
    store: ObjectStore, spaces: SpacesConfig, keys: dict[str, str], start: bytes, status: int
) -> None:
    sent = 0

    def behave(connection: Connection) -> None:
        nonlocal sent
        connection.send(start + PROBE)
        for _ in range(64):
            connection.send(bytes(1 << 20))
            sent += 1 << 20

    with serving(behave) as server:
        other = replace(spaces, public_url=f"http://{server.address}")
        with pytest.raises(CheckFailed, match=f"GET without an account returns {status}, expected"):
            check_bucket(other, keys, lambda _: None)
    # The kernel's buffers of the connection hold a few of them.
    assert sent < 32 << 20
    assert left(store) == 0


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        (says(OK, b"Content-Length: 4\r\n\r\nfile"), "account returns 200, expected the probe"),
        (says(OK, b"Content-Length: 0\r\n\r\n"), "account returns 200, expected the probe"),
        (redirect(b"/elsewhere"), "account returns 302, expected the probe"),
        (says(b"HTTP/1.1 404 Not Found\r\n\r\n"), "account returns 404, expected the probe"),
        (says(b"HTTP/1.1 503 Busy\r\n\r\n"), "status 503 Busy, 3 times"),
    ],
)
def test_another_answer_at_the_public_address_is_named_with_its_status(
    spaces: SpacesConfig, keys: dict[str, str], behave: Behaviour, message: str
) -> None:
    with serving(behave) as server:
        other = replace(spaces, public_url=f"http://{server.address}")
        with pytest.raises((CheckFailed, RemoteError), match=message) as failed:
            check_bucket(other, keys, lambda _: None)
    assert "check spaces.public_url" in failed.value.hint


def test_without_a_bucket_there_is_nothing_to_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path)
    assert main(["preflight", "--part", "bucket", "--config", str(config)]) == 0
    assert "nothing is mirrored" in capsys.readouterr().out
