"""The documentation of a release agrees with the code."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from build.edges.process import run
from ci.attest.predicates.provenance import build_type, shape_sha256
from ci.attest.statements import build_record_type, difference_type, snapshot_type
from ci.release.manifest import ROLES
from tests.attest.conftest import TOML

ROOT = Path(__file__).parents[2]
STATEMENTS = (ROOT / "docs" / "statements.md").read_text()


@pytest.mark.parametrize("kind", [build_record_type, snapshot_type, difference_type, build_type])
def test_the_page_of_a_type_has_the_section_of_its_uri(kind: Callable[[str], str]) -> None:
    page, _, anchor = kind("o/r").removeprefix("https://github.com/o/r/blob/main/").partition("#")
    assert re.search(rf"^#+ {re.escape(anchor)}$", (ROOT / page).read_text(), re.MULTILINE)


def test_every_role_is_in_the_documented_table() -> None:
    table = STATEMENTS.split("| role | what it is |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE)) == sorted(ROLES)


def test_the_printed_program_gives_the_digest_of_the_request(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "build-type.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "release.toml").write_text(TOML)
    printed = run(["python3", "-c", program], cwd=tmp_path).text.strip()
    assert printed == shape_sha256(tomllib.loads(TOML))


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        pytest.param('packages = ["alpine-base"]', 'packages = ["busybox"]', False, id="package"),
        pytest.param('github = "lighthouse', 'github = "other', False, id="repository"),
        pytest.param('name = "snowdrop"', 'name = "snowdrop"\ndist = "x"', True, id="folder"),
        pytest.param("[sign]\n", '[github]\napi = "https://x"\n[sign]\n', True, id="address"),
    ],
)
def test_the_digest_depends_on_what_is_built_and_not_on_where(
    old: str, new: str, same: bool
) -> None:
    changed = shape_sha256(tomllib.loads(TOML.replace(old, new, 1)))
    assert (changed == shape_sha256(tomllib.loads(TOML))) is same
