"""The new lock becomes one pull request, which later runs update in place."""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from build.config import Origin
from build.errors import OutOfStepError
from build.snapshot.lock import Lock, dump_lock, write_lock
from build.snapshot.lock_reader import read_lock
from ci.__main__ import main
from ci.commands import pin, propose, refresh
from ci.config import read_config
from ci.publish.proposal import BRANCH, CUT, ProposalHost
from ci.publish.transfer import TRIES
from ci.rehearsal.github.server import running
from ci.rehearsal.github.state import Fault, Kind, World
from ci.release.locks import MAX_LOCK
from ci.release.version import version_of
from tests.publish.release import COMMIT, world_in, write_config
from tests.snapshot.conftest import lock_of, locked

Run = Callable[..., str]


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return world_in(tmp_path)


@pytest.fixture(name="config")
def _config(tmp_path: Path, world: World) -> Iterator[Path]:
    """A checkout with a committed lock, and GitHub's double behind it."""
    with running(world) as url:
        config = write_config(tmp_path, api=url)
        write(config, "1.0-r0")
        git(tmp_path, "init", "-q")
        commit(config, world, {"release.lock": "old", "README.md": "text"})
        yield config
    assert world.violations == []


def git(folder: Path, *words: str) -> str:
    """Run git in the checkout and return its output."""
    names = ("-c", "user.name=Tests", "-c", "user.email=tests@example.invalid")
    argv = ["git", *names, *words]
    return subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(config: Path, world: World, files: dict[str, str]) -> None:
    """Commit the lock, and give GitHub's main branch the same commit, with `files`."""
    git(config.parent, "add", "release.lock")
    git(config.parent, "commit", "--quiet", "--allow-empty", "--message=lock")
    sha = git(config.parent, "rev-parse", "HEAD").strip()
    world.commits[sha] = world.commits[world.add_commit(files)]
    world.branches["main"] = sha


def write(config: Path, version: str) -> Lock:
    """Write a lock with one package in this version."""
    build = read_config(config).build
    lock = replace(lock_of(locked("musl", 1, version)), choice_sha256=build.choice_sha256)
    write_lock(build.lock, lock)
    return lock


def sign_again(config: Path) -> Lock:
    """Write the lock of the same packages, with an index that was signed again."""
    path = read_config(config).build.lock
    lock = read_lock(path)
    index = replace(lock.repositories[0], index_sha256="e" * 64)
    lock = replace(lock, repositories=(index, *lock.repositories[1:]))
    write_lock(path, lock)
    return lock


