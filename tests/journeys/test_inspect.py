"""The image of a rehearsal is clean, and what is said of it is what was built."""

import json

import pytest

from tests.journeys.conftest import Rehearsal, ci


def check_clean(rehearsal: Rehearsal) -> None:
    (built,) = rehearsal.dist.glob("*.qcow2")
    done = ci("inspect", str(built), "--config", str(rehearsal.config), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said.pop("findings") == []
    record = rehearsal.record("build")
    assert said["image"]["sha256"] == record["image"]["sha256"]
    assert said["tree"]["sha256"] == record["tree"]["sha256"]
    assert "sshd" in said["services"]["default"]
    assert said == json.loads(built.with_suffix(".image.json").read_text())


def test_the_image_of_a_rehearsal_is_clean(rehearsal: Rehearsal) -> None:
    check_clean(rehearsal)
    done = ci("explain", str(rehearsal.dist), str(rehearsal.image))
    assert (done.returncode, done.stdout) == (0, "the same bytes\n")


@pytest.mark.full
def test_the_image_of_real_alpine_packages_is_clean(alpine: Rehearsal) -> None:
    check_clean(alpine)
