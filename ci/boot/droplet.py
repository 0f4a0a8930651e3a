"""A droplet that is coming up: waits for the login, asks, switches off, and takes the time."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from build.errors import BootError, ProcessError
from ci.boot.machine import LOST, Machine
from ci.boot.metadata import Service
from ci.boot.monitor import KEPT_LINES
from ci.boot.ssh import Client

POLL_SECONDS = 0.25
BANNER_SECONDS = 3.0
"""QEMU retries a connection that nobody takes ever more slowly: better begin anew."""
LOGIN_SECONDS = 30.0
COMMAND_SECONDS = 150.0
SHUTDOWN_SECONDS = 120.0
DENIED_SECONDS = 20.0
"""How long sshd may refuse the key where it starts after the key is there."""


@dataclass
class Droplet:
    """A machine, the way into it, and who tells it what it is."""

    machine: Machine
    client: Client
    service: Service
    pause: Callable[[float], None] = time.sleep
    denied_seconds: float = DENIED_SECONDS
    logged_in: float | None = field(default=None, init=False)
    switched_off: float | None = field(default=None, init=False)

    def seconds(self) -> dict[str, float]:
        """Return the moments that were reached, as the report names them."""
        asked = self.service.requests()
        moments = {
            "kernel": self.machine.serial.seen.get("kernel"),
            "network": asked[0][0] - self.machine.start if asked else None,
            "ssh": self.logged_in,
            "shutdown": self.switched_off,
        }
        return {name: value for name, value in moments.items() if value is not None}

    def wait_for_login(self, timeout: float) -> None:
        """Wait until root can log in with the key, at most until `timeout` s after the start.

        Raises:
            BootError: the boot is lost, the machine ended, or nobody was let in.
        """
        said, denied_since = "no sshd answered", None
        while self.machine.seconds < timeout:
            self._must_run()
            patience = min(BANNER_SECONDS, timeout - self.machine.seconds)
            if not self.client.banner(timeout=patience, hopeless=self._is_lost):
                self.pause(POLL_SECONDS)
                continue
            said = self._try_login(min(LOGIN_SECONDS, timeout))
            if not said:
                self.logged_in = self.machine.seconds
                return
            if "Permission denied" in said:
                denied_since = denied_since or self.machine.seconds
                if self.machine.seconds - denied_since > self.denied_seconds:
                    raise BootError(f"root is not let in with the key from metadata: {said}")
            self.pause(POLL_SECONDS)
        self._must_run()
        raise BootError(
            f"no login within {timeout:g} s: {said}",
            hint="on a slow machine give it longer: `--timeout 600`",
        )

    def ask(self, script: str) -> str:
        """Return what a shell script wrote to standard output on the droplet.

        Raises:
            BootError: the connection broke, or it took too long.
        """
        try:
            finished = self.client.run("sh -s", stdin=script.encode(), timeout=COMMAND_SECONDS)
        except ProcessError as error:
            raise BootError(f"the droplet stopped answering: {error}") from None
        if finished.status == 255:
            raise BootError(f"the droplet stopped answering: {finished.last_lines(1)}")
        return finished.text

    def refusal(self) -> str:
        """Return what sshd says to somebody without a key."""
        try:
            return self.client.refusal(timeout=LOGIN_SECONDS)
        except ProcessError as error:
            return str(error)

    def switch_off(self) -> str:
        """Run `poweroff`; return why the machine ended.

        Raises:
            BootError: it goes on.
        """
        start = self.machine.seconds
        # The connection may die before the answer: what counts is whether the machine ends.
        with suppress(ProcessError):
            self.client.run("poweroff", timeout=LOGIN_SECONDS)
        try:
            reason = self.machine.wait(SHUTDOWN_SECONDS)
        except BootError as error:
            raise BootError(f"after `poweroff` {error}") from None
        self.switched_off = self.machine.seconds - start
        return reason

    def _try_login(self, timeout: float) -> str:
        """Return nothing when root is let in, and else what ssh says."""
        try:
            finished = self.client.run("true", timeout=timeout)
        except ProcessError as error:
            return str(error)
        return "" if finished.status == 0 else finished.last_lines(1) or "ssh failed"

    def _is_lost(self) -> bool:
        return "lost" in self.machine.serial.seen or self.machine.has_ended()

    def _must_run(self) -> None:
        if "lost" in self.machine.serial.seen:
            found = LOST.search("\n".join(self.machine.serial.last_lines(KEPT_LINES)))
            raise BootError(found[0] if found else "the boot is lost")
        if self.machine.has_ended():
            raise BootError(f"the machine ended by itself: {self.machine.wait(0)}")