@pytest.fixture(name="run")
def _run(config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("GITHUB_TOKEN", "token-of-a-test")

    def run(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main([*words, "--config", str(config)]) == status
        return "".join(capsys.readouterr())

    return run


def test_one_pull_request_is_opened_and_updated_in_place(
    config: Path, world: World, run: Run
) -> None:
    assert "nothing to propose" in run("propose")
    lock = write(config, "1.1-r0")
    assert run("propose").endswith(": opened\n")
    (pull,) = world.pulls
    assert pull.title == f"Pin {version_of(lock, serial=0, dirty=False)}"
    assert "| upgraded | musl | 1.0-r0 | 1.1-r0 |" in pull.body
    assert "close and open it once" in pull.body
    proposed = world.commits[world.branches[BRANCH]]
    assert proposed.parents == (world.branches["main"],)
    assert world.trees[proposed.tree] == {
        "release.lock": dump_lock(lock).decode(),
        "README.md": "text",
    }

    assert run("propose").endswith(": unchanged\n")
    assert proposed is world.commits[world.branches[BRANCH]]

    commit(config, world, {"release.lock": "old"})
    lock = write(config, "1.2-r0")
    assert run("propose").endswith(": updated\n")
    assert world.pulls == [pull]
    assert "1.2-r0" in pull.body
    proposed = world.commits[world.branches[BRANCH]]
    assert proposed.parents == (world.branches["main"],)
    assert world.trees[proposed.tree] == {"release.lock": dump_lock(lock).decode()}


def test_an_old_run_that_is_repeated_proposes_nothing(config: Path, world: World, run: Run) -> None:
    write(config, "1.1-r0")
    world.branches["main"] = world.add_commit({"release.lock": "of 1.2-r0"})
    said = run("propose", status=1)
    assert f"main is at {world.branches['main'][:12]}, this lock was pinned at " in said
    assert "start the workflow again" in said
    assert (world.pulls, BRANCH in world.branches) == ([], False)


@pytest.mark.parametrize(
    "operation", ["git/create-tree", "git/create-commit", "git/create-ref", "pulls/create"]
)
@pytest.mark.parametrize("kind", ["502-before", "502-after"])
def test_a_lost_reply_makes_no_second_one(
    operation: str,
    kind: Kind,
    config: Path,
    world: World,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    world.faults.append(Fault(operation, kind))
    write(config, "1.1-r0")
    assert run("propose").endswith(": opened\n")
    assert not world.faults
    assert len(world.pulls) == 1


@pytest.fixture(name="told")
def _told(config: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[str, str]]:
    """Outputs and summary of the step, as far as they are written."""
    files = [config.with_name("output"), config.with_name("summary.md")]
    for variable, file in zip(("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"), files, strict=True):
        monkeypatch.setenv(variable, str(file))

    def told() -> tuple[str, str]:
        output, summary = (each.read_text() if each.exists() else "" for each in files)
        return output, summary

    return told


@pytest.mark.parametrize("packages", [1, 2000])
def test_the_second_night_finds_the_packages_in_the_open_pull_request(
    packages: int,
    config: Path,
    world: World,
    run: Run,
    told: Callable[[], tuple[str, str]],
) -> None:
    world.settings.private = True
    lock = write(config, "1.1-r0")
    names = [f"name-{number:04}" for number in range(packages)]
    found = [locked(name, number, "1.1-r0") for number, name in enumerate(names, 1)]
    write_lock(config.with_name("release.lock"), replace(lock, packages=tuple(found)))
    opened = run("propose").removesuffix(": opened\n")
    assert world.pulls[0].body.endswith(CUT) is (packages > 1)
    first = world.branches[BRANCH]
    sign_again(config)
    assert run("propose", "--compare") == f"unchanged: {opened} has these packages\n"
    output, summary = told()
    assert output == "changed=false\n"
    assert f"unchanged: {opened} has these packages" in summary
    assert world.branches[BRANCH] == first


def on_the_branch(files: dict[str, str], *, behind: bool = False) -> Callable[[Path, World], None]:
    """Return a change of the branch: another commit in place of the proposal, or after it."""

    def change(config: Path, world: World) -> None:
        del config
        parent = world.branches[BRANCH if behind else "main"]
        world.branches[BRANCH] = world.add_commit(files, parent)

    return change


def move_on(config: Path, world: World) -> None:
    """Give the default branch another commit."""
    del world
    git(config.parent, "commit", "--quiet", "--allow-empty", "--message=another")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda config, _: write(config, "1.2-r0"), "pull/1 has other packages"),
        (move_on, "pull/1 was made from another commit"),
        (on_the_branch({}, behind=True), "pull/1 was made from another commit"),
        (lambda _, world: setattr(world.pulls[0], "state", "closed"), "no pull request is open"),
        (lambda _, world: world.branches.pop(BRANCH), "no pull request is open"),
        (on_the_branch({}), f"pull/1 has no release.lock of at most {MAX_LOCK} bytes"),
        (on_the_branch({"release.lock": "x" * (MAX_LOCK + 1)}), "pull/1 has no release.lock of"),
        (on_the_branch({"release.lock/a": ""}), "pull/1 has no release.lock of"),
        (
            on_the_branch({"release.lock": "format = 1\n::error::an intruder\n"}),
            "pull/1 has a release.lock that `nox -s pin` did not write",
        ),
        (
            lambda _, world: setattr(world.pulls[0], "body", "of the night before"),
            "pull/1 does not describe its lock",
        ),
    ],
)
def test_another_proposal_is_made_unless_an_open_one_has_these_packages(
    change: Callable[[Path, World], None],
    reason: str,
    config: Path,
    world: World,
    run: Run,
    told: Callable[[], tuple[str, str]],
) -> None:
    write(config, "1.1-r0")
    run("propose")
    sign_again(config)
    change(config, world)
    said = run("propose", "--compare")
    assert said.startswith("changed: ")
    assert reason in said
    output, summary = told()
    assert output == "changed=true\n"
    assert reason in summary
    assert "intruder" not in said + output + summary


