"""A converted image has the signed disk, and the same bytes each time."""

import hashlib
import shutil
import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.errors import BuildError, VerificationError
from ci.convert.convert import Source, convert_image, raw_digest
from ci.convert.formats import FORMATS, format_of, settle_vhd, settle_vmdk
from tests import skips

EPOCH = 1_795_000_000
MIB = 1 << 20


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    if shutil.which("qemu-img") is None:
        pytest.skip(skips.QEMU)
    folder = tmp_path_factory.mktemp("image")
    raw = folder / "disk"
    with raw.open("wb") as file:
        file.truncate(17 * MIB)
        file.seek(MIB)
        file.write(hashlib.sha256(b"disk").digest() * 3000)
    image = folder / "snowdrop-droplet-v3.24.20261123-x86_64.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    digest = hashlib.sha256(raw.read_bytes()).hexdigest()
    return Source(image=image, raw_size=17 * MIB, raw_sha256=digest, epoch=EPOCH)


@pytest.mark.parametrize("form", FORMATS)
def test_a_conversion_is_repeatable_and_has_the_signed_disk(
    source: Source, tmp_path: Path, form: str
) -> None:
    name = f"image{FORMATS[form].suffix}"
    first = convert_image(source, form, tmp_path / name, Silent())
    # qemu-img's VHD has a time in seconds.
    time.sleep(1.1 if form == "vhd" else 0)
    (tmp_path / "again").mkdir()
    second = convert_image(source, form, tmp_path / "again" / name, Silent())
    assert first.sha256 == second.sha256
    assert first.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert format_of(tmp_path / name) == form
    assert raw_digest(tmp_path / name, form, tmp_path) == source.raw_sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", name]


@pytest.mark.parametrize("form", ["vhd", "vmdk"])
def test_qemu_img_reads_the_whole_disk_of_a_converted_file(
    source: Source, tmp_path: Path, form: str
) -> None:
    out = tmp_path / f"image.{form}"
    convert_image(source, form, out, Silent())
    raw = tmp_path / "raw"
    driver = FORMATS[form].driver
    subprocess.run(["qemu-img", "convert", "-f", driver, "-O", "raw", out, raw], check=True)
    assert hashlib.sha256(raw.read_bytes()).hexdigest() == source.raw_sha256


def test_the_vhd_footer_has_a_valid_checksum(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "image.vhd"
    convert_image(source, "vhd", out, Silent())
    footer = bytearray(out.read_bytes()[-512:])
    (checksum,) = struct.unpack(">I", footer[64:68])
    footer[64:68] = bytes(4)
    assert checksum == ~sum(footer) & 0xFFFFFFFF
    assert struct.unpack(">I", footer[24:28]) == (EPOCH - 946_684_800,)
    assert footer[68:84].hex() == source.raw_sha256[:32]


def test_a_disk_that_the_record_does_not_name_is_refused(source: Source, tmp_path: Path) -> None:
    other = replace(source, raw_sha256="0" * 64)
    with pytest.raises(VerificationError, match="the signed build record has 0000"):
        convert_image(other, "raw", tmp_path / "image.raw", Silent())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settle", [settle_vhd, settle_vmdk])
def test_a_file_of_another_form_is_refused(tmp_path: Path, settle: object) -> None:
    (tmp_path / "x").write_bytes(bytes(16 * 1024))
    with pytest.raises(BuildError, match="expected one from qemu-img"):
        settle(tmp_path / "x", "0" * 64, EPOCH)  # type: ignore[operator]


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.raw.gz").write_bytes(b"\x1f\x8b no gzip")
    with pytest.raises(VerificationError, match="not a gzip file"):
        raw_digest(tmp_path / "x.raw.gz", "raw.gz", tmp_path)
