"""`--prove` reports what really was varied, keeps images that differ, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build.config import Origin
from build.edges.progress import Silent
from build.errors import BuildError, NotReproducibleError
from build.image import Image
from ci.commands import build as build_command
from ci.config import read_config
from ci.release.build_job import BuildJob
from ci.release.checkout import ROOT
from ci.report.console import Console
from ci.reproduce import prove as prove_module
from ci.reproduce import vm, workspace
from ci.reproduce.environment_report import (
    ANOTHER_DAY,
    ComparedBuild,
    compare_environments,
    describe_host,
)
from ci.reproduce.prove import Proof, varied_environment
from ci.reproduce.workspace import FILE_ORDER, UNUSUAL_NAME, create_workspace
from tests.commands.conftest import Project
from tests.snapshot.kept import URL, keep, spoil

ORIGIN = Origin(name="snowdrop", version="v3.24.20261123", commit="c" * 40, dirty=False)
STEM = "snowdrop-droplet-v3.24.20261123-x86_64"
SEEN = {
    "cores": 2,
    "day": "2026-11-23",
    "kernel": "6.1",
    "processor": "x",
    "umask": "022",
    "host name": "snowdrop",
}


def image(folder: Path, content: bytes, listing: bytes, seen: Mapping[str, Any]) -> Image:
    """Return an image whose digests are its content in hexadecimal."""
    path = folder / f"{STEM}.qcow2"
    path.write_bytes(content)
    what = {"sha256": content.hex()}
    record: Mapping[str, Any] = {
        "tree": what,
        "raw": what,
        "image": what,
        "engine": {"name": "podman", "version": "4.3.1", "refused": []},
    }
    return Image(path, folder / f"{STEM}.build.json", record, listing, seen)


@pytest.fixture
def job(project: Project) -> BuildJob:
    """A job for the one image of a small snapshot."""
    project.configure(URL)
    config = read_config(project.folder / "release.toml")
    config.build.work.mkdir()
    return BuildJob(
        config=config,
        lock=keep(project.store, "hello"),
        store=project.store,
        engine=None,
        origin=ORIGIN,
    )


def first_image(job: BuildJob) -> Image:
    folder = job.config.build.work.with_name("first")
    folder.mkdir()
    return image(folder, b"one", b"etc\tdir\t0755\n", SEEN)


def prove(job: BuildJob) -> Proof:
    console = Console(sys.stdout, sys.stderr, {}, json=True, progress=Silent())
    return prove_module.prove(job, "droplet", first_image(job), console, another_day=False)


# Which properties were varied.


def test_the_table_reports_only_observed_values(tmp_path: Path) -> None:
    host = describe_host(tmp_path)
    builds = [
        ComparedBuild("plain", image(tmp_path, b"", b"", SEEN), host),
        ComparedBuild(
            "varied",
            image(tmp_path, b"", b"", SEEN | {"cores": 1}),
            {**host, "umask of the user": "077"},
            {"host name": "Operation not permitted"},
        ),
    ]
    rows = {row.name: row for row in compare_environments(builds)}
    assert rows.keys() >= {*host, "container engine", "variables of the builder", "kernel", "day"}
    assert {name for name, row in rows.items() if row.varied} == {"cores", "umask of the user"}
    assert (rows["cores"].values, rows["cores"].reason) == (("2", "1"), "")
    assert rows["host name"].reason == "Operation not permitted"
    assert rows["day"].reason == rows["kernel"].reason == ANOTHER_DAY
    assert all(row.varied or row.reason for row in rows.values())


VARIED_PROCESS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ci.reproduce import varied_build
varied_build.replace_zlib()
varied_build.vary_process()
from pathlib import Path
from ci.reproduce.environment_report import describe_host
import gzip, zlib
content = bytes(range(256)) * 99
assert gzip.decompress(gzip.compress(content)) == zlib.decompress(zlib.compress(content)) == content
json.dump(describe_host(Path.cwd()), sys.stdout)
"""


def describe_varied_process(home: Path) -> Mapping[str, str]:
    """Return what the process of the varied build observes."""
    environment = {**varied_environment(home)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", VARIED_PROCESS, str(ROOT)],
        cwd=home,
        env=environment,
        check=True,
        capture_output=True,
    )
    host: Mapping[str, str] = json.loads(done.stdout)
    return host


