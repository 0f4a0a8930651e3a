"""`inspect` prints any image; a build with a finding fails and leaves no build record."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from build.edges.progress import Silent
from build.errors import ImageError
from build.image import Image
from ci.release import build_job
from ci.release.build_job import BuildJob, build_variant
from tests.inspect.makers import CODE, Root, inspect_disk, make_disk, run_ci, write_qcow2


def test_an_image_without_findings_exits_with_0(tmp_path: Path) -> None:
    image = write_qcow2(make_disk(tmp_path / "d", lambda root: None), tmp_path / "x.qcow2")
    done = run_ci("inspect", image, "--config", tmp_path / "none.toml", "--files")
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "partition     1: 0x83 active",
        "command line  root=UUID=",
        "at default    sshd",
        "2 packages",
        "/boot/initramfs-virt",
        "made by mkinitfs",
        "boot code not compared: no lock",
        "no findings",
    ):
        assert words in done.stdout, done.stdout


def test_an_image_with_findings_exits_with_1_and_names_file_and_rule(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d", lambda root: root.write("root/.ash_history", "x\n"))
    done = run_ci("inspect", disk, "--config", tmp_path / "none.toml", "--json")
    assert done.returncode == 1
    found = [(each["where"], each["rule"]) for each in json.loads(done.stdout)["findings"]]
    assert found == [("/root/.ash_history", "history"), ("/root/.ash_history", "unowned")]
    printed = run_ci("inspect", disk, "--config", tmp_path / "none.toml").stdout
    assert "/root/.ash_history  exists and is not empty" in printed
    assert "2 findings" in printed


def test_a_missing_image_is_an_error_of_one_line(tmp_path: Path) -> None:
    done = run_ci("inspect", tmp_path / "x.qcow2")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: {tmp_path}/x.qcow2: No such file or directory"]


def fake_build(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Root], object],
    *accept: str,
) -> tuple[BuildJob, Image]:
    """Return a job whose build returns an image of our own disk, and that image."""
    path = write_qcow2(make_disk(folder / "d", change), folder / "x.qcow2")
    record = {"tree": {"sha256": inspect_disk(path).tree_sha256}}
    image = Image(path, folder / "x.build.json", record)
    image.record_path.write_text("{}")
    monkeypatch.setattr(build_job, "build_image", lambda *_, **__: image)
    monkeypatch.setattr(build_job, "read_boot_code", lambda *_: CODE)
    config: Any = SimpleNamespace(
        build=SimpleNamespace(
            work=folder / "checkout/work", images={"droplet": SimpleNamespace(accept=accept)}
        )
    )
    nothing: Any = None
    return BuildJob(config=config, lock=nothing, store=nothing, engine=None, origin=nothing), image


def test_a_build_writes_image_json_beside_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, image = fake_build(tmp_path, monkeypatch, lambda root: None)
    assert build_variant(job, "droplet", tmp_path, Silent()) is image
    document = json.loads((tmp_path / "x.image.json").read_text())
    assert document["tree"]["sha256"] == image.record["tree"]["sha256"]
    assert image.record_path.exists()


def leak(root: Root) -> None:
    """Write a file that contains the path of the build."""
    where = root.folder.parents[1] / "checkout/work"
    text = f"made in {where}\n"
    root.packages["alpine-base"]["etc/motd"] = text
    root.write("etc/motd", text)
    root.write_database()


def test_a_build_with_a_finding_fails_and_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, image = fake_build(tmp_path, monkeypatch, leak)
    with pytest.raises(ImageError, match=r"1 finding\n  /etc/motd: a path of the build at byte 8"):
        build_variant(job, "droplet", tmp_path, Silent())
    assert not image.record_path.exists()
    assert not (tmp_path / "x.image.json").exists()


def test_a_finding_is_accepted_by_rule_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "unowned /etc/udev/hwdb.bin: made by a trigger", "host-key /etc/udev/*: of no use"
    job, image = fake_build(
        tmp_path, monkeypatch, lambda root: root.write("etc/udev/hwdb.bin", "x"), *lines
    )
    with pytest.raises(ImageError, match=r"/etc/udev: dir of no package"):
        build_variant(job, "droplet", tmp_path, Silent())
    job, image = fake_build(
        tmp_path,
        monkeypatch,
        lambda root: root.write("etc/udev/hwdb.bin", "x"),
        "unowned /etc/udev*: made by a trigger",
    )
    assert build_variant(job, "droplet", tmp_path, Silent()) is image
