"""Packages in the forms of other writers, from a signed repository to a running droplet."""

import json
import tomllib
from pathlib import Path
from shutil import copytree

import pytest

from ci.boot.checks import format_script, read_answers
from tests.apk.foreign import KEY, public_pem
from tests.apk.forms import FORMS, repository
from tests.journeys.conftest import Rehearsal, ci
from tests.journeys.test_private import with_line
from tests.journeys.test_upgrade import Machinery

pytestmark = pytest.mark.full

NAMES = sorted(FORMS)


def configuration(alpine: Rehearsal, folder: Path) -> str:
    """Return Alpine's configuration with one more repository, and an image of all forms."""
    for path, content in repository(NAMES, FORMS).items():
        target = folder / "repository" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    text = alpine.config.read_text()
    values = tomllib.loads(text)
    snapshot, first = values["snapshot"], values["image"]["droplet"]
    keys = copytree(alpine.state / snapshot["keys"], folder / "keys")
    (keys / KEY).write_bytes(public_pem())
    repositories = [*snapshot["repositories"], (folder / "repository").as_uri()]
    text = with_line(text, "repositories", repositories)
    text = with_line(text, "keys", str(keys))
    text = with_line(text, "dist", "foreign")
    text = text.replace("[snapshot]\n", '[snapshot]\nlock = "foreign.lock"\n')
    lines = [
        "[image.foreign]",
        *(f"{key} = {json.dumps(first[key])}" for key in ("arch", "disk")),
        f"packages = {json.dumps([*first['packages'], *NAMES])}",
        "[image.foreign.services]",
        *(f"{level} = {json.dumps(names)}" for level, names in first["services"].items()),
    ]
    return "\n".join([text, *lines, ""])


def test_a_droplet_of_all_forms_starts_and_its_files_are_unchanged(
    alpine: Rehearsal, tmp_path: Path
) -> None:
    config = alpine.state / "foreign.toml"
    config.write_text(configuration(alpine, tmp_path))
    pinned = ci("pin", "--config", str(config))
    assert pinned.returncode == 0, pinned.stderr
    assert "dot-entries-1-r0.apk: apk leaves out 3 names" in pinned.stderr + pinned.stdout
    built = ci("build", "--variant", "foreign", "--config", str(config))
    assert built.returncode == 0, built.stderr
    told = {**alpine.told, "config": str(config), "dist": str(config.with_name("foreign"))}
    probes = {
        "audit": "apk audit --system",
        "installed": "apk info",
        "files": "cat /opt/*/f; echo; ls -d /opt/*/f | wc -l",
        "link": "readlink /opt/symlink-empty/l",
        # -F: a regular expression of musl's matches no line with a byte that is not UTF-8.
        "database": "grep -c -F 'T:caf' /lib/apk/db/installed",
    }
    with Machinery(Rehearsal(told, ""), tmp_path).on() as droplet:
        answers = read_answers(droplet.run_script(format_script(probes)))
    assert answers["audit"] == ""
    assert set(NAMES) <= set(answers["installed"].split())
    # All but the two empty packages and the one whose file is at the top.
    count = len(NAMES) - 3
    assert answers["files"].split() == ["hello" * count, str(count)]
    assert answers["link"].strip() == "f"
    assert answers["database"].strip() == "1"
