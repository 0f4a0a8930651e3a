"""An image that could not be inspected keeps no record, so nothing boots or signs it."""

from pathlib import Path

import pytest

from build.config import Origin
from build.errors import VerificationError
from build.image import Image
from ci.config import read_config
from ci.release import build_job as build_job_module
from ci.release.build_job import BuildJob, build_variant
from tests.commands.conftest import Project
from tests.snapshot.conftest import lock_of, locked
from tests.snapshot.served import Notes

ORIGIN = Origin(name="snowdrop", version="v3.19.20261123", commit="a" * 40, dirty=False)


def test_an_image_that_could_not_be_inspected_keeps_no_record(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.configure(tmp_path)
    config = read_config(project.folder / "release.toml")
    lock = lock_of(locked("grub-bios", 0))
    image = Image(tmp_path / "a.qcow2", tmp_path / "a.build.json", {"tree": {"sha256": "0"}})
    image.path.write_bytes(b"a disk")
    image.record_path.write_text("{}")

    def damaged(*_: object) -> None:
        raise VerificationError("blob: not what the lock says")

    monkeypatch.setattr(build_job_module, "build_image", lambda *_, **__: image)
    monkeypatch.setattr(build_job_module, "read_boot_code", damaged)
    job = BuildJob(config=config, lock=lock, store=project.store, engine=None, origin=ORIGIN)
    with pytest.raises(VerificationError, match="not what the lock says"):
        build_variant(job, "droplet", tmp_path, Notes())
    assert image.path.exists()
    assert not image.record_path.exists()
