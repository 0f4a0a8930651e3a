"""The double's operations on the repository, its settings, commits and pull requests."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import Settings, World

REPOSITORY = "octo/snowdrop"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, REPOSITORY, lambda: datetime(2026, 11, 23, tzinfo=UTC))
    world.branches["main"] = world.add_commit({"release.lock": "old", "README.md": "text"})
    return world


@pytest.fixture
def api(world: World) -> Iterator[str]:
    with running(world) as url:
        yield f"{url}/repos/{REPOSITORY}"
    assert world.violations == []


@pytest.fixture
def owner() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer any"
        yield session


def test_settings_are_read_as_github_describes_them(
    world: World, api: str, owner: requests.Session
) -> None:
    paths = {
        "/environments/release": 200,
        "/rulesets?targets=tag": 200,
        "/rulesets/42": 200,
        "/immutable-releases": 200,
        "/actions/permissions": 200,
        "/actions/permissions/workflow": 200,
    }
    assert {path: owner.get(f"{api}{path}").status_code for path in paths} == paths
    assert owner.get(api).json()["default_branch"] == "main"
    world.settings = Settings(environment=False, immutable=False, protected_tags=())
    gone = ("/environments/release", "/immutable-releases", "/rulesets/42")
    assert {owner.get(f"{api}{path}").status_code for path in gone} == {404}
    assert owner.get(f"{api}/rulesets").json() == []
    world.refused = {"repos/get-environment"}
    assert owner.get(f"{api}/environments/release").status_code == 403


def test_commits_are_compared(world: World, api: str, owner: requests.Session) -> None:
    first = world.branches["main"]
    second = world.add_commit({}, first)
    side = world.add_commit({"a": "b"}, first)
    world.branches["main"] = second

    def status(head: str) -> str:
        return str(owner.get(f"{api}/compare/main...{head}").json()["status"])

    assert [status(each) for each in (first, second, side)] == ["behind", "identical", "diverged"]
    assert owner.get(f"{api}/compare/main...{'9' * 40}").status_code == 404


def test_the_files_of_a_commit_are_read(world: World, api: str, owner: requests.Session) -> None:
    commit = world.add_commit({"folder/release.lock": "é" * 99, "README.md": "text"})
    tree = owner.get(f"{api}/git/commits/{commit}").json()["tree"]["sha"]
    readme, folder = owner.get(f"{api}/git/trees/{tree}").json()["tree"]
    assert [readme[key] for key in ("path", "type", "size")] == ["README.md", "blob", 4]
    assert [folder[key] for key in ("path", "type")] == ["folder", "tree"]
    (lock,) = owner.get(f"{api}/git/trees/{folder['sha']}").json()["tree"]
    assert [lock[key] for key in ("path", "type", "size")] == ["release.lock", "blob", 198]
    blob = owner.get(f"{api}/git/blobs/{lock['sha']}").json()
    assert base64.b64decode(blob["content"]).decode() == "é" * 99
    for path in ("trees", "blobs"):
        assert owner.get(f"{api}/git/{path}/{'9' * 40}").status_code == 404


def test_a_commit_goes_to_a_branch_and_into_a_pull_request(
    world: World, api: str, owner: requests.Session
) -> None:
    base = world.branches["main"]
    tree = owner.get(f"{api}/git/commits/{base}").json()["tree"]["sha"]
    entry = {"path": "release.lock", "mode": "100644", "type": "blob", "content": "new"}
    body = {"base_tree": tree, "tree": [entry]}
    made = owner.post(f"{api}/git/trees", json=body).json()["sha"]
    body = {"message": "Pin", "tree": made, "parents": [base]}
    commit = owner.post(f"{api}/git/commits", json=body).json()["sha"]
    ref = {"ref": "refs/heads/refresh", "sha": commit}
    assert owner.post(f"{api}/git/refs", json=ref).status_code == 201
    assert owner.post(f"{api}/git/refs", json=ref).status_code == 422
    assert owner.get(f"{api}/git/ref/heads/refresh").json()["object"]["sha"] == commit
    assert world.trees[made] == {"release.lock": "new", "README.md": "text"}

    pull = {"title": "Pin", "head": "refresh", "base": "main", "body": "text"}
    number = owner.post(f"{api}/pulls", json=pull).json()["number"]
    assert owner.post(f"{api}/pulls", json=pull).status_code == 422
    assert owner.patch(f"{api}/pulls/{number}", json={"body": "new"}).json()["body"] == "new"
    (listed,) = owner.get(f"{api}/pulls?state=open&head=octo:refresh").json()
    assert listed["number"] == number
    assert owner.get(f"{api}/pulls?head=octo:other").json() == []

    other = world.add_commit({"release.lock": "newer"}, base)
    moved = {"sha": other, "force": False}
    assert owner.patch(f"{api}/git/refs/heads/refresh", json=moved).status_code == 422
    moved["force"] = True
    assert owner.patch(f"{api}/git/refs/heads/refresh", json=moved).status_code == 200
    assert world.branches["refresh"] == other
