"""QEMU machine like a droplet: the image as its only disk, started by SeaBIOS and GRUB.

The image file is opened read-only; the droplet's writes go to a temporary file that QEMU has
already unlinked. QEMU chooses the local port that is forwarded to ssh. The machine is stopped when
its context ends for any reason, and when this process is killed.
"""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from build.edges.parent import bound
from build.edges.process import PATH
from build.errors import BootError, MissingToolError
from ci.boot.metadata import Interface, MetadataService
from ci.boot.monitor import Qmp, SerialLog, ssh_port

QEMU = "qemu-system-x86_64"
INSTALL = "run `apt-get install --no-install-recommends qemu-system-x86`"
ACCELERATORS = {
    "tcg": ("-accel", "tcg"),
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    # The guest's clock counts instructions, one each nanosecond (QEMU, docs/devel/tcg-icount);
    # its battery clock follows. Such a machine needs the arguments of `direct_start`.
    "icount": ("-accel", "tcg", "-icount", "shift=0", "-rtc", "clock=vm"),
}
"""QEMU's arguments by the word of `--accelerator`."""
ADDRESS, GATEWAY, NAMESERVER = "165.22.10.5", "165.22.0.1", "165.22.0.3"
"""Assigned by DHCP; a public address, as a droplet has."""
NETWORK_ID = "n0"
"""Id of the user network in QEMU's arguments."""
NETWORK, NETMASK = "160.0.0.0/4", "240.0.0.0"
"""Contains both the droplet and 169.254.169.254, as guestfwd requires."""
METADATA_ADDRESS = "169.254.169.254"
MAC = "52:54:00:5e:10:05"
VENDOR = "DigitalOcean"
"""In DMI; an image recognises a droplet by it."""
START_SECONDS = 30.0
"""Limit for QEMU's QMP greeting; normally it takes 0.2 s."""
END_SECONDS = 5.0
POLL_SECONDS = 0.1
SNAPSHOT = "before"
"""Name of the saved state of a machine, in the temporary file of the droplet's writes."""
FATAL = re.compile(
    r"Kernel panic - not syncing.*|Failed to boot both default and fallback entries"
    # mkinitfs' initramfs-init, when it finds no root and the command line has no `panic=`.
    r"|.*\bemergency recovery shell\b.*",
    re.IGNORECASE,
)
WATCH = {
    "kernel": re.compile(r"Linux version |^\[ *\d+\.\d{6}\] "),
    "sshd": re.compile(r"Starting sshd"),
    # A shell, Linux after a panic and GRUB without an entry would wait until the time-out.
    "fatal": FATAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Hardware of the machine."""

    disk: Path
    """A qcow2 file."""
    droplet_id: int
    service: MetadataService | None
    """The metadata service, or None: then nothing listens at its address."""
    accelerator: str = "tcg"
    persistent: bool = False
    """Whether the disk file itself is written: for a copy that boots more than once."""
    vendor: str = VENDOR
    """In DMI."""
    netdev: str = NETWORK_ID
    """Id of the QEMU network that the card is connected to."""
    mac: str = MAC
    """Hardware address of the public card; empty: the machine has no card."""
    first_arguments: tuple[str, ...] = ()
    """Further arguments of QEMU before the public card: a card that becomes eth0."""
    extra_arguments: tuple[str, ...] = ()
    """Further arguments of QEMU: another card, another drive."""


PUBLIC = Interface(type="public", mac=MAC, address=ADDRESS, netmask=NETMASK, gateway=GATEWAY)
"""Network card of every machine."""


def qemu_arguments(hardware: Hardware) -> list[str]:
    """Return QEMU's arguments for `hardware`, without those for its serial line and QMP."""
    drive = f"if=none,id=disk,format=qcow2,file={escape_commas(str(hardware.disk))}"
    # snapshot=on: QEMU writes to a temporary file in TMPDIR instead of the image.
    drive += "" if hardware.persistent else ",snapshot=on"
    # Linux shows it in /sys/class/dmi/id; a droplet's serial number is its id there.
    dmi = f"type=1,manufacturer={hardware.vendor},product=Droplet,serial={hardware.droplet_id}"
    return [
        # A reset ends QEMU (-no-reboot), so that it is not mistaken for a slow boot.
        "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none",
        "-vga", "std",
        "-machine", "pc",
        *ACCELERATORS[hardware.accelerator],
        # As the smallest droplet; -m in MiB.
        "-smp", "1",
        "-m", "512",
        "-smbios", dmi,
        "-drive", drive,
        "-device", "virtio-blk-pci,drive=disk",
        "-netdev", _network(hardware.service),
        *hardware.first_arguments,
        # No option ROM: without it the firmware does not offer to boot from the network.
        *(
            ["-device", f"virtio-net-pci,netdev={hardware.netdev},mac={hardware.mac},romfile="]
            if hardware.mac
            else []
        ),
        # Host keys need the kernel's random pool to be ready (random(4)).
        "-object", "rng-builtin,id=rng0",
        "-device", "virtio-rng-pci,rng=rng0",
        *hardware.extra_arguments,
    ]  # fmt: skip


def _network(service: MetadataService | None) -> str:
    options = [
        f"user,id={NETWORK_ID}",
        f"net={NETWORK},host={GATEWAY},dns={NAMESERVER},dhcpstart={ADDRESS}",
        "hostfwd=tcp:127.0.0.1:0-:22",
    ]
    if service is not None:
        options.append(f"guestfwd=tcp:{METADATA_ADDRESS}:80-cmd:{escape_commas(service.command)}")
    return ",".join(options)


def escape_commas(text: str) -> str:
    """Return `text` as a value of a QEMU option: a comma ends a value, two of them are one."""
    return text.replace(",", ",,")


class Machine:
    """A running QEMU; made by `running`."""

    def __init__(
        self, process: subprocess.Popen[bytes], qmp: Qmp, serial: SerialLog, start: float
    ) -> None:
        self.start = start
        """When it was switched on, in seconds on the monotonic clock."""
        self.serial = serial
        self.version = qmp.version
        """QEMU's, such as `7.2.22`."""
        self.ssh_port = ssh_port(qmp.monitor("info usernet"))
        self._process, self._qmp = process, qmp

    @property
    def seconds(self) -> float:
        """Seconds since the machine was switched on."""
        return time.monotonic() - self.start

    def has_ended(self) -> bool:
        """Return whether QEMU has exited."""
        return self._process.poll() is not None

    def press_power_button(self) -> None:
        """Press the ACPI power button, as DigitalOcean's panel does."""
        self._qmp.execute("system_powerdown")

    def seconds_to_switch_off(self, limit: float) -> float | None:
        """Press the power button; return the seconds until the machine is off, or None.

        The machine then runs on from the moment before: its state is saved first.

        Raises:
            BootError: QEMU cannot save or restore the state.
        """
        self._snapshot("savevm")
        # A machine that is off stays in QEMU, paused (QEMU's QMP reference, `set-action`).
        self._qmp.execute("set-action", shutdown="pause")
        start, seconds = self.seconds, None
        self.press_power_button()
        while seconds is None and self.seconds - start < limit:
            time.sleep(POLL_SECONDS)
            if self._status() == "shutdown":
                seconds = self.seconds - start
        # QEMU runs a machine on that was off only after a reset, which `-no-reboot` refuses.
        self._qmp.execute("set-action", reboot="reset")
        self._qmp.execute("stop")
        self._qmp.execute("system_reset")
        while self._status() == "shutdown":
            time.sleep(POLL_SECONDS)
        self._snapshot("loadvm")
        self._qmp.execute("set-action", reboot="shutdown", shutdown="poweroff")
        self._qmp.execute("cont")
        return seconds

    def _snapshot(self, command: str) -> None:
        # The text monitor prints an error and nothing else.
        if problem := self._qmp.monitor(f"{command} {SNAPSHOT}").strip():
            raise BootError(f"QEMU: {command}: {problem}")

    def _status(self) -> str:
        reply = self._qmp.execute("query-status")
        return str(reply["status"]) if isinstance(reply, dict) else "unknown"

    def wait(self, seconds: float | None) -> str:
        """Wait until the machine ends by itself; return QEMU's reason, such as `guest-shutdown`.

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
    environment: Mapping[str, str],
) -> Iterator[Machine]:
    """Return a context in which the machine runs, from its power-on.

    `scratch` is a folder for the droplet's writes, `log` the file for its serial line.

    Raises:
        MissingToolError: QEMU is not installed.
        BootError: QEMU does not start; the message ends with its standard error.
    """
    program = shutil.which(QEMU, path=environment.get("PATH"))
    if program is None:
        raise MissingToolError(f"{QEMU}: no such program on this machine", hint=INSTALL)
    stderr, start = scratch / "qemu-stderr", time.monotonic()
    # QMP uses an inherited socket: no port and no path that another process could open.
    local, remote = socket.socketpair()
    local.settimeout(START_SECONDS)
    with local, local.makefile("rb") as replies, stderr.open("wb") as errors:
        with remote:
            argv = [program, *qemu_arguments(hardware)]
            process = _start(argv, remote, errors, {**environment, "TMPDIR": str(scratch)})
        assert process.stdout is not None  # it is a pipe
        serial = SerialLog(process.stdout, log, start=start, watch=WATCH)
        try:
            try:
                qmp = Qmp(local, replies)
                machine = Machine(process, qmp, serial, start)
            except BootError as error:
                details = stderr.read_text(errors="backslashreplace").strip()
                hint = "run again with `--accelerator tcg`" if hardware.accelerator == "kvm" else ""
                raise BootError(f"{error}\n{details}".strip(), hint=hint) from None
            yield machine
        finally:
            _stop(process, serial)


def _start(
    argv: list[str], link: socket.socket, errors: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *bound(argv, path=environment.get("PATH", PATH)),
            "-chardev", "stdio,id=serial,signal=off,mux=on",
            "-serial", "chardev:serial",
            # SeaBIOS writes its messages, such as "No bootable device", to this debug port.
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
        # Ctrl-C at the terminal must not reach QEMU: `running` stops it.
        start_new_session=True,
    )  # fmt: skip


def _stop(process: subprocess.Popen[bytes], serial: SerialLog) -> None:
    if process.poll() is None:
        process.kill()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        # With a broken KVM, QEMU hangs inside the kernel and cannot be killed: do not wait.
        return
    serial.close(END_SECONDS)
