"""A machine like a droplet: QEMU with the image as its only disk, SeaBIOS and GRUB as at home.

The image file is opened read-only; what the droplet writes goes to a temporary file that QEMU has
deleted already. QEMU chooses the port of this machine that leads to ssh. It ends when the context
ends, however that comes about, and when this process is killed.
"""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from build.errors import BootError, MissingToolError
from ci.boot.metadata import Interface, Service
from ci.boot.monitor import Qmp, SerialLog, forwarded_port

QEMU = "qemu-system-x86_64"
INSTALL = "run `apt-get install --no-install-recommends qemu-system-x86`"
ACCELERATORS = ("tcg", "kvm")
ADDRESS, GATEWAY, NAMESERVER = "165.22.10.5", "165.22.0.1", "165.22.0.3"
"""What DHCP hands out: like a droplet's, a public address."""
NETWORK_ID = "n0"
"""QEMU's name of the network."""
NETWORK, NETMASK = "160.0.0.0/4", "240.0.0.0"
"""One network that holds both the droplet and 169.254.169.254: guestfwd asks for that."""
METADATA_ADDRESS = "169.254.169.254"
MAC = "52:54:00:5e:10:05"
VENDOR = "DigitalOcean"
"""In DMI, by which an image knows where it runs."""
START_SECONDS = 30.0
"""Until QEMU greets; it takes 0.2 s where nothing is wrong."""
END_SECONDS = 5.0
LOST = re.compile(r"Kernel panic - not syncing.*|Failed to boot both default and fallback entries")
WATCH = {
    "kernel": re.compile(r"Linux version |^\[ *\d+\.\d{6}\] "),
    # Linux after a panic, GRUB when no entry works: both would sit there until the time-out.
    "lost": LOST,
}
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What QEMU is asked for; the smallest droplet has one core and 512 MiB."""

    disk: Path
    """A qcow2 file."""
    droplet_id: int
    service: Service | None
    """The stand-in metadata service, or nobody at its address."""
    accelerator: str = "tcg"
    memory: int = 512 * MIB
    """In bytes."""
    cores: int = 1
    keeps_writes: bool = False
    """Whether the disk file itself is written: for a copy that boots more than once."""
    vendor: str = VENDOR
    """In DMI."""
    card_on: str = NETWORK_ID
    """QEMU's name of what the network card is plugged into."""
    more: tuple[str, ...] = ()
    """Further words for QEMU: another card, another drive."""


PUBLIC = Interface(type="public", mac=MAC, address=ADDRESS, netmask=NETMASK, gateway=GATEWAY)
"""The network card that every machine has."""


