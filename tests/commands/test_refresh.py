"""A refresh hands lock and snapshot to another machine, which needs no mirror."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from build.snapshot.lock import write_lock
from build.snapshot.lock_reader import read_lock
from tests.commands.conftest import Project
from tests.distribution import Distribution
from tests.snapshot.test_pin import as_root


@as_root
def test_what_was_pinned_is_taken_elsewhere(project: Project, distribution: Distribution) -> None:
    project.configure(distribution.repository)
    first = project.ci("refresh", "--engine", "unshare", "--json")
    assert first.data == {"changed": True, "lock": project.lock.id}
    lock = project.lock
    again = project.ci("refresh", "--engine", "unshare", "--json")
    assert again.data == {"changed": False, "lock": None}

    # The next job: a new machine with the artifact of the first one.
    elsewhere = Project(project.folder.with_name("elsewhere"), project.run)
    elsewhere.folder.mkdir()
    elsewhere.configure("https://mirror.example/nowhere")
    dist = Path(shutil.copytree(project.folder / "dist", elsewhere.folder / "dist"))
    listed = project.ci("artifacts", "--json").data["files"]
    assert elsewhere.ci("artifacts", "--check", json.dumps(listed)).status == 0
    assert elsewhere.ci("refresh", "--take").status == 0
    assert elsewhere.lock == lock
    assert elsewhere.ci("store", "verify", "--json").data["missing"] == {}

    write_lock(dist / "release.lock", replace(read_lock(dist / "release.lock"), branch="v3.20"))
    assert elsewhere.ci("artifacts", "--check", json.dumps(listed)).status == 1
    refused = elsewhere.ci("refresh", "--take")
    assert (refused.status, "has the snapshot" in refused.err) == (3, True)
    assert elsewhere.lock == lock
