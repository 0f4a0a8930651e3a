"""Real Alpine packages go the same way: their own apk solves and installs, the droplet is up."""

import re
import tomllib
from pathlib import Path

import pytest

from ci.boot.checks import format_script, read_answers
from tests.journeys.conftest import Rehearsal
from tests.journeys.test_upgrade import Machinery


def test_alpines_own_userland_comes_up_as_a_droplet(alpine: Rehearsal) -> None:
    report = alpine.record("boot")
    assert report["passed"] is True
    assert alpine.told["version"].startswith("v3.19.")
    (release,) = [check for check in report["checks"] if "alpine-release" in check["name"]]
    assert release["found"] == "3.19.1"


def test_alpines_own_apk_chose_the_packages(alpine: Rehearsal) -> None:
    lock = (alpine.download / "release.lock").read_text()
    assert 'apk = "apk-tools 2.14.0"' in lock


CHANGED = {
    "U etc/(passwd|group)": "accounts that the packages' own scripts make",
    "U etc/shadow": "the same, each with a locked password and a fixed day by the builder",
    "U etc/fstab": "the builder: the UUID of the root",
    "A etc/apk/repositories": "the builder: the branch of the image",
    "A etc/apk/(arch|world)": "apk itself",
    r"A etc/apk/keys/alpine-devel@lists\.alpinelinux\.org-[0-9a-f]{8}\.rsa\.pub": "alpine-keys",
    "U etc/(hostname|hosts)": "first boot: the droplet's name",
    "A etc/resolv.conf": "first boot: the droplet's name servers",
    r"A etc/ssh/ssh_host_(rsa|ecdsa|ed25519)_key(\.pub)?": "first boot: its own host keys",
    "A etc/snowdrop/authorized_keys/root": "first boot: the keys that may log in",
}
"""What `apk audit` may list on a droplet, besides the services of release.toml, and who made it.

Below etc/apk it lists all, changed or not (apk-tools 2.14, src/database.c, protected paths).
"""


@pytest.mark.full
def test_a_droplet_has_alpines_files_as_alpine_made_them(alpine: Rehearsal, tmp_path: Path) -> None:
    """`U` was changed, `A` was added (apk-audit(8)): all of /etc, and each for a known reason."""
    probes = {"system": "apk audit --system", "settings": "apk audit", "world": "apk info"}
    with Machinery(alpine, tmp_path).on() as droplet:
        answers = read_answers(droplet.run_script(format_script(probes)))
    assert "snowdrop-init" in answers["world"].split()
    assert answers["system"] == ""
    found = answers["settings"].splitlines()
    services = tomllib.loads(alpine.config.read_text())["image"]["droplet"]["services"]
    enabled = {f"A etc/runlevels/{level}/{name}" for level in services for name in services[level]}
    assert enabled <= set(found)
    others = [line for line in found if line not in enabled]
    assert [line for line in others if not any(re.fullmatch(each, line) for each in CHANGED)] == []
    assert [each for each in CHANGED if not any(re.fullmatch(each, line) for line in others)] == []
