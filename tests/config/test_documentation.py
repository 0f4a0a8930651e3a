"""docs/configuration.md names every key that the reader of release.toml knows, and no other."""

import re
from pathlib import Path

import pytest

from build.errors import ConfigError
from ci.config import read_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
MINIMAL = {
    "release": ['name = "snowdrop"', 'github = "OWNER/REPO"'],
    "snapshot": ['branch = "v3.24"', 'repositories = ["main"]', 'keys = "keys"'],
    "builder": ['packages = ["python3"]'],
    "image.VARIANT": ['arch = "x86_64"', 'disk = "1 GiB"', 'packages = ["alpine-base"]'],
    "image.VARIANT.services": [],
    "sign": [],
    "github": [],
    "spaces": [
        'bucket = "releases"',
        'region = "fra1"',
        'endpoint = "https://s3.example"',
        'public_url = "https://files.example"',
    ],
    "import": ['regions = ["fra1"]', 'name = "snowdrop"'],
}
"""The required keys of each table: with these alone a file is read."""


def configuration(tmp_path: Path, wrong: str = "") -> Path:
    lines = []
    for table, keys in MINIMAL.items():
        lines += [f"[{table}]".replace("VARIANT", "droplet"), *keys]
        if table == wrong:
            lines.append("unknown = 1")
    path = tmp_path / "release.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def documented() -> dict[str, dict[str, list[str]]]:
    """Return the cells of the rows of each table, by the table's name and the key."""
    tables = {}
    for section in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        if title.startswith("["):
            rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE)
            tables[title.strip("[]")] = {key: rest.split("|") for key, rest in rows}
    return tables


def test_the_required_keys_alone_are_a_configuration(tmp_path: Path) -> None:
    config = read_config(configuration(tmp_path))
    assert config.build.images["droplet"].packages == ("alpine-base",)


@pytest.mark.parametrize("table", MINIMAL)
def test_the_page_lists_the_keys_of_the_table(table: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown: unknown key, expected one of: ") as refused:
        read_config(configuration(tmp_path, wrong=table))
    known = str(refused.value).partition("expected one of: ")[2].split(", ")
    assert sorted(documented()[table]) == known


@pytest.mark.parametrize("table", MINIMAL)
def test_the_page_says_which_keys_are_required(table: str) -> None:
    required = {line.partition(" ")[0] for line in MINIMAL[table]}
    rows = documented()[table]
    assert {key for key, cells in rows.items() if cells[1].strip() == "required"} == required


@pytest.mark.parametrize("table", ["release", "snapshot", "github", "import"])
def test_a_default_of_the_page_is_that_of_the_code(table: str, tmp_path: Path) -> None:
    """Write each documented default into the file: the configuration stays the same."""
    path = configuration(tmp_path)
    config, text = read_config(path), path.read_text()
    for key, cells in documented()[table].items():
        default = cells[1].strip()
        if default.startswith("`"):
            path.write_text(
                text.replace(f"[{table}]\n", f"[{table}]\n{key} = {default.strip('`')}\n")
            )
            assert read_config(path) == config, key
