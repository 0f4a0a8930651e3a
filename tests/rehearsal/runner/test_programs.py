"""A job finds the programs of a runner's published list, and those that its steps install."""

from pathlib import Path

import pytest

from ci.environment import UNPACKED
from ci.rehearsal.runner.inside import apt_get
from ci.rehearsal.runner.inside.debian import programs_of, with_dependencies
from ci.rehearsal.runner.programs import make_links, read_list, runner_programs

PACKAGES = {
    "git": (["/usr/bin/git", "/usr/share/doc/git/README"], "libc6, perl:any (>= 5)"),
    "perl": (["/usr/bin/perl"], ""),
    "e2fsprogs": (["/sbin/e2fsck", "/usr/bin/chattr"], ""),
    "qemu-utils": (["/usr/bin/qemu-img"], "git | qemu-system-x86"),
    "libc6": (["/lib/x86_64-linux-gnu/libc.so.6"], ""),
}


def ask(option: str, package: str) -> str:
    paths, depends = PACKAGES.get(package, ([], ""))
    return "\n".join(paths) if option == "-L" else depends


def test_programs_come_from_the_packages_of_the_list_alone() -> None:
    listed = {"base": ["e2fsprogs"], "apt": ["git", "not-here"], "tools": ["docker", "kvm"]}
    found = runner_programs(listed, ask=ask, find={"docker": "/opt/docker"}.get)
    assert found == {
        "docker": "/opt/docker",
        "e2fsck": "/sbin/e2fsck",
        "chattr": "/usr/bin/chattr",
        "git": "/usr/bin/git",
    }


def test_a_runner_has_no_qemu_and_no_debootstrap() -> None:
    listed = read_list()
    names = {name for packages in listed.values() for name in packages}
    assert not {name for name in names if name.startswith(("qemu", "debootstrap", "busybox"))}
    assert {"docker", "podman", "git"} <= set(listed["tools"])
    assert {"openssh-client", "e2fsprogs", "dpkg"} <= names


def test_links_lead_to_the_programs_of_the_host(tmp_path: Path) -> None:
    make_links(tmp_path / "bin", {"e2fsck": "/sbin/e2fsck", "docker": "/usr/local/bin/docker"})
    assert {path.name: str(path.readlink()) for path in (tmp_path / "bin").iterdir()} == {
        "e2fsck": "/home/host/usr/sbin/e2fsck",
        "docker": "/home/host/usr/local/bin/docker",
    }


def test_a_program_that_is_unpacked_here_is_installed_there(tmp_path: Path) -> None:
    make_links(tmp_path / "bin", {"sshd": f"{UNPACKED}/sshd/usr/sbin/sshd"})
    assert str((tmp_path / "bin/sshd").readlink()) == "/home/tools/sshd/usr/sbin/sshd"


def test_apt_itself_reads_the_packages_of_a_rehearsal(
    runner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def execv(path: str, words: list[str]) -> None:
        started.append([path, *words[1:]])
        raise SystemExit

    monkeypatch.setattr("os.execv", execv)
    with pytest.raises(SystemExit):
        apt_get.main(["-qq", "indextargets", "--format", "$(ORIGIN)"])
    monkeypatch.setenv("APT_CONFIG", "/elsewhere/apt.conf")
    with pytest.raises(SystemExit):
        apt_get.main(["-qq", "-o", "APT::Update::Error-Mode=any", "update"])
    assert [words[0] for words in started] == [f"{runner.parent}/host/usr/bin/apt-get"] * 2
    assert [words[-1] for words in started] == ["$(ORIGIN)", "update"]


def test_a_package_brings_what_it_depends_on() -> None:
    assert set(with_dependencies(["qemu-utils"], ask)) == {"qemu-utils", "git", "perl", "libc6"}
    assert programs_of("libc6", ask) == set()
    with pytest.raises(LookupError, match="qemu-system-x86"):
        list(with_dependencies(["git", "qemu-system-x86"], ask))


@pytest.fixture(name="runner")
def _runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of a runner's programs on a host that has two packages."""
    host = tmp_path / "host"
    for path in ("usr/bin/qemu-img", "usr/bin/git", "usr/sbin/e2fsck"):
        (host / path).parent.mkdir(parents=True, exist_ok=True)
        (host / path).touch()
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(apt_get, "BIN", tmp_path / "bin")
    monkeypatch.setattr(apt_get, "HOST", str(host))
    monkeypatch.setattr(apt_get, "programs_of", lambda name: programs_of(name, ask))
    monkeypatch.setattr(apt_get, "with_dependencies", lambda names: with_dependencies(names, ask))
    monkeypatch.setenv("SUDO_UID", "1001")
    return tmp_path / "bin"


def test_apt_makes_the_programs_of_a_package_appear_and_no_others(runner: Path) -> None:
    assert apt_get.main(["update"]) == 0
    assert list(runner.iterdir()) == []
    assert apt_get.main(["install", "--yes", "--no-install-recommends", "qemu-utils"]) == 0
    assert sorted(path.name for path in runner.iterdir()) == ["git", "qemu-img"]


def test_apt_refuses_a_package_that_is_not_there(
    runner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apt_get.main(["install", "qemu-tools"]) == 100
    assert "Unable to locate package qemu-tools" in capsys.readouterr().err
    assert list(runner.iterdir()) == []


def test_apt_without_sudo_is_refused(runner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID")
    assert apt_get.main(["install", "qemu-utils"]) == 100
    assert list(runner.iterdir()) == []


def test_apt_knows_no_other_command(runner: Path) -> None:
    assert apt_get.main(["upgrade"]) == 100
    assert list(runner.iterdir()) == []
