"""The mirror's catalogue: written last, by several publishers at once, never without a reason."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest

from build.edges.progress import Silent
from build.errors import ConfigError, PublishError
from ci.catalogue.catalogue import Catalogue
from ci.catalogue.upload import CatalogueBucket, update_catalogue
from ci.commands import mirror as mirror_command
from ci.config import read_config
from ci.publish.mirror import open_bucket
from ci.rehearsal.s3 import ObjectStore
from tests.catalogue.test_catalogue import entry
from tests.publish.conftest import Outcome
from tests.publish.release import IMAGE, VERSION, write_config, write_release

Call = Callable[..., Outcome]
NEWER = "v3.24.20261125"
FILES = ("catalogue.json", "index.html", "feed.xml")


@pytest.fixture(name="base")
def _base(spaces: dict[str, str]) -> str:
    return f"{spaces['public_url']}/{spaces['prefix']}"


@pytest.fixture(name="bucket")
def _bucket(tmp_path: Path, spaces: dict[str, str], keys: dict[str, str]) -> CatalogueBucket:
    config = read_config(write_config(tmp_path, spaces=spaces))
    assert config.spaces
    return CatalogueBucket(
        client=open_bucket(config.spaces, keys), spaces=config.spaces, title="Images"
    )


def update(bucket: CatalogueBucket, number: int) -> Catalogue:
    return update_catalogue(
        bucket,
        lambda old: old.with_entry(entry(number)),
        progress=Silent(),
        wait=lambda _: None,
    )


def versions(base: str) -> list[str]:
    document = requests.get(f"{base}catalogue.json", timeout=5).json()
    return [each["version"] for each in document["releases"]]


def test_a_mirrored_release_is_in_the_catalogue(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Call, base: str
) -> None:
    write_release(tmp_path)
    config = write_config(tmp_path, spaces=spaces)
    outcome = call(mirror_command, config, "--json", environment=keys)
    assert outcome.data["catalogue"] == f"{base}index.html"
    (release,) = requests.get(f"{base}catalogue.json", timeout=5).json()["releases"]
    (image,) = release["images"]
    assert (release["version"], image["url"]) == (VERSION, f"{base}{VERSION}/{IMAGE}")
    assert (image["disk"], image["ssh_tenths"]) == (1 << 30, 279)
    types = {}
    for name in FILES:
        answer = requests.get(f"{base}{name}", timeout=5)
        types[name] = answer.headers["Content-Type"]
        assert answer.headers["Cache-Control"] == "no-cache"
        assert VERSION in answer.text
    assert list(types.values()) == [
        "application/json",
        "text/html; charset=utf-8",
        "application/atom+xml",
    ]


def test_a_second_run_writes_nothing(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Call, store: ObjectStore
) -> None:
    def written() -> list[tuple[str, object]]:
        listed = store.client().list_objects_v2(Bucket=store.bucket, Prefix=spaces["prefix"])
        return [(each["Key"], each["LastModified"]) for each in listed["Contents"]]

    write_release(tmp_path)
    config = write_config(tmp_path, spaces=spaces)
    call(mirror_command, config, environment=keys)
    before = written()
    call(mirror_command, config, environment=keys)
    assert written() == before
    plan = call(mirror_command, config, "--dry-run", environment=keys)
    assert (plan.status, {line.split()[0] for line in plan.text.splitlines()}) == (0, {"keep"})


def test_two_publishers_at_once_are_both_in_the_catalogue_and_on_the_page(
    bucket: CatalogueBucket, base: str, keys: dict[str, str]
) -> None:
    """At each write of the first publisher in turn, the second one comes in between."""
    other = CatalogueBucket(
        client=open_bucket(bucket.spaces, keys), spaces=bucket.spaces, title="Images"
    )
    requests_seen = 0

    def between(request: AWSPreparedRequest, **_: object) -> None:
        nonlocal requests_seen
        requests_seen += 1
        if requests_seen <= 4:
            update(other, 10 + requests_seen)

    bucket.client.meta.events.register("before-send.s3.PutObject", between)
    update(bucket, 1)
    assert requests_seen > 4
    expected = [entry(number).version for number in (14, 13, 12, 11, 1)]
    assert versions(base) == expected
    for name in FILES[1:]:
        text = requests.get(f"{base}{name}", timeout=5).text
        assert [version for version in expected if version not in text] == []


def test_a_service_without_conditions_is_written_and_read_again(
    bucket: CatalogueBucket, base: str
) -> None:
    refused = []

    def refuse(params: dict[str, object], **_: object) -> tuple[object, object] | None:
        headers = params["headers"]
        assert isinstance(headers, dict)
        if not {"If-Match", "If-None-Match"} & set(headers):
            return None
        refused.append(headers)
        response = type("Response", (), {"status_code": 501, "headers": {}})()
        return response, {
            "Error": {"Code": "NotImplemented", "Message": "header"},
            "ResponseMetadata": {"HTTPStatusCode": 501},
        }

    # The event takes an answer in place of the request (botocore, events).
    bucket.client.meta.events.register("before-call.s3.PutObject", refuse)  # type: ignore[arg-type]
    update(bucket, 1)
    update(bucket, 2)
    assert len(refused) == 2
    assert versions(base) == [entry(2).version, entry(1).version]


def test_a_withdrawn_release_stays_so_and_its_files_stay(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Call, base: str
) -> None:
    config = write_config(tmp_path, spaces=spaces)
    for version in (VERSION, NEWER):
        for path in tmp_path.glob("dist/*"):
            path.unlink()
        write_release(tmp_path, version=version)
        call(mirror_command, config, environment=keys)
    words = ("--withdraw", VERSION, "--reason", "CVE-2026-1 in <openssl>")
    plan = call(mirror_command, config, *words, "--dry-run", environment=keys)
    assert [line.split()[0] for line in plan.text.splitlines()] == ["replace"] * 3
    outcome = call(mirror_command, config, *words, "--json", environment=keys)
    assert outcome.data["withdrawn"] == [VERSION]
    assert versions(base) == [NEWER, VERSION]
    assert "CVE-2026-1 in &lt;openssl&gt;" in requests.get(f"{base}index.html", timeout=5).text
    assert requests.head(f"{base}{VERSION}/{IMAGE}", timeout=5).status_code == 200
    # Mirroring the release again does not undo it.
    for path in tmp_path.glob("dist/*"):
        path.unlink()
    write_release(tmp_path)
    call(mirror_command, config, environment=keys)
    assert "CVE-2026-1" in requests.get(f"{base}catalogue.json", timeout=5).text


def test_a_withdrawal_names_a_release_and_a_reason(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Call
) -> None:
    config = write_config(tmp_path, spaces=spaces)
    with pytest.raises(ConfigError, match="--withdraw and --reason together"):
        call(mirror_command, config, "--withdraw", VERSION, environment=keys)
    with pytest.raises(PublishError, match=f"{VERSION}: not in the catalogue, which has: none"):
        call(mirror_command, config, "--withdraw", VERSION, "--reason", "x", environment=keys)


def test_a_damaged_catalogue_is_never_overwritten(
    tmp_path: Path,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Call,
    store: ObjectStore,
    base: str,
) -> None:
    key = f"{spaces['prefix']}catalogue.json"
    store.client().put_object(Bucket=store.bucket, Key=key, Body=b'{"format": 2}')
    write_release(tmp_path)
    config = write_config(tmp_path, spaces=spaces)
    with pytest.raises(PublishError, match=r"catalogue\.json"):
        call(mirror_command, config, environment=keys)
    assert requests.get(f"{base}catalogue.json", timeout=5).content == b'{"format": 2}'
    store.client().delete_object(Bucket=store.bucket, Key=key)
    call(mirror_command, config, environment=keys)
    assert versions(base) == [VERSION]


def test_a_dry_run_prints_the_plan_and_changes_nothing(
    tmp_path: Path, spaces: dict[str, str], keys: dict[str, str], call: Call, base: str
) -> None:
    write_release(tmp_path)
    config = write_config(tmp_path, spaces=spaces)
    plan = call(mirror_command, config, "--dry-run", "--json", environment=keys)
    steps = plan.data["plan"]
    assert isinstance(steps, list)
    assert [action for action, _ in steps] == ["upload"] * 15 + ["create"] * 3
    assert requests.get(f"{base}catalogue.json", timeout=5).status_code == 404
    call(mirror_command, config, environment=keys)
    write_release(tmp_path, salt="other bytes")
    plan = call(mirror_command, config, "--dry-run", environment=keys)
    actions = {
        line.split()[1].rpartition("/")[2]: line.split()[0]
        for line in plan.text.split("\n")
        if line
    }
    assert (plan.status, actions[IMAGE], actions["release.lock"]) == (1, "refuse", "keep")
    disposition = requests.head(f"{base}{VERSION}/{IMAGE}", timeout=5).headers[
        "Content-Disposition"
    ]
    assert disposition == f'attachment; filename="{IMAGE}"'


def test_catalogue_json_has_the_published_schema(bucket: CatalogueBucket, base: str) -> None:
    import jsonschema

    from tests.catalogue.test_catalogue import SCHEMA

    update(bucket, 1)
    document = json.loads(requests.get(f"{base}catalogue.json", timeout=5).content)
    jsonschema.validate(document, SCHEMA)
