"""SSH login to a droplet: a key made for one boot, and OpenSSH's client.

The settings in `~/.ssh` and /etc/ssh are ignored: they change neither the offered key nor the
known hosts.
"""

import math
import shlex
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build.edges.process import PLAIN, Finished, run
from build.errors import MissingToolError, ProcessError

KEY, KNOWN_HOSTS = "id_ed25519", "known_hosts"
INSTALL = "run `apt-get install --no-install-recommends openssh-client`"
CONNECT_SECONDS = 10
LOGIN_SECONDS = 30.0
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Client:
    """Client that logs in as root at a local port with the key in `folder`."""

    folder: Path
    port: int
    environment: Mapping[str, str]

    def argv(self, *options: str) -> list[str]:
        """Return the command line of ssh, with `options` before the host."""
        # ssh splits the value at blanks and expands % (ssh_config(5), TOKENS): quote and double.
        known_hosts = str(self.folder / KNOWN_HOSTS).replace("%", "%%")
        settings = {
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            # Never prompt for a password: the client runs unattended.
            "BatchMode": "yes",
            # The droplet makes its host key at its first boot: accept it at the first connection.
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": f'"{known_hosts}"',
            "GlobalKnownHostsFile": "/dev/null",
            "ConnectTimeout": str(CONNECT_SECONDS),
            # Ends the connection to a droplet that hangs (three missed replies by default).
            "ServerAliveInterval": "5",
            "LogLevel": "ERROR",
        }
        argv = ["ssh", "-F", "/dev/null", "-i", str(self.folder / KEY), "-p", str(self.port)]
        for name, value in settings.items():
            argv += ["-o", f"{name}={value}"]
        return [*argv, *options, "root@127.0.0.1"]

    def format_command(self) -> str:
        """Return the command line, quoted for a shell."""
        return shlex.join(self.argv())

    def run(self, command: str, *, stdin: bytes = b"", timeout: float) -> Finished:
        """Run `command` on the droplet; return its output. Status 255 is a failure of ssh itself.

        Raises:
            ProcessError: it took longer than `timeout` seconds.
        """
        argv = [*self.argv(), command]
        return run(argv, environment=self.environment, stdin=stdin, timeout=timeout, check=False)

    def error_without_key(self) -> str:
        """Return ssh's error when no key is offered; it lists the methods that sshd accepts."""
        argv = [*self.argv("-o", "PreferredAuthentications=none"), "true"]
        try:
            finished = run(argv, environment=self.environment, timeout=LOGIN_SECONDS, check=False)
        except ProcessError as error:
            return str(error)
        return finished.last_lines(1) if finished.status else "logged in"

    def read_banner(self, *, timeout: float, stop: Callable[[], bool]) -> str:
        """Return the first line of the server (RFC 4253, 4.2), or an empty string.

        Much cheaper than a login while a droplet is still starting. QEMU accepts the connection
        even when no process listens inside, so only the banner shows that sshd runs. Ends early
        when `stop` returns True.
        """
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as link:
            link.settimeout(POLL_SECONDS)
            for _ in range(math.ceil(timeout / POLL_SECONDS)):
                if stop():
                    break
                with suppress(TimeoutError):
                    return link.recv(255).decode("ascii", errors="replace").strip()
        return ""


def make_key(folder: Path, environment: Mapping[str, str] = PLAIN) -> str:
    """Make an ed25519 key without a passphrase in `folder`, made too; return the public line.

    Raises:
        MissingToolError: ssh-keygen is not installed.
    """
    folder.mkdir(exist_ok=True)
    path = folder / KEY
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "boot", "-f", str(path)]
    try:
        run(argv, environment=environment, timeout=60)
    except MissingToolError as error:
        raise MissingToolError(str(error), hint=INSTALL) from None
    return path.with_suffix(".pub").read_text(encoding="ascii").strip()