def arguments(hardware: Hardware) -> list[str]:
    """Return QEMU's words for `hardware`, without those for its serial line and QMP."""
    drive = f"if=none,id=disk,format=qcow2,file={_escaped(str(hardware.disk))}"
    drive += "" if hardware.keeps_writes else ",snapshot=on"
    return [
        "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none",
        "-vga", "std",
        "-machine", "pc",
        "-accel", hardware.accelerator,
        *(["-cpu", "host"] if hardware.accelerator == "kvm" else []),
        "-smp", str(hardware.cores),
        "-m", str(hardware.memory // MIB),
        "-smbios", _dmi(hardware),
        "-drive", drive,
        "-device", "virtio-blk-pci,drive=disk",
        "-netdev", _network(hardware.service),
        # No option ROM: without it the firmware does not offer to boot from the network.
        "-device", f"virtio-net-pci,netdev={hardware.card_on},mac={MAC},romfile=",
        "-object", "rng-builtin,id=rng0",
        "-device", "virtio-rng-pci,rng=rng0",
        *hardware.more,
    ]  # fmt: skip


def _dmi(hardware: Hardware) -> str:
    words = f"manufacturer={hardware.vendor},product=Droplet,serial={hardware.droplet_id}"
    return f"type=1,{words}"


def _network(service: Service | None) -> str:
    words = [
        f"user,id={NETWORK_ID}",
        f"net={NETWORK},host={GATEWAY},dns={NAMESERVER},dhcpstart={ADDRESS}",
        "hostfwd=tcp:127.0.0.1:0-:22",
    ]
    if service is not None:
        words.append(f"guestfwd=tcp:{METADATA_ADDRESS}:80-cmd:{_escaped(service.command)}")
    return ",".join(words)


def _escaped(text: str) -> str:
    # In QEMU's options a comma ends a value; two of them are one.
    return text.replace(",", ",,")


class Machine:
    """A running QEMU; made by `running`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        qmp: Qmp,
        serial: SerialLog,
        clock: Callable[[], float],
        start: float,
    ) -> None:
        self.start = start
        """When it was switched on, in seconds on the clock."""
        self.serial = serial
        self.version = qmp.version
        """QEMU's, such as `7.2.22`."""
        self.ssh_port = forwarded_port(qmp.ask("info usernet"), guest_port=22)
        self._process, self._qmp, self._clock = process, qmp, clock

    @property
    def pid(self) -> int:
        """Number of QEMU's process."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since the machine was switched on."""
        return self._clock() - self.start

    def has_ended(self) -> bool:
        """Return whether QEMU is gone."""
        return self._process.poll() is not None

    def wait(self, seconds: float | None) -> str:
        """Wait until the machine ends by itself; return why (QEMU's word: `guest-shutdown`).

        Raises:
            BootError: it still runs after `seconds`.
        """
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BootError(f"the machine still runs after {seconds:g} s") from None
        self.serial.close(END_SECONDS)
        return self._qmp.shutdown_reason()


@contextmanager
def running(
    hardware: Hardware,
    *,
    scratch: Path,
    log: Path,
    clock: Callable[[], float],
    environment: Mapping[str, str],
) -> Iterator[Machine]:
    """Return a machine that was just switched on.

    `scratch` is a folder for what the droplet writes, `log` the file for its serial line.

    Raises:
        MissingToolError: there is no QEMU here.
        BootError: QEMU does not start; the message ends in what it said.
    """
    program = shutil.which(QEMU, path=environment.get("PATH"))
    if program is None:
        raise MissingToolError(f"{QEMU}: no such program on this machine", hint=INSTALL)
    complaints, start = scratch / "qemu-says", clock()
    ours, theirs = socket.socketpair()
    with ours, complaints.open("wb") as errors:
        with theirs:
            argv = [program, *arguments(hardware)]
            process = _start(argv, theirs, errors, {**environment, "TMPDIR": str(scratch)})
        serial = SerialLog(_output(process), log, since_start=lambda: clock() - start, watch=WATCH)
        try:
            try:
                qmp = Qmp(ours, timeout=START_SECONDS)
                machine = Machine(process, qmp, serial, clock, start)
            except BootError as error:
                said = complaints.read_text(errors="backslashreplace").strip()
                raise BootError(f"{error}\n{said}".strip(), hint=_hint(hardware)) from None
            yield machine
        finally:
            _end(process, serial)


def _start(
    argv: list[str], link: socket.socket, errors: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # Should this process be killed, nobody is left to end QEMU: the kernel then does it.
    setpriv = shutil.which("setpriv", path=environment.get("PATH"))
    return subprocess.Popen(
        [
            *([setpriv, "--pdeathsig", "KILL"] if setpriv else []),
            *argv,
            "-chardev", "stdio,id=serial,signal=off,mux=on",
            "-serial", "chardev:serial",
            # The firmware's own messages, such as "No bootable device", on the same line.
            "-device", "isa-debugcon,iobase=0x402,chardev=serial",
            "-chardev", f"socket,id=qmp,fd={link.fileno()}",
            "-mon", "chardev=qmp,mode=control",
        ],
        env=environment,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        pass_fds=[link.fileno()],
        # Ctrl-C at the terminal reaches us alone; we end QEMU ourselves.
        start_new_session=True,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes], serial: SerialLog) -> None:
    if process.poll() is None:
        process.kill()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        # Where KVM only pretends to work, QEMU hangs inside the kernel and cannot be ended:
        # waiting for it would hang us too.
        return
    serial.close(END_SECONDS)
    _output(process).close()


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise AssertionError("started with a pipe")
    return process.stdout


def _hint(hardware: Hardware) -> str:
    return "run again with `--accelerator tcg`" if hardware.accelerator == "kvm" else ""
