"""A user without an engine that builds, or without a writable folder, is told at once."""

import os
import re
from pathlib import Path

import pytest

from ci.preflight.abilities import check_engine, check_writable
from ci.preflight.checks import CheckFailed
from tests import skips

ANSWERS = {
    "a docker daemon": ("echo 28.1 []", "exit 1", "docker 28.1"),
    "podman as root": ("exit 1", "echo 5.4 false", "podman 5.4"),
    "rootless docker beside podman": ("echo 28.1 [name=rootless]", "echo 5.4 false", "podman 5.4"),
}
REFUSALS = {
    "nothing": ("exit 1", "exit 1", "podman failed with status 1"),
    "rootless podman": ("exit 1", "echo 5.4 true", "podman: rootless: it may not make device"),
    "rootless docker": ("echo 28.1 [name=rootless]", "exit 1", "docker: rootless: it may not"),
    "a client without a daemon": ("echo", "exit 1", "docker: no daemon answers"),
}


def engines(folder: Path, monkeypatch: pytest.MonkeyPatch, docker: str, podman: str) -> None:
    for name, script in (("docker", docker), ("podman", podman)):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    search = f"{folder}:{os.environ['PATH']}"
    monkeypatch.setattr("build.edges.container.choose.PLAIN", {"PATH": search})
    monkeypatch.setenv("PATH", search)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_engine_that_builds_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker, podman, expected = ANSWERS[name]
    engines(tmp_path, monkeypatch, docker, podman)
    assert check_engine({}, user=1001) == expected


@pytest.mark.parametrize("name", REFUSALS)
def test_without_one_the_reasons_and_the_command_that_helps_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker, podman, reason = REFUSALS[name]
    engines(tmp_path, monkeypatch, docker, podman)
    with pytest.raises(CheckFailed, match=re.escape(reason)) as failed:
        check_engine({}, user=1001)
    assert "unshare: needs root" in str(failed.value)
    assert "usermod -aG docker" in failed.value.hint
    assert check_engine({}, user=0) == "unshare, as root"


def test_a_folder_of_somebody_else_is_named(tmp_path: Path) -> None:
    assert check_writable([tmp_path / "work"]) == str(tmp_path / "work")
    if os.geteuid() == 0:
        pytest.skip(f"{skips.TOOL}: root can write everywhere")
    with pytest.raises(CheckFailed, match="cannot write there"):
        check_writable([Path("/proc/work")])
