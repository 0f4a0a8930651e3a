"""Regions are checked against DigitalOcean's list, which a newer region need not wait for."""

import json
from pathlib import Path

import pytest

from build.errors import ConfigError
from ci.config import read_config
from ci.regions import REGIONS, check_regions
from tests.publish.release import CONFIG

ROOT = Path(__file__).parents[2]
DESCRIPTION = ROOT / "ci" / "rehearsal" / "digitalocean" / "openapi.json"
SPACES = """
[spaces]
bucket = "releases"
public_url = "https://files.example"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "release.toml"
    path.write_text(CONFIG + text)
    return path


def test_a_newer_region_is_accepted_with_the_key_that_the_refusal_names(tmp_path: Path) -> None:
    text = '[import]\nname = "own"\nregions = ["fra1", "ric1"]\n'
    with pytest.raises(ConfigError, match=r"import\.regions = ric1: not in ") as refused:
        read_config(write(tmp_path, text))
    assert "`unlisted_region = true`" in refused.value.hint
    config = read_config(write(tmp_path, f"{text}unlisted_region = true\n"))
    assert config.imports
    assert config.imports.regions == ("fra1", "ric1")


def test_a_newer_region_has_the_form_of_one_all_the_same() -> None:
    with pytest.raises(ConfigError, match="--region ric: expected a region such as fra1"):
        check_regions(["ric"], "--region", unlisted=True, accept="--unlisted-region")


@pytest.mark.parametrize(
    ("endpoint", "region", "accepted"),
    [
        ("https://fra1.digitaloceanspaces.com", "fra1", True),
        ("https://fra1.digitaloceanspaces.com", "eu-central-1", False),
        ("https://s3.example", "eu-central-1", True),
        ("https://digitaloceanspaces.com.example", "eu-central-1", True),
    ],
)
def test_a_bucket_elsewhere_has_regions_of_other_names(
    tmp_path: Path, endpoint: str, region: str, accepted: bool
) -> None:
    path = write(tmp_path, f'{SPACES}endpoint = "{endpoint}"\nregion = "{region}"\n')
    if accepted:
        assert read_config(path).spaces
        return
    with pytest.raises(ConfigError, match=f"spaces.region = {region}: expected a region"):
        read_config(path)


def test_the_page_has_the_list() -> None:
    section = (ROOT / "docs" / "import.md").read_text().partition("## Regions\n")[2]
    listed = section.partition("sent: ")[2].partition(".")[0]
    assert listed.replace("\n", " ").split(", ") == list(REGIONS)


def test_the_list_has_the_regions_of_the_double_but_the_one_that_was_closed() -> None:
    """The description of the double is older than the list; ams1 takes no new droplets."""
    operations = json.loads(DESCRIPTION.read_text())["paths"]["/v2/images"]
    content = operations["post"]["requestBody"]["content"]["application/json"]
    described = content["schema"]["allOf"][1]["properties"]["region"]["enum"]
    assert set(described) - set(REGIONS) == {"ams1"}
