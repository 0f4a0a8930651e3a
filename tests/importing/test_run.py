"""An import that fails in any way is complete after one plain run more, without a duplicate."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from build.edges.progress import Silent
from build.edges.replies import Reply, send
from build.errors import ConfigError, PublishError, RemoteError, SnowdropError
from ci.importing.api import Api, NewImage
from ci.importing.plan import Wanted
from ci.importing.run import ImportJob, run_import
from ci.rehearsal.digitalocean.state import LOG, Account, Fault
from tests.importing.conftest import TOKEN, Host

REGIONS = ("fra1", "nyc3", "sgp1")
SEND = "ci.importing.api.send"
TAG = "snowdrop-sha256-" + "5" * 64


@pytest.fixture(name="job")
def _job(api: Api, host: Host) -> ImportJob:
    return ImportJob(
        api=api,
        wanted=Wanted(tag=TAG, regions=REGIONS),
        name="snowdrop-v3.24.20261123",
        description="Alpine Linux 3.24",
        tags=("snowdrop",),
        url=lambda: host.url,
        seconds=20.0,
        progress=Silent(),
        sleep=lambda _: time.sleep(0.01),
        interval=0.01,
    )


def usable(account: Account) -> list[tuple[str, list[str]]]:
    return [
        (each.name, each.regions) for each in account.images.values() if each.status != "deleted"
    ]


def test_an_import_fetches_the_bytes_and_copies_the_image_to_all_regions(
    job: ImportJob, account: Account, host: Host
) -> None:
    image = run_import(job)
    assert image.regions == REGIONS
    (stored,) = account.images.values()
    assert account.path(stored).read_bytes() == host.content
    assert (stored.tags, stored.distribution) == ([TAG, "snowdrop"], "Unknown")
    log = [json.loads(line) for line in (account.folder / LOG).read_text().splitlines()]
    fetched = [(each["method"], each["url"]) for each in log if "method" in each]
    assert fetched == [("HEAD", host.url), ("GET", host.url)]
    assert TOKEN not in (account.folder / LOG).read_text()


def test_a_second_import_does_nothing(job: ImportJob, account: Account) -> None:
    first = run_import(job)
    lines = (account.folder / LOG).read_text().splitlines()
    assert run_import(job) == first
    (new,) = (account.folder / LOG).read_text().splitlines()[len(lines) :]
    assert json.loads(new)["operation"] == "images_list"


# What the API does, and the message of the run; empty: the run goes on by itself.
FAULTS = {
    "list: 500 once": (Fault("images_list", "500-before"), ""),
    "list: 429 once": (Fault("images_list", "429"), ""),
    "list: reset once": (Fault("images_list", "reset-before"), ""),
    "list: 500 always": (Fault("images_list", "500-before", 5), "500: Unexpected server-side"),
    "list: 401": (Fault("images_list", "401"), "401: Unable to authenticate you"),
    "create: 500 before the effect": (Fault("images_create_custom", "500-before"), ""),
    "create: 500 after the effect": (Fault("images_create_custom", "500-after"), ""),
    "create: reset before the effect": (Fault("images_create_custom", "reset-before"), ""),
    "create: reset after the effect": (Fault("images_create_custom", "reset-after"), ""),
    "create: 500 three times": (Fault("images_create_custom", "500-before", 3), "500: Unexpected"),
    "create: 422": (Fault("images_create_custom", "422"), "422: Image url is invalid"),
    "create: 429": (Fault("images_create_custom", "429"), "429: API Rate limit exceeded"),
    "get: 500 once": (Fault("images_get", "500-before"), ""),
    "get: reset once": (Fault("images_get", "reset-before"), ""),
    "get: the image vanishes": (Fault("images_get", "vanishes"), "somebody deleted it"),
    "transfer: 500 after the effect": (Fault("imageActions_post", "500-after"), "500: Unexpected"),
    "transfer: 422": (Fault("imageActions_post", "422"), "422: "),
    "transfer: errored": (Fault("imageActions_post", "transfer-errored"), "copy to nyc3 failed"),
    "transfer: reset": (Fault("imageActions_post", "reset-before"), "/actions: "),
    "action: 500 once": (Fault("imageActions_get", "500-before"), ""),
    "action: 429 once": (Fault("imageActions_get", "429"), ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_one_plain_run_completes_the_import(
    name: str, job: ImportJob, account: Account
) -> None:
    fault, message = FAULTS[name]
    account.faults.append(fault)
    if message:
        with pytest.raises(SnowdropError, match=re.escape(message)) as failed:
            run_import(job)
        assert TOKEN not in f"{failed.value} {failed.value.hint}"
    else:
        run_import(job)
    assert account.faults == []
    assert set(run_import(job).regions) == set(REGIONS)
    ((_, regions),) = usable(account)
    assert sorted(regions) == sorted(REGIONS)


@pytest.mark.parametrize("last", [1, 2, 3, 4, 6])
def test_an_api_that_is_gone_half_way_is_continued_where_it_was(
    last: int, job: ImportJob, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = send, 0

    def gone(*args: str, **options: Any) -> Reply:  # noqa: ANN401
        nonlocal count
        count += 1
        if count > last:
            raise requests.ConnectionError("the service is gone")
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SEND, gone)
        with pytest.raises(RemoteError, match="the service is gone") as failed:
            run_import(job)
    assert "run the same command again" in failed.value.hint
    assert set(run_import(job).regions) == set(REGIONS)
    assert len(account.images) == 1


def test_one_failed_transfer_of_three_is_repeated_alone(job: ImportJob, account: Account) -> None:
    first = replace(job, wanted=Wanted(tag=TAG, regions=("fra1", "nyc3")))
    run_import(first)
    account.faults.append(Fault("imageActions_post", "transfer-errored"))
    wanted = Wanted(tag=TAG, regions=("fra1", "nyc3", "sgp1", "lon1"))
    with pytest.raises(PublishError, match="the copy to sgp1 failed"):
        run_import(replace(job, wanted=wanted))
    assert set(run_import(replace(job, wanted=wanted)).regions) == set(wanted.regions)
    regions = [each.region for each in account.transfers.values()]
    assert regions == ["nyc3", "sgp1", "sgp1", "lon1"]


def test_an_image_that_somebody_deleted_after_the_import_is_imported_again(
    job: ImportJob, account: Account
) -> None:
    deleted = run_import(job)
    with account.lock:
        del account.images[deleted.number]
    again = run_import(job)
    assert again.number != deleted.number
    assert len(account.images) == 1


HOSTS = {
    "no head": "the URL does not answer HEAD with a Content-Length",
    "redirect": "the URL does not answer HEAD with a Content-Length",
    "not found": "the URL does not answer HEAD with a Content-Length",
    "cut": "no supported disk image",
}


@pytest.mark.parametrize("fault", HOSTS)
def test_the_reason_of_a_failed_import_is_reported(
    fault: str, job: ImportJob, account: Account, host: Host
) -> None:
    host.fault = fault
    with pytest.raises(PublishError, match=re.escape(HOSTS[fault])):
        run_import(job)
    host.fault = ""
    run_import(job)
    assert len(usable(account)) == 1


def test_an_import_that_stays_pending_ends_after_the_limit_and_is_waited_for_again(
    job: ImportJob, account: Account
) -> None:
    account.faults.append(Fault("images_create_custom", "pending"))
    with pytest.raises(RemoteError, match=r"still NEW after 0\.05 s") as failed:
        run_import(replace(job, seconds=0.05))
    assert "run the same command again" in failed.value.hint
    (image,) = account.images.values()
    image.status, image.regions = "available", ["fra1"]
    assert run_import(job).number == image.number


def test_two_images_with_our_tag_are_left_alone_and_the_complete_one_counts(
    job: ImportJob, account: Account, api: Api, host: Host
) -> None:
    first = run_import(job)
    new = NewImage(name="other", url=host.url, region="fra1", description="", tags=(TAG,))
    api.create(new)
    assert run_import(job).number == first.number
    assert len(account.images) == 2


def test_the_api_that_is_gone_is_reported(job: ImportJob) -> None:
    gone = Api("http://127.0.0.1:1", {"DIGITALOCEAN_TOKEN": TOKEN}, lambda _: None)
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1") as failed:
        run_import(replace(job, api=gone))
    assert TOKEN not in str(failed.value)


def test_a_missing_token_is_named_with_the_scopes_that_it_needs() -> None:
    with pytest.raises(ConfigError, match="DIGITALOCEAN_TOKEN: not in the environment") as failed:
        Api("http://127.0.0.1:1", {}, lambda _: None)
    assert "image:create" in failed.value.hint


def test_kills_at_each_request_are_followed_by_one_plain_run(
    job: ImportJob, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends after each of its requests in turn, as by SIGKILL."""
    real = send
    for number in range(1, 60):
        count = 0

        def killed(*args: str, last: int = number, **options: Any) -> Reply:  # noqa: ANN401
            nonlocal count
            count += 1
            answer = real(*args, **options)
            if count == last:
                raise SystemExit(137)
            return answer

        with account.lock:
            account.images.clear()
        monkeypatch.setattr(SEND, killed)
        try:
            run_import(job)
        except SystemExit:
            monkeypatch.setattr(SEND, real)
            run_import(job)
            assert len(usable(account)) == 1, number
        else:
            assert number > len(REGIONS)
            return
    pytest.fail("the import needs more requests than expected")


