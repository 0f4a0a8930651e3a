"""What a running QEMU says: the machine's serial line, and QEMU's own answers.

QEMU answers in QMP, commands and events as JSON lines (QEMU, docs/interop/qmp-spec).
"""

import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from build.errors import BootError

ESCAPE = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[^\[])")
"""Terminal control sequences (ECMA-48) as GRUB, SeaBIOS and OpenRC write them."""
KEPT_LINES = 2000
LONGEST_LINE = 4096
"""Characters; a machine that writes without an end must not fill the memory."""
FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)\s")
"""A line of `info usernet`: host's address and port, guest's address and port."""


def plain(raw: bytes) -> str:
    r"""Return a line without colours, cursor movements and other control characters.

    >>> plain(b"\x1b[32m * \x1b[0mStarting sshd ...\r")
    ' * Starting sshd ...'
    """
    text = ESCAPE.sub("", raw.decode(errors="backslashreplace"))
    return "".join(letter for letter in text if letter >= " " or letter == "\t").rstrip()


class SerialLog:
    """Reads an unbuffered stream in a thread of its own; each line goes to a file as it comes."""

    def __init__(
        self,
        stream: IO[bytes],
        file: Path,
        *,
        since_start: Callable[[], float],
        watch: Mapping[str, re.Pattern[str]],
    ) -> None:
        self.file = file
        self.seen: dict[str, float] = {}
        """For each pattern of `watch` the seconds until its first line."""
        self._stream, self._since_start, self._watch = stream, since_start, watch
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pending = b""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="serial", daemon=True)
        self._thread.start()

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that are not empty, the unfinished one too."""
        with self._lock:
            lines = [*self._lines, plain(self._pending)]
        return [line for line in lines if line][-count:]

    def close(self, seconds: float) -> None:
        """Wait at most `seconds` until all that was written is in the file."""
        self._thread.join(seconds)

    def _read(self) -> None:
        with self.file.open("w", encoding="utf-8") as log:
            # The stream has no buffer: a read gives what is there, not 64 KiB.
            while piece := self._stream.read(65536):
                *whole, rest = (self._pending + piece).split(b"\n")
                for line in whole:
                    self._take(plain(line), log.write)
                with self._lock:
                    self._pending = rest[-LONGEST_LINE:]
                log.flush()
            self._take(plain(self._pending), log.write)
            with self._lock:
                self._pending = b""

    def _take(self, line: str, write: Callable[[str], int]) -> None:
        seconds = self._since_start()
        for name, pattern in self._watch.items():
            if name not in self.seen and pattern.search(line):
                self.seen[name] = seconds
        with self._lock:
            self._lines.append(line)
        write(f"{seconds:9.3f}  {line}\n")


class Qmp:
    """One conversation with a running QEMU."""

    def __init__(self, link: socket.socket, *, timeout: float) -> None:
        """Greet; `timeout` in seconds holds for every answer.

        Raises:
            BootError: QEMU says nothing, or ends.
        """
        self.events: list[dict[str, Any]] = []
        self._link = link
        self._pending = b""
        link.settimeout(timeout)
        greeting = self._message()
        version = greeting["QMP"]["version"]["qemu"]
        self.version = "{major}.{minor}.{micro}".format(**version)
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> object:
        """Return what QEMU answers to `command`.

        Raises:
            BootError: it refuses, says nothing, or ends.
        """
        order = {"execute": command, "arguments": arguments}
        try:
            self._link.sendall(json.dumps(order).encode() + b"\n")
        except OSError as error:
            raise BootError(f"QEMU: {command}: {error}") from None
        while True:
            message = self._message()
            if "error" in message:
                raise BootError(f"QEMU: {command}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]

    def ask(self, command: str) -> str:
        """Return what QEMU's monitor for people answers: some things only that one tells."""
        return str(self.execute("human-monitor-command", **{"command-line": command}))

    def shutdown_reason(self) -> str:
        """Return why the machine ended, once it has: `guest-shutdown`, `guest-reset`, ..."""
        try:
            while True:
                self._message()
        except BootError:
            pass
        ends = [event["data"]["reason"] for event in self.events if event["event"] == "SHUTDOWN"]
        return str(ends[-1]) if ends else "unknown"

    def _message(self) -> dict[str, Any]:
        while True:
            line, newline, rest = self._pending.partition(b"\n")
            if newline:
                self._pending = rest
                message: dict[str, Any] = json.loads(line)
                if "event" not in message:
                    return message
                self.events.append(message)
                continue
            try:
                piece = self._link.recv(65536)
            except OSError as error:
                raise BootError(f"QEMU does not answer: {error}") from None
            if not piece:
                raise BootError("QEMU has ended")
            self._pending += piece


def forwarded_port(usernet: str, *, guest_port: int) -> int:
    r"""Return the port of this machine that leads to `guest_port`, out of `info usernet`.

    >>> text = "  TCP[HOST_FORWARD]  12  127.0.0.1 40213  165.22.10.5  22  0  0\n"
    >>> forwarded_port(text, guest_port=22)
    40213

    Raises:
        BootError: there is none.
    """
    for host, guest in FORWARD.findall(usernet):
        if int(guest) == guest_port:
            return int(host)
    raise BootError(f"QEMU forwards no port to {guest_port}: {usernet.strip()}")
