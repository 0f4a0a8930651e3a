"""Tests of the release file, the login message and snowdrop-status."""

import io
import re
import tarfile
from pathlib import Path

import pytest

from build.apk.package import split_members
from build.firstboot.packages import INIT_VERSION
from tests.firstboot.conftest import BootResult, Droplet, make_packages

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
    assert result.output.splitlines() == [
        "release  snowdrop v3.24.20261123, variant droplet",
        f"made     from commit {'5f' * 20}",
        f"lock     {'ab' * 32}",
        "packages 5 as in the release, 0 not",
    ]
    assert result.status == 0


def test_status_lists_upgraded_added_and_removed_packages(released: Droplet) -> None:
    result = run_status(released, "busybox-1.36.1-r16", LOCKED[2], "vim-9.0-r1", *OWN)
    assert result.output.splitlines()[3:] == [
        "changed  busybox-1.36.1-r15 -> 1.36.1-r16",
        "added    vim-9.0-r1",
        "removed  font-dejavu-2.37-r5",
        "packages 3 as in the release, 3 not",
    ]
    assert result.status == 3


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
