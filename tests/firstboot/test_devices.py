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


def shell(script: str, *files: str) -> str:
    """Return the output of a script after those of our files are read."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip(f"{skips.TOOL}: busybox")
    text = "".join(f". '{FILES / name}'\n" for name in files) + script
    done = subprocess.run(
        [busybox, "sh", "-euc", text], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_the_short_search_finds_the_names_of_all_devices() -> None:
    if not Path("/sys/bus").is_dir():
        pytest.skip("no /sys/bus on this machine")
    found = set(shell(NAMES, "etc/conf.d/hwdrivers").splitlines())
    assert found == set(shell(NAMES).splitlines())
    assert found


def test_another_search_is_that_of_busybox(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert shell(f"find '{tmp_path}' -name a", "etc/conf.d/hwdrivers") == f"{tmp_path}/a\n"


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