@pytest.mark.parametrize(
    ("operation", "kind", "expected"),
    [
        ("repos/get", "404", "repository: 404 Not Found"),
        ("pulls/list", "404", "list of pull requests: 404 Not Found"),
        ("pulls/list", "403", "give GITHUB_TOKEN the permission `contents: read` and `pull-"),
        ("git/get-ref", "500-before", f"branch {BRANCH}: 500 Server Error"),
        ("git/get-tree", "404", "tree: 404 Not Found"),
        ("git/get-blob", "500-before", "release.lock: 500 Server Error"),
    ],
)
def test_a_comparison_that_github_does_not_allow_decides_nothing(
    operation: str,
    kind: Kind,
    expected: str,
    config: Path,
    world: World,
    run: Run,
    told: Callable[[], tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    write(config, "1.1-r0")
    run("propose")
    world.faults += [Fault(operation, kind)] * TRIES
    assert expected in run("propose", "--compare", status=1)
    assert told()[0] == ""


def test_a_lock_in_a_folder_is_read(world: World, config: Path) -> None:
    api = read_config(config).github_api
    host = ProposalHost(api, world.repository, "token", wait=lambda _: None)
    tree = world.add_tree({"a/b/release.lock": "text", "c": "", "release.lock": "other"})

    def read(path: str, limit: int = 4) -> bytes | None:
        return host.read_file(tree, path, limit=limit)

    assert read("a/b/release.lock") == b"text"
    assert read("a/b/release.lock", limit=3) is None
    missing = ("a/release.lock", "c/release.lock", "d/release.lock", "a/b")
    assert [read(path) for path in missing] == [None] * 4


def test_a_token_without_the_right_is_named(config: Path, world: World, run: Run) -> None:
    write(config, "1.1-r0")
    world.refused = {"pulls/create"}
    said = run("propose", status=1)
    assert "403" in said
    assert "`pull-requests: write`" in said
    assert "allow GitHub Actions to create pull requests" in said


@pytest.mark.parametrize(
    ("auto", "tagged", "expected"),
    [
        (False, "", "release.auto is false"),
        (True, COMMIT, "is tagged already"),
        (
            True,
            "6" * 40,
            (
                "is the tag of another commit, no tag is proposed; to release this commit too, "
                "set `serial = 1`"
            ),
        ),
        (True, "", "git push origin v3.24."),
    ],
)
def test_a_tag_is_proposed_and_pushed_by_a_person(
    auto: bool,
    tagged: str,
    expected: str,
    config: Path,
    world: World,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = write(config, "1.0-r0")
    tag = version_of(lock, serial=0, dirty=False)
    origin = Origin(name="snowdrop", version=tag, commit=COMMIT, dirty=False)
    monkeypatch.setattr(propose, "origin_of", lambda *_: origin)
    text = config.read_text()
    config.write_text(text.replace("[snapshot]", f"auto = {str(auto).lower()}\n[snapshot]"))
    world.tags |= {tag: tagged} if tagged else {}
    summary = config.with_name("summary.md")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert expected in run("propose", "--tag")
    assert summary.exists() is auto
    assert not auto or expected in summary.read_text()
    assert set(world.tags) == ({tag} if tagged else set())


def test_mirrors_in_the_middle_of_an_update_are_waited_for(
    config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_step(*_: object) -> int:
        raise OutOfStepError("main and community are out of step")

    monkeypatch.setattr(pin, "run", out_of_step)
    output = config.with_name("output")
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    before = read_config(config).build.lock.read_bytes()
    assert "waiting for the mirrors: main and community" in run("refresh")
    assert "changed=false" in output.read_text()
    assert read_config(config).build.lock.read_bytes() == before


def test_an_unchanged_lock_is_nothing_and_a_new_one_is_handed_on(
    config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def command(words: object, command: object, *_: object) -> None:
        del words
        called.append("pin" if command is pin.run else "archive")
        if called == ["pin"]:
            sign_again(config)
        if called == ["pin", "pin"]:
            write(config, "1.1-r0")

    monkeypatch.setattr(refresh, "_run_command", command)
    before = read_config(config).build.lock.read_bytes()
    assert "unchanged" in run("refresh")
    # Of an index that was only signed again, the committed lock stays.
    assert read_config(config).build.lock.read_bytes() == before
    summary, output = config.with_name("summary.md"), config.with_name("output")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    run("refresh")
    assert called == ["pin", "pin", "archive"]
    assert "| upgraded | musl |" in summary.read_text()
    assert output.read_text() == "changed=true\nmirror=false\n"
    handed = config.parent / "dist" / "release.lock"
    assert handed.read_bytes() == read_config(config).build.lock.read_bytes()
