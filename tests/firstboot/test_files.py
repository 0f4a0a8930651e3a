"""Files that cannot be written, or are not what they should be; and problems that went away."""

import shutil

import pytest

from tests.firstboot.conftest import KEY, OTHER_KEY, Droplet, response
from tests.firstboot.test_drive import add_config_drive
from tests.firstboot.test_userdata import run_user_data

SCRIPT = "#!/bin/sh\n:\n"
FAILING = [response("later", status=500)]


def problems(droplet: Droplet) -> list[str]:
    """Return the problems that `snowdrop-status` lists."""
    lines = droplet.boot("/usr/bin/snowdrop-status").output.splitlines()
    return [line for line in lines if line.startswith("problem")]


@pytest.mark.parametrize("path", ["etc/hostname", "etc/hosts", "var/lib/snowdrop/network"])
def test_folder_in_place_of_a_file_is_reported(droplet: Droplet, path: str) -> None:
    shutil.rmtree(droplet.root / path, ignore_errors=True)
    (droplet.root / path).unlink(missing_ok=True)
    (droplet.root / path).mkdir()
    assert droplet.boot().status == 0
    assert list((droplet.root / path).iterdir()) == []
    assert f"/{path} cannot be written" in droplet.console
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_log_that_is_a_link_leaves_the_mode_of_its_target(droplet: Droplet) -> None:
    (droplet.root / droplet.log).symlink_to("/dev/null")
    (droplet.root / "dev/null").chmod(0o666)
    assert droplet.boot().status == 0
    assert (droplet.root / "dev/null").stat().st_mode & 0o777 == 0o666


def test_log_that_is_a_folder_stays_as_it_is(droplet: Droplet) -> None:
    (droplet.root / droplet.log).mkdir(mode=0o755)
    assert droplet.boot().status == 0
    assert (droplet.root / droplet.log).stat().st_mode & 0o777 == 0o755
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"


def test_hosts_that_cannot_be_written_does_not_bring_the_host_name_back(droplet: Droplet) -> None:
    (droplet.root / "etc/hosts").unlink()
    (droplet.root / "etc/hosts").symlink_to("/nowhere/hosts")
    assert droplet.boot().hostname == "web-1.example.org"
    message = "host name: /etc/hosts cannot be written; it stays as it was"
    assert problems(droplet) == [f"problem  {message}"]
    assert message in droplet.console
    droplet.write("etc/hostname", "mine\n")
    droplet.boot()
    assert droplet.read("etc/hostname") == "mine\n"
    assert problems(droplet) == []


def test_problem_that_was_solved_later_is_no_longer_listed(droplet: Droplet) -> None:
    droplet.boot(public_keys=FAILING, hostname=FAILING, v1_json=FAILING)
    assert {line.split(":")[0] for line in problems(droplet)} == {
        "problem  SSH keys",
        "problem  host name",
        "problem  addresses",
    }
    run_user_data(droplet, SCRIPT)
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert problems(droplet) == []
    droplet.write("etc/snowdrop-release", "NAME=a\nVERSION=1\nVARIANT=x\nCOMMIT=1\nLOCK=2\n")
    login = droplet.boot("/bin/sh", "-i", "-c", ". /etc/profile.d/snowdrop.sh")
    assert "problem at this start" not in login.output


def test_problem_that_remains_is_listed_once(droplet: Droplet) -> None:
    droplet.settings = "patience=0\npatience_refresh=0\npatience_later=0\n"
    droplet.boot(hostname=[response("a_b")], public_keys=FAILING)
    droplet.boot(
        *("/bin/sh", "/usr/libexec/snowdrop-init", "user-data"),
        hostname=[response("a_b")],
        user_data=[response(SCRIPT)],
    )
    assert problems(droplet) == ["problem  host name: 'a_b' is none; it stays as-it-was"]


def test_drive_that_is_read_later_is_no_longer_a_problem(droplet: Droplet) -> None:
    add_config_drive(droplet)
    mount = droplet.read("usr/sbin/mount")
    droplet.write_program("usr/sbin/mount", "exit 32")
    droplet.boot()
    assert problems(droplet) == ["problem  config drive /dev/vdb: it cannot be mounted"]
    droplet.write_program("usr/sbin/mount", mount)
    run_user_data(droplet, SCRIPT)
    assert problems(droplet) == []
