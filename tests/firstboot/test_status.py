"""Tests of the release file, the login message and snowdrop-status."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from build.apk.package import split_members
from build.firstboot.packages import INIT_VERSION
from tests.firstboot.conftest import BootResult, Droplet, document, make_packages, response
from tests.firstboot.test_userdata import run_user_data

LOCKED = ("busybox-1.36.1-r15", "font-dejavu-2.37-r5", "musl-1.2.4_git20230717-r4")
OWN = (f"snowdrop-init-{INIT_VERSION}", "snowdrop-release-3.24.20261123-r0")


@pytest.fixture
def released(droplet: Droplet) -> Droplet:
    """Return a droplet with the files of its release."""
    local = make_packages(locked=LOCKED)
    package = dict(local.packages)["snowdrop-release-3.24.20261123-r0.apk"]
    with tarfile.open(fileobj=io.BytesIO(split_members(package)[2]), mode="r:gz") as tar:
        for member in tar:
            if (file := tar.extractfile(member)) is not None:
                droplet.write(member.name, file.read().decode())
    return droplet


def run_status(droplet: Droplet, *installed: str) -> BootResult:
    """Run snowdrop-status on a droplet with these packages installed."""
    blocks = ""
    for line in installed:
        name, version, release = line.rsplit("-", 2)
        blocks += f"C:Q1x=\nP:{name}\nV:{version}-{release}\nF:usr\nR:file\n\n"
    droplet.write("lib/apk/db/installed", blocks)
    return droplet.boot("/usr/bin/snowdrop-status")


def test_shell_can_source_the_release_file(released: Droplet) -> None:
    text = '. /etc/snowdrop-release && echo "$VERSION|$VARIANT|$LOCK|$COMMIT|$EPOCH"'
    result = released.boot("/bin/sh", "-euc", text)
    assert result.output == f"v3.24.20261123|droplet|{'ab' * 32}|{'5f' * 20}|1763800000\n"


@pytest.mark.parametrize("interactive", [True, False])
def test_release_is_printed_at_interactive_logins_only(
    released: Droplet, *, interactive: bool
) -> None:
    options = ["-i"] if interactive else []
    result = released.boot("/bin/sh", *options, "-c", ". /etc/profile.d/snowdrop.sh")
    message = (
        "snowdrop v3.24.20261123 (droplet), made from commit 5f5f5f5f5f5f and lock abababababab;"
        " see `snowdrop-status`\n"
    )
    # Without a terminal an interactive shell complains of that too.
    assert message in result.output if interactive else result.output == ""


def test_status_of_an_unchanged_droplet(released: Droplet) -> None:
    result = run_status(released, *LOCKED, *OWN)
    assert result.output.splitlines()[:4] == [
        "release  snowdrop v3.24.20261123, variant droplet",
        f"made     from commit {'5f' * 20}",
        f"lock     {'ab' * 32}",
        "packages 5 as in the release, 0 not",
    ]
    assert result.status == 0


def test_status_lists_upgraded_added_and_removed_packages(released: Droplet) -> None:
    result = run_status(released, "busybox-1.36.1-r16", LOCKED[2], "vim-9.0-r1", *OWN)
    assert result.output.splitlines()[3:7] == [
        "changed  busybox-1.36.1-r15 -> 1.36.1-r16",
        "added    vim-9.0-r1",
        "removed  font-dejavu-2.37-r5",
        "packages 3 as in the release, 3 not",
    ]
    assert result.status == 3


def test_status_says_what_is_whose_and_what_metadata_said_last(droplet: Droplet) -> None:
    public = document()["interfaces"]["public"]
    private = {"mac": "52:54:00:00:00:0a", "ipv4": {**public[0]["ipv4"], "ip_address": "10.1.0.7"}}
    values = document(interfaces={"public": public, "private": [private]})
    droplet.boot(v1_json=[response(json.dumps(values))], user_data=[response("#cloud-config\n")])
    before = droplet.boot("/usr/bin/snowdrop-status").output.splitlines()
    assert "ours     /etc/network/interfaces" in before
    assert f"ours     /{droplet.keys}" in before
    assert "ours     service snowdrop-init, in the runlevel default" in before
    assert "metadata droplet 4711, SSH keys: applied, host name: applied" in before
    assert "metadata public address 203.0.113.5/20 of 52:54:00:00:00:05 by 203.0.112.1" in before
    assert "metadata private address 10.1.0.7/20 of 52:54:00:00:00:0a by 203.0.112.1" in before
    assert "metadata name server 192.0.2.53" in before
    # The settings are those of the test.
    assert [line for line in before if line.startswith(("owner", "problem", "userdata"))] == [
        "owner    /etc/conf.d/snowdrop-init: changed"
    ]

    droplet.write(droplet.keys, "")
    (droplet.root / "etc/hostname").unlink()
    (droplet.root / "etc/runlevels/default/snowdrop-init").unlink()
    droplet.write("var/lib/snowdrop/user-data-ended", "4711 not run: because\n")
    droplet.write("run/snowdrop-init.problems", "SSH keys: none\n")
    after = droplet.boot("/usr/bin/snowdrop-status").output.splitlines()
    assert set(after) - set(before) >= {
        f"owner    /{droplet.keys}: changed",
        "owner    /etc/hostname: removed",
        "owner    service snowdrop-init: in no runlevel",
        "userdata not run: because",
        "problem  SSH keys: none",
    }


LOGIN = ("/bin/sh", "-i", "-c", ". /etc/profile.d/snowdrop.sh")


def test_login_shows_what_failed(droplet: Droplet) -> None:
    droplet.boot()
    assert "user-data:" not in droplet.boot(*LOGIN).output
    droplet.write("var/lib/snowdrop/user-data-ended", "4711 not run: because\n")
    output = droplet.boot(*LOGIN).output
    assert "problem at this start: " not in output
    assert "user-data: not run: because\n" in output
    (droplet.root / "var/lib/snowdrop/hostname-done").unlink()
    droplet.boot(hostname=[response("10.0.0.1")])
    output = droplet.boot(*LOGIN).output
    assert "problem at this start: host name: '10.0.0.1' is none; it stays as-it-was\n" in output
    # A start without a problem forgets them.
    droplet.boot()
    assert "problem" not in droplet.boot(*LOGIN).output


def test_login_says_nothing_of_a_document_that_was_applied(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, "#cloud-config\nruncmd: [':']\n")
    assert used_droplet.read("var/lib/snowdrop/user-data-ended").endswith("it was applied\n")
    assert "user-data:" not in used_droplet.boot(*LOGIN).output


def test_copy_does_not_show_how_the_script_of_the_former_droplet_ended(
    used_droplet: Droplet,
) -> None:
    run_user_data(used_droplet, "#!/bin/sh\nexit 3\n")
    assert "user-data: the script ended with status 3" in used_droplet.boot(*LOGIN).output
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    used_droplet.boot()
    assert "userdata the" not in used_droplet.boot("/usr/bin/snowdrop-status").output
    status = "/usr/bin/snowdrop-status >/status 2>&1"
    login = "sh -i -c '. /etc/profile.d/snowdrop.sh' >/login 2>&1"
    run_user_data(used_droplet, f"#!/bin/sh\n{status}\n{login}\nexit 4\n")
    assert "userdata the script was started, and has not ended\n" in used_droplet.read("status")
    assert "user-data:" not in used_droplet.read("login")
    assert (
        "userdata the script ended with status 4"
        in used_droplet.boot("/usr/bin/snowdrop-status").output
    )


def test_documented_defaults_name_existing_tests() -> None:
    folder = Path(__file__).parent
    table = (folder.parents[1] / "docs/defaults.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)?(?:::)?(test_\w+)?`", table)
    file = ""
    for given, name in named:
        file = given or file
        assert f"def {name}" in (folder / file).read_text(encoding="utf-8"), (file, name)
    assert len(named) > 10


@pytest.mark.parametrize(
    "missing", ["etc/snowdrop-release", "usr/share/snowdrop/locked", "lib/apk/db/installed"]
)
def test_status_names_a_file_that_it_cannot_read(released: Droplet, missing: str) -> None:
    released.write("lib/apk/db/installed", "")
    (released.root / missing).unlink()
    result = released.boot("/usr/bin/snowdrop-status")
    assert f"error: /{missing}: no such file, expected " in result.output
    assert result.status == 1
