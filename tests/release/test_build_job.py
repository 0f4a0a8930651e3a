"""An image that was not judged keeps no record, so nothing boots or signs it."""

from pathlib import Path

import pytest

from build.config import Origin
from build.errors import VerificationError
from build.image import Image
from ci.config import read_config
from ci.release import build_job as order_module
from ci.release.build_job import Order, build_variant
from tests.release.conftest import Desk
from tests.snapshot.conftest import lock_of, locked
from tests.snapshot.served import Notes

ORIGIN = Origin(name="snowdrop", version="v3.19.20261123", commit="a" * 40, dirty=False)


def test_what_could_not_be_judged_keeps_no_record(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure(tmp_path)
    config = read_config(desk.folder / "release.toml")
    lock = lock_of(locked("grub-bios", 0))
    image = Image(tmp_path / "a.qcow2", tmp_path / "a.build.json", {"tree": {"sha256": "0"}})
    image.path.write_bytes(b"a disk")
    image.record_path.write_text("{}")

    def damaged(*_: object) -> None:
        raise VerificationError("blob: not what the lock says")

    monkeypatch.setattr(order_module, "build_image", lambda *_, **__: image)
    monkeypatch.setattr(order_module, "boot_code_of", damaged)
    order = Order(config=config, lock=lock, store=desk.store, engine=None, origin=ORIGIN)
    with pytest.raises(VerificationError, match="not what the lock says"):
        build_variant(order, "droplet", tmp_path, Notes())
    assert image.path.exists()
    assert not image.record_path.exists()
