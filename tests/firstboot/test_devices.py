"""The settings that shorten a boot name the same devices, and leave the owner's settings alone."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from build.firstboot.packages import FILES
from tests import skips

ROOT = Path(__file__).parents[2]
SEARCH = "find /sys -name modalias -type f -print0 2>/dev/null"
"""The search of OpenRC's service hwdrivers in Alpine."""
NAMES = f"{SEARCH} | xargs -0 sort -u"


def shell(script: str, *files: str, **variables: object) -> str:
    """Return the output of a script after those of our files are read."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip(f"{skips.TOOL}: busybox")
    text = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    text += "".join(f". '{FILES / name}'\n" for name in files) + script
    done = subprocess.run(
        [busybox, "sh", "-euc", text], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_the_short_search_finds_the_names_of_all_devices(tmp_path: Path) -> None:
    if not Path("/sys/bus").is_dir():
        pytest.skip("no /sys/bus on this machine")
    found = shell(NAMES, "etc/conf.d/hwdrivers", hwdrivers_found=tmp_path / "found")
    assert set(found.splitlines()) == set(shell(NAMES).splitlines())
    assert found


def test_the_second_search_finds_only_what_the_first_has_not_found(tmp_path: Path) -> None:
    if not Path("/sys/bus").is_dir():
        pytest.skip("no /sys/bus on this machine")
    found = tmp_path / "found"
    # As if the first driver had added a device: the first line is forgotten.
    script = f"first=$({SEARCH} | tr '\\0' '\\n')\nsed -i 1d '{found}'\n{SEARCH} | tr '\\0' '\\n'\n"
    script += 'echo "$first" | head -n 1\n'
    lines = shell(script, "etc/conf.d/hwdrivers", hwdrivers_found=found).splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    # A restarted service searches everything again.
    again = shell(NAMES, "etc/conf.d/hwdrivers", hwdrivers_found=found)
    assert len(again.splitlines()) > 1


def test_another_search_is_that_of_busybox(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    script = f"find '{tmp_path}' -name a"
    found = shell(script, "etc/conf.d/hwdrivers", hwdrivers_found=tmp_path / "found")
    assert found == f"{tmp_path}/a\n"


@pytest.mark.parametrize("table", ["tests/assets/release.toml", "ci/rehearsal/sample/request.toml"])
def test_periodic_jobs_of_an_owner_run(table: str) -> None:
    """Without its daemon a crontab would be accepted, and nothing would ever run."""
    document = tomllib.loads((ROOT / table).read_text(encoding="utf-8"))
    services = document.get("services") or document["image"]["droplet"]["services"]
    assert "crond" in services["default"]


@pytest.mark.parametrize(
    ("owner", "kinds"),
    [
        pytest.param("", "ed25519 ecdsa", id="default"),
        pytest.param("key_types_to_generate='rsa ed25519'\n", "rsa ed25519", id="owner"),
    ],
)
def test_the_kinds_of_host_keys_are_the_owners_choice(owner: str, kinds: str) -> None:
    """OpenRC reads /etc/rc.conf.d first, and /etc/conf.d/SERVICE after it."""
    script = f'{owner}echo "$key_types_to_generate"'
    assert shell(script, "etc/rc.conf.d/snowdrop.conf") == f"{kinds}\n"
