"""Disks with a boot program of 512 bytes, which SeaBIOS starts, and no operating system."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.boot.machine import QEMU
from tests import skips

SERIAL_LINE = bytes.fromhex(
    "31c0 8ed8 8ec0"  # xor ax,ax; mov ds,ax; mov es,ax
    "be 407c"  #        mov si, 0x7c40: the text
    "ba f803"  #        mov dx, 0x3f8: the first serial port
    "ac"  #             next: lodsb
    "84c0 7403"  #      test al,al; jz behind the loop
    "ee"  #             out dx,al
    "ebf8"  #           jmp next
)
HALT = bytes.fromhex("fa f4 ebfd")  # cli; stop: hlt; jmp stop
RESET = bytes.fromhex("b0fe e664")  # mov al,0xfe; out 0x64,al: the keyboard controller's reset
WRITE_SECTOR = bytes.fromhex(
    "b8 0103 bb 007c"  # mov ax,0x0301: write one sector; mov bx,0x7c00: from here
    "b9 0200 b6 00"  #   mov cx,2: to the second one; mov dh,0; dl is the boot disk still
    "b2 80 cd13"  #      mov dl,0x80; int 0x13
)


@pytest.fixture
def disk(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes qcow2 disks: write `text` on the serial line, `then`, halt."""
    for program in (QEMU, "qemu-img"):
        if shutil.which(program) is None:
            pytest.skip(skips.QEMU)

    def make(text: str, *, then: bytes = b"", name: str = "disk") -> Path:
        program = (SERIAL_LINE + then + HALT).ljust(0x40, b"\x90")
        sector = (program + text.encode() + b"\0").ljust(510, b"\0") + b"\x55\xaa"
        raw, made = tmp_path / f"{name}.raw", tmp_path / f"{name}.qcow2"
        raw.write_bytes(sector.ljust(1024 * 1024, b"\0"))
        argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(made)]
        subprocess.run(argv, check=True)
        raw.unlink()
        return made

    return make


@pytest.fixture
def record(tmp_path: Path) -> Callable[[Path], Path]:
    """Return a function that makes the build record of a disk."""

    def make(disk: Path) -> Path:
        content = disk.read_bytes()
        path = disk.with_suffix(".build.json")
        document = {
            "format": 1,
            "name": "snowdrop",
            "variant": "droplet",
            "version": "v3.24.20261123",
            "arch": "x86_64",
            "branch": "v3.24",
            "lock": {"id": "5" * 64},
            "source": {"commit": "a" * 40, "dirty": False},
            "epoch": 1_764_000_000,
            "image": {
                "file": disk.name,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            },
        }
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return make
