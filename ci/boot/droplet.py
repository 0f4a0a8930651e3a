"""Running droplet: wait for the login, run scripts, power off, measure times."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from build.errors import BootError, ProcessError
from ci.boot.machine import FATAL, Machine
from ci.boot.metadata import MetadataService
from ci.boot.monitor import MAX_LINES
from ci.boot.ssh import LOGIN_SECONDS, Client
from ci.boot.timing import ServiceTime

POLL_SECONDS = 0.25
BANNER_SECONDS = 3.0
"""QEMU retries an unanswered connection at growing intervals: a new connection is faster."""
COMMAND_SECONDS = 150.0
SHUTDOWN_SECONDS = 120.0
POWER_BUTTON_SECONDS = 60.0
"""A droplet that ignores the button is switched off hard by the panel."""
DENIED_SECONDS = 20.0
"""How long sshd may refuse the key after its first refusal."""


@dataclass
class Droplet:
    """A machine with its ssh client and its metadata service."""

    machine: Machine
    client: Client
    service: MetadataService
    pause: Callable[[float], None] = time.sleep
    denied_seconds: float = DENIED_SECONDS
    logged_in: float | None = field(default=None, init=False)
    powered_off: float | None = field(default=None, init=False)
    services: tuple[ServiceTime, ...] = field(default=(), init=False)
    """Times of the started services, after `boot_image` has read them."""
    ports: tuple[str, ...] | None = field(default=None, init=False)
    """Its open ports, after `boot_image` has read them."""
    button_seconds: float | None = field(default=None, init=False)

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each moment that was reached (`checks.MOMENTS`)."""
        requests = self.service.requests()
        moments = {
            "kernel": self.machine.serial.matched.get("kernel"),
            "network": requests[0][0] - self.machine.start if requests else None,
            "ssh": self.logged_in,
            "power button": self.button_seconds,
            "shutdown": self.powered_off,
        }
        return {name: value for name, value in moments.items() if value is not None}

    def wait_for_login(self, timeout: float) -> None:
        """Wait until root can log in with the key, at most until `timeout` s after the start.

        Raises:
            BootError: the boot failed, the machine ended, or no login succeeded in time.
        """
        problem, denied_since = "no sshd answered", None
        while self.machine.seconds < timeout:
            self._require_running()
            limit = min(BANNER_SECONDS, timeout - self.machine.seconds)
            if not self.client.read_banner(timeout=limit, stop=self._has_failed):
                self.pause(POLL_SECONDS)
                continue
            problem = self._try_login(min(LOGIN_SECONDS, timeout))
            if not problem:
                self.logged_in = self.machine.seconds
                return
            if "Permission denied" in problem:
                denied_since = denied_since or self.machine.seconds
                if self.machine.seconds - denied_since > self.denied_seconds:
                    raise BootError(f"sshd refuses root with the key from metadata: {problem}")
            self.pause(POLL_SECONDS)
        self._require_running()
        raise BootError(
            f"no login within {timeout:g} s: {problem}",
            hint="use a longer time-out on a slow machine: `--timeout 600`",
        )

    def run_script(self, script: str) -> str:
        """Run a shell script on the droplet; return its standard output.

        Raises:
            BootError: the connection broke, or the script took too long.
        """
        try:
            finished = self.client.run("sh -s", stdin=script.encode(), timeout=COMMAND_SECONDS)
        except ProcessError as error:
            raise BootError(f"the droplet stopped answering: {error}") from None
        if finished.status == 255:
            raise BootError(f"the droplet stopped answering: {finished.last_lines(1)}")
        return finished.text

    def wait_for_sshd(self, timeout: float) -> float | None:
        """Return the seconds until sshd answers, or None when it does not by `timeout`."""
        while self.machine.seconds < timeout and not self.machine.has_ended():
            if self.client.read_banner(timeout=BANNER_SECONDS, stop=self.machine.has_ended):
                return self.machine.seconds
            self.pause(POLL_SECONDS)
        return None

    def power_off(self) -> str:
        """Run `poweroff`; return why the machine ended.

        Raises:
            BootError: it still runs.
        """
        start = self.machine.seconds
        # The connection may break before the reply: only the end of the machine counts.
        with suppress(ProcessError):
            self.client.run("poweroff", timeout=LOGIN_SECONDS)
        try:
            reason = self.machine.wait(SHUTDOWN_SECONDS)
        except BootError as error:
            raise BootError(f"after `poweroff` {error}") from None
        self.powered_off = self.machine.seconds - start
        return reason

    def press_power_button(self) -> bool:
        """Press the power button; return whether the machine switched itself off.

        The machine then runs on from the moment before.

        Raises:
            BootError: QEMU cannot save or restore the machine.
        """
        self.button_seconds = self.machine.seconds_to_switch_off(POWER_BUTTON_SECONDS)
        return self.button_seconds is not None

    def _try_login(self, timeout: float) -> str:
        """Return an empty string after a login as root, else the error of ssh."""
        try:
            finished = self.client.run("true", timeout=timeout)
        except ProcessError as error:
            return str(error)
        return "" if finished.status == 0 else finished.last_lines(1) or "ssh failed"

    def _has_failed(self) -> bool:
        return "fatal" in self.machine.serial.matched or self.machine.has_ended()

    def _require_running(self) -> None:
        if "fatal" in self.machine.serial.matched:
            found = FATAL.search("\n".join(self.machine.serial.last_lines(MAX_LINES)))
            raise BootError(found[0] if found else "the boot failed")
        if self.machine.has_ended():
            raise BootError(f"the machine ended by itself: {self.machine.wait(0)}")
