"""A droplet lets its owner in after Alpine's apk has removed the project's packages."""

from pathlib import Path

import pytest

from tests.journeys.conftest import Rehearsal
from tests.journeys.test_upgrade import PATIENCE, Machinery

pytestmark = pytest.mark.full

LOOK = """\
apk info -v | grep -c '^snowdrop-'
ip -4 -o address show dev eth0 | awk '{ print $4 }'
rc-status --nocolor --crashed | tr -d '\\n'
find /etc/runlevels -type l ! -exec test -e {} \\; -print
sshd -T | grep -i '^passwordauthentication'
"""


@pytest.mark.parametrize("name", ["snowdrop-init", "snowdrop-release", "all of them"])
def test_droplet_without_a_package_lets_its_owner_in_after_a_restart(
    alpine: Rehearsal, tmp_path: Path, name: str
) -> None:
    machinery = Machinery(alpine, tmp_path)
    with machinery.on() as droplet:
        installed = droplet.run_script("apk info | grep '^snowdrop-'").split()
        assert {"snowdrop-init", "snowdrop-release"} <= set(installed)
        removed = installed if name == "all of them" else [name]
        said = droplet.run_script(f"apk del {' '.join(removed)} 2>&1; sync")
        for package in removed:
            assert f"Purging {package}" in said
        droplet.client.run("reboot", timeout=PATIENCE)
        assert droplet.machine.wait(PATIENCE) == "guest-reset"
    with machinery.on() as droplet:
        left, address, *rest = droplet.run_script(LOOK).splitlines()
        assert droplet.power_off() == "guest-shutdown"
    assert int(left) == len(installed) - len(removed)
    assert address == "165.22.10.5/4"
    # No service crashed, no link of a runlevel leads nowhere.
    assert rest == ["passwordauthentication no"]