@pytest.mark.parametrize("ours", [None, "Pacific/Kiritimati"])
def test_the_varied_process_differs_in_every_property(
    ours: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ours:
        monkeypatch.setenv("TZ", ours)
    home = tmp_path / "home"
    home.mkdir()
    ours_seen, varied = describe_host(tmp_path), describe_varied_process(home)
    same = {name for name in ours_seen if ours_seen[name] == varied[name]}
    # Only root may change the host name; `create_workspace` copies the sources.
    given = {"folder of the sources", "user", "Python of the host"}
    assert same == given | ({"host name"} if os.geteuid() else set())


def test_zlib_ng_replaces_zlib(tmp_path: Path) -> None:
    name = "zlib of the host"
    ours, other = describe_host(tmp_path)[name], describe_varied_process(tmp_path)[name]
    assert other.startswith("zlib-ng ")
    assert other.rpartition(" ")[2] != ours.rpartition(" ")[2]


def test_the_workspace_is_elsewhere_and_removed_afterwards(tmp_path: Path) -> None:
    disk = tmp_path / "work"
    disk.mkdir()
    with create_workspace(disk, ROOT) as other:
        assert UNUSUAL_NAME in str(other.sources)
        copied = other.sources / "build/image.py"
        assert copied.read_bytes() == (ROOT / "build/image.py").read_bytes()
        assert copied.stat().st_mode & 0o777 == 0o600
        assert copied.parent.stat().st_mode & 0o777 == 0o700
        assert not list(other.sources.rglob("__pycache__"))
        folders = (other.sources, other.home, other.work.parent, other.out.parent)
        assert all(folder.is_dir() for folder in folders)
    assert not any(folder.exists() for folder in folders)
    assert list(disk.iterdir()) == []


def test_without_a_tmpfs_the_file_order_is_reported_as_not_varied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MEMORY", tmp_path / "shm")
    with create_workspace(tmp_path, ROOT) as other:
        assert other.reasons[FILE_ORDER] == f"{tmp_path}/shm is no tmpfs here"
        assert tmp_path in other.work.parents


# The result.


def test_a_failure_of_the_varied_build_is_raised(job: BuildJob) -> None:
    (kept,) = job.lock.packages
    lock = replace(job.lock, packages=(replace(kept, order={**kept.order, "builder": 1}),))
    spoil(job.store, kept.sha256)
    with pytest.raises(BuildError, match=rf"^the varied build: .*{kept.sha256[:12]}.*sha256"):
        prove(replace(job, lock=lock))
    assert list(job.config.build.work.iterdir()) == []


def test_the_varied_build_uses_the_callers_engine(
    job: BuildJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process has another HOME, where no engine has its settings or its storage."""
    requests = []

    def read_request(_: object, home: Path) -> None:
        requests.append(json.loads((home / "request.json").read_text()))

    monkeypatch.setattr(prove_module, "_run", read_request)
    caller = {"HOME": "/home/ada", "DOCKER_HOST": "unix:///docker.sock", "GITHUB_TOKEN": "secret"}
    with pytest.raises(BuildError, match="ended without an answer"):
        prove(replace(job, caller=caller))
    (request,) = requests
    assert {name: request["caller"].get(name) for name in caller} == {
        **caller,
        "GITHUB_TOKEN": None,
    }


def test_an_image_that_differs_is_kept_and_the_rule_is_named(
    job: BuildJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> ComparedBuild:
        listing = b"etc\tdir\t0755\nvar/log/messages\tfile\n"
        return ComparedBuild(
            "varied", image(tmp_path, b"two", listing, SEEN), describe_host(tmp_path)
        )

    monkeypatch.setattr(prove_module, "_build_varied", build)
    proof = prove(job)
    (error,) = proof.differences
    kept = job.config.build.work / prove_module.KEPT / f"{STEM}.varied.qcow2"
    assert kept.read_bytes() == b"two"
    assert "differ in: tree, raw, image" in str(error)
    assert "/var/log/messages: only in one: " in str(error)
    assert "rule `logs`: " in str(error)
    first = job.config.build.work.with_name("first") / f"{STEM}.qcow2"
    assert error.hint == f"run `nox -s explain -- {first} {kept}`"
    data = json.loads(json.dumps(proof.data()))
    assert (data["passed"], data["differences"]) == (False, [str(error)])
    assert [build["title"] for build in data["builds"]] == ["plain", "varied"]
    names = [row["thing"] for row in (*data["varied"], *data["not_varied"])]
    assert sorted(names) == sorted(row.name for row in proof.rows)


def test_equal_images_leave_nothing_behind(
    job: BuildJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> ComparedBuild:
        return ComparedBuild("varied", image(tmp_path, b"one", b"", SEEN), describe_host(tmp_path))

    monkeypatch.setattr(prove_module, "_build_varied", build)
    assert prove(job).data()["passed"] is True
    assert list(job.config.build.work.iterdir()) == []


# The command.


@pytest.mark.parametrize("another_day", [False, True])
def test_a_failed_proof_is_printed_whole_and_exits_with_3(
    project: Project,
    job: BuildJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    another_day: bool,
) -> None:
    titles = ["varied", "another day"][: 1 + another_day]
    monkeypatch.setattr(build_command, "_prepare_lock", lambda *_: job.lock)
    monkeypatch.setattr(build_command, "find_qemu", lambda: "8.2")
    record = {**first_image(job).record, "image": {"size": 1, "sha256": "1"}}
    first = replace(image(tmp_path, b"one", b"", SEEN), record=record)
    monkeypatch.setattr(build_command, "build_variant", lambda *_: first)

    def proved(*_: object, another_day: bool) -> Proof:
        assert another_day is (len(titles) == 2)
        builds = [
            ComparedBuild(title, first, describe_host(tmp_path)) for title in ["plain", *titles]
        ]
        errors = [
            NotReproducibleError(f"{title} differs", hint=f"run explain {title}")
            for title in titles
        ]
        return Proof(tuple(builds), compare_environments(builds), tuple(errors))

    monkeypatch.setattr(build_command, "prove", proved)
    result = project.ci("build", "--another-day" if another_day else "--prove")
    assert result.status == 3
    for title in titles:
        assert f"{title} differs\n" in result.err
        assert f"run explain {title}" in result.err
    assert "the same bytes" not in result.out
    assert "not varied" in result.out


def test_another_day_without_qemu_fails_before_anything_is_built(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "PATH", "/nonexistent")
    result = project.ci("build", "--another-day")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: qemu-system-x86_64: no such program")
    assert "apt-get install" in result.err
