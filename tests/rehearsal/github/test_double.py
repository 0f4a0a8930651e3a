"""The double follows GitHub's API description and reports each request that does not."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from ci.rehearsal.github import operations
from ci.rehearsal.github.responses import describe_release
from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import World

ROOT = Path(__file__).parents[3]
REPOSITORY = "octo/snowdrop"
DRAFT = {"tag_name": "v1", "target_commitish": "5" * 40, "draft": True}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, REPOSITORY, lambda: datetime(2026, 11, 23, tzinfo=UTC))


@pytest.fixture
def api(world: World) -> Iterator[str]:
    with running(world) as url:
        yield f"{url}/repos/{REPOSITORY}"


@pytest.fixture
def owner() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer any"
        yield session


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", "/releases", {**DRAFT, "tag": "v1"}, "'tag' was unexpected"),
        ("POST", "/releases", {"draft": True}, "'tag_name' is a required property"),
        ("POST", "/releases", {**DRAFT, "draft": "yes"}, "'yes' is not of type 'boolean'"),
        ("GET", "/releases?per_page=many", None, "per_page"),
        ("POST", "/releases/1/assets", None, "Missing required query parameter: name"),
        ("PUT", "/releases/1", None, "no operation of a release"),
        ("GET", "/branches", None, "no operation of a release"),
    ],
)
def test_a_request_outside_the_description_is_a_violation(
    method: str,
    path: str,
    body: object,
    reason: str,
    world: World,
    api: str,
    owner: requests.Session,
) -> None:
    assert owner.post(f"{api}/releases", json=DRAFT).status_code == 201
    assert world.violations == []

    answer = owner.request(method, f"{api}{path}", json=body)

    assert answer.status_code == 500
    assert reason in answer.json()["message"]
    assert reason in world.violations[0]
    assert len((world.folder / "violations.txt").read_text().splitlines()) == 1
    assert len(world.releases) == 1


def test_a_response_outside_the_description_is_a_violation(
    world: World, api: str, owner: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        operations,
        "describe_release",
        lambda *args: {**describe_release(*args), "draft": "perhaps"},
    )
    answer = owner.post(f"{api}/releases", json=DRAFT)
    assert answer.status_code == 500
    assert "draft: 'perhaps' is not of type 'boolean'" in world.violations[0]


def test_an_error_of_the_double_is_a_violation(
    world: World, api: str, owner: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "describe_release", lambda *args: 1 / 0)
    assert owner.post(f"{api}/releases", json=DRAFT).status_code == 500
    assert "the double failed: ZeroDivisionError" in world.violations[0]


def test_a_draft_is_private_and_a_published_release_immutable(
    world: World, api: str, owner: requests.Session
) -> None:
    draft = owner.post(f"{api}/releases", json=DRAFT).json()
    upload = draft["upload_url"].split("{")[0]
    asset = owner.post(upload, params={"name": "a b"}, data=b"content").json()
    assert (asset["name"], asset["state"]) == ("a.b", "uploaded")
    address = asset["browser_download_url"].replace("untagged-1", "v1")
    assert requests.get(f"{api}/releases", timeout=5).json() == []
    assert requests.get(asset["url"], timeout=5).status_code == 404
    assert requests.get(address, timeout=5).status_code == 404
    assert requests.post(f"{api}/releases", json=DRAFT, timeout=5).status_code == 401
    assert owner.get(f"{api}/git/ref/tags/v1").status_code == 404

    public = owner.patch(draft["url"], json={"draft": False}).json()

    assert public["immutable"]
    assert owner.get(f"{api}/git/ref/tags/v1").json()["object"]["sha"] == "5" * 40
    assert requests.get(address, timeout=5).content == b"content"
    assert requests.head(address, timeout=5, allow_redirects=True).headers["Content-Length"] == "7"
    assert owner.delete(asset["url"]).status_code == 422
    assert owner.patch(draft["url"], json={"draft": True}).status_code == 422
    assert owner.patch(draft["url"], json={"body": "new notes"}).json()["body"] == "new notes"
    assert owner.post(upload, params={"name": "more"}, data=b"x").status_code == 422
    assert requests.get(f"{api}/releases/latest", timeout=5).json()["tag_name"] == "v1"
    assert requests.get(f"{api}/releases/tags/v1", timeout=5).json()["id"] == draft["id"]
    assert world.violations == []


def test_a_download_is_a_redirect_to_storage_without_a_token(
    api: str, owner: requests.Session
) -> None:
    draft = owner.post(f"{api}/releases", json=DRAFT).json()
    upload = draft["upload_url"].split("{")[0]
    asset = owner.post(upload, params={"name": "a"}, data=b"content").json()
    found = owner.get(
        asset["url"], headers={"Accept": "application/octet-stream"}, allow_redirects=False
    )
    assert found.status_code == 302
    assert owner.get(found.headers["Location"]).status_code == 400
    assert requests.get(found.headers["Location"], timeout=5).content == b"content"


def test_lists_have_pages(api: str, owner: requests.Session) -> None:
    for _ in range(3):
        owner.post(f"{api}/releases", json=DRAFT)
    first = owner.get(f"{api}/releases", params={"per_page": 2})
    second = owner.get(first.links["next"]["url"])
    assert [len(first.json()), len(second.json()), len(second.links)] == [2, 1, 0]


def test_it_runs_as_a_process_until_sigterm(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "ci.rehearsal.github", "--folder", str(tmp_path / "github")]
    argv += ["--repository", REPOSITORY, "--tag", f"v1={'5' * 40}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout
            url = json.loads(process.stdout.readline())["url"]
            tag = requests.get(f"{url}/repos/{REPOSITORY}/git/ref/tags/v1", timeout=20).json()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert tag["object"]["sha"] == "5" * 40