Change = Callable[[dict[str, object]], object]
CHANGED: dict[str, Change] = {
    "no region": lambda body: body.pop("region"),
    "no name": lambda body: body.pop("name"),
    "tags as a string": lambda body: body.update(tags="snowdrop"),
    "an unknown region": lambda body: body.update(region="moon1"),
    "an unknown distribution": lambda body: body.update(distribution="Alpine"),
    "an unknown key": lambda body: body.update(size=1),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_request_that_the_description_does_not_allow_is_a_violation(
    name: str, service: str, tmp_path: Path, host: Host
) -> None:
    body: dict[str, object] = {
        "name": "x",
        "url": host.url,
        "region": "fra1",
        "distribution": "Unknown",
        "description": "",
        "tags": [TAG],
    }
    CHANGED[name](body)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.post(f"{service}/v2/images", json=body, headers=headers, timeout=5)
    violations = tmp_path / "account" / "violations.txt"
    assert (answer.status_code, violations.exists()) == (500, True)
    violations.unlink()


def test_a_response_that_the_description_does_not_allow_is_a_violation(
    api: Api, account: Account, job: ImportJob, tmp_path: Path
) -> None:
    run_import(job)
    (image,) = account.images.values()
    image.status = "ready"
    with pytest.raises(RemoteError, match="500"):
        api.find(TAG)
    violations = tmp_path / "account" / "violations.txt"
    assert "status" in violations.read_text()
    violations.unlink()
