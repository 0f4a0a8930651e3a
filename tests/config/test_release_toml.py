"""An invalid release.toml gives one line with file, key, value and what is allowed."""

import json
from pathlib import Path

import pytest

from build.apk.index import INDEX, read_index
from build.apk.signature import Keyring
from build.errors import ConfigError
from ci.config import read_config
from tests.alpine import FULL, KEYS

ROOT = Path(__file__).parents[2]
GOOD = (ROOT / "tests" / "assets" / "release.toml").read_text()
"""A text of the tests' own: a maintainer edits the repository's release.toml."""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "release.toml"
    path.write_text(text)
    return path


def test_the_committed_file_is_valid() -> None:
    """Whatever a maintainer has filled in: the values are theirs."""
    config = read_config(ROOT / "release.toml")
    assert config.build.images


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert config.build.branch == "v3.24"
    assert [url.rsplit("/", 2)[1:] for url in config.build.source.repositories] == [
        ["v3.24", "main"],
        ["v3.24", "community"],
    ]
    assert list(config.build.images) == ["droplet"]
    assert config.build.images["droplet"].disk == 1024**3
    assert config.build.builder_source == config.build.source
    assert config.sign.trust_root is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'name = "snowdrop"  ',
            'nam = "snowdrop"  ',
            "release.nam: unknown key (did you mean name?), expected one of: auto, dist, github",
        ),
        ('disk = "1 GiB"', "disk = 1", "image.droplet.disk = 1: expected a size from 64 MiB to"),
        ('disk = "1 GiB"', 'disk = "4 GB"', 'image.droplet.disk = "4 GB": expected a size from'),
        ('disk = "1 GiB"', 'disk = "9000 GiB"', 'image.droplet.disk = "9000 GiB": expected a size'),
        ('arch = "x86_64"', "", "image.droplet.arch = nothing: expected one of: x86_64"),
        ('arch = "x86_64"', 'arch = "mips"', 'image.droplet.arch = "mips": expected one of'),
        ("serial = 0", "serial = -1", "release.serial = -1: expected a whole number from 0 to"),
        ("serial = 0", "serial = true", "release.serial = true: expected a whole number"),
        ('github = "OWNER/REPO"', 'github = "repo"', 'release.github = "repo": expected OWNER'),
        ('"linux-virt"', '"linux virt"', 'image.droplet.packages = "linux virt": expected a list'),
        ('"linux-virt"', '"alpine-base"', 'image.droplet.packages = "alpine-base": expected each'),
        ("[builder] ", "[bilder] ", "bilder: unknown key (did you mean builder?), expected"),
        ('sysinit = ["devfs"', 'sysinit = [5, "devfs"', "image.droplet.services.sysinit = 5: "),
        ("sysinit = ", "sysinti = ", "image.droplet.services.sysinti: unknown key"),
        ('bucket = "snowdrop-releases"', 'bucket = "A"', 'spaces.bucket = "A": expected 3 to 63'),
        ('branch = "v3.24"', 'branch = "../x"', 'snapshot.branch = "../x": expected Alpine'),
        ("[release]", "[release", "Expected ']' at the end of a table declaration (at line"),
    ],
)  # fmt: skip
def test_an_invalid_value_is_reported(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_reported_with_the_option_that_names_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file") as caught:
        read_config(tmp_path / "none.toml")
    assert "--config" in caught.value.hint


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "release.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="utf-8"):
        read_config(path)


def test_a_trust_root_needs_its_signing_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + '\n[sign]\ntrust_root = "root.json"\n')
    with pytest.raises(ConfigError, match="trust_root and signing_config together"):
        read_config(path)


def test_only_the_exact_word_allows_a_private_repository_in_the_public_log(tmp_path: Path) -> None:
    assert not read_config(write(tmp_path, GOOD)).sign.public_log
    assert read_config(write(tmp_path, GOOD + "\n[sign]\npublic_log = true\n")).sign.public_log
    path = write(tmp_path, GOOD + '\n[sign]\npublic_log = "yes"\n')
    with pytest.raises(ConfigError, match=r'sign\.public_log = "yes": expected true or false'):
        read_config(path)


@pytest.mark.parametrize(
    "name", ["R", "gdal-driver-PG", "libDetour", "g++", "c++-Lib_x", "7zip", "a.b_c-d"]
)
def test_every_form_of_a_package_name_is_accepted(name: str, tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD.replace('"linux-virt"', f'"{name}"')))
    assert name in config.build.images["droplet"].packages


@pytest.mark.parametrize("name", ["", "-R", ".R", "R/x", "R=1", "R x", "R@edge", "!R", "R~1", "Ä"])
def test_a_name_that_no_package_can_have_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace('"linux-virt"', f'"{name}"'))
    with pytest.raises(ConfigError, match="expected a list of package names"):
        read_config(path)


@pytest.mark.alpine
def test_the_name_of_every_package_of_alpine_is_accepted(tmp_path: Path) -> None:
    keys = Keyring.from_folder(KEYS, "x86_64")
    contents = [(folder / "x86_64" / INDEX).read_bytes() for folder in FULL]
    indexes = [read_index(content, keys, where="index") for content in contents]
    records = [record for index in indexes for record in index.records]
    assert len(records) == 23_030
    names = {record.name for record in records}
    assert {"R", "gdal-driver-PG"} <= names
    # A name may be in a list once, and some are in the file already.
    listed = [json.dumps(name) for name in sorted(names) if json.dumps(name) not in GOOD]
    accepted: set[str] = set()
    for start in range(0, len(listed), 900):  # a list has at most 1000 strings
        part = ", ".join(listed[start : start + 900])
        config = read_config(write(tmp_path, GOOD.replace('"linux-virt"', part)))
        accepted |= {*config.build.images["droplet"].packages, *config.build.builder_packages}
    # The second is the name of a service too, which the file has.
    assert names - accepted <= {"linux-virt", "acpid"}
