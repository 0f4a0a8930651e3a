"""The way into a droplet: a key made for one boot, and OpenSSH's client with no settings of ours.

What the person has in `~/.ssh` and the machine in /etc/ssh has no say: not in which key is
offered, not in which host is known.
"""

import math
import shlex
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build.edges.process import PLAIN, Finished, run
from build.errors import MissingToolError

KEY, KNOWN_HOSTS = "id_ed25519", "known_hosts"
INSTALL = "run `apt-get install --no-install-recommends openssh-client`"
CONNECT_SECONDS = 10
SLICE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Client:
    """Logs in as root at a port of this machine with the key in `folder`."""

    folder: Path
    port: int
    environment: Mapping[str, str]

    def argv(self, *options: str) -> list[str]:
        """Return the command that a person could type too."""
        settings = {
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            # The droplet makes its host key at its first boot: the first contact learns it.
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": _quoted(self.folder / KNOWN_HOSTS),
            "GlobalKnownHostsFile": "/dev/null",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": "5",
            "LogLevel": "ERROR",
        }
        words = ["ssh", "-F", "/dev/null", "-i", str(self.folder / KEY), "-p", str(self.port)]
        for name, value in settings.items():
            words += ["-o", f"{name}={value}"]
        return [*words, *options, "root@127.0.0.1"]

    def shown(self) -> str:
        """Return the command for a person to copy into a shell."""
        return shlex.join(self.argv())

    def run(self, command: str, *, stdin: bytes = b"", timeout: float) -> Finished:
        """Return what `command` wrote on the droplet; status 255 is a failure of ssh itself.

        Raises:
            ProcessError: it took longer than `timeout` seconds.
        """
        argv = [*self.argv(), command]
        return run(argv, environment=self.environment, stdin=stdin, timeout=timeout, check=False)

    def refusal(self, *, timeout: float) -> str:
        """Return what ssh says when no key is offered; it names the ways that would be open."""
        argv = [*self.argv("-o", "PreferredAuthentications=none"), "true"]
        finished = run(argv, environment=self.environment, timeout=timeout, check=False)
        return finished.last_lines(1) if finished.status else "logged in"

    def banner(self, *, timeout: float, hopeless: Callable[[], bool]) -> str:
        """Return the first line that the server says (RFC 4253, 4.2), or nothing.

        Much cheaper than a whole login while a droplet is still starting. QEMU takes the
        connection even when nobody listens inside, so that only the banner tells. Given up when
        `hopeless` says so.
        """
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as link:
            link.settimeout(SLICE_SECONDS)
            for _ in range(math.ceil(timeout / SLICE_SECONDS)):
                if hopeless():
                    break
                with suppress(TimeoutError):
                    return link.recv(255).decode("ascii", errors="replace").strip()
        return ""


def make_key(folder: Path, environment: Mapping[str, str] = PLAIN) -> str:
    """Make an ed25519 key without a passphrase in `folder`; return its public line.

    Raises:
        MissingToolError: there is no ssh-keygen.
    """
    path = folder / KEY
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "boot", "-f", str(path)]
    try:
        run(argv, environment=environment, timeout=60)
    except MissingToolError as error:
        raise MissingToolError(str(error), hint=INSTALL) from None
    return path.with_suffix(".pub").read_text(encoding="ascii").strip()


def _quoted(path: Path) -> str:
    # ssh splits the value at blanks and expands %; quotes and doubling keep the path whole.
    return '"' + str(path).replace("%", "%%") + '"'
