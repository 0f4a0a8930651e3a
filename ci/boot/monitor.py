"""Output of a running QEMU: the machine's serial line, and QMP.

QMP sends commands, replies and events as JSON lines (QEMU, docs/interop/qmp-spec).
"""

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from build.errors import BootError

ESCAPE = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[^\[])")
"""Terminal control sequences (ECMA-48) as GRUB, SeaBIOS and OpenRC write them."""
MAX_LINES = 2000
MAX_LINE = 4096
"""Characters; a machine that writes one endless line must not fill the memory."""
FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\s")
"""Line of `info usernet`: address and port of the host, then of the guest."""


def strip_controls(raw: bytes) -> str:
    r"""Return a line without terminal sequences and other control characters.

    >>> strip_controls(b"\x1b[32m * \x1b[0mStarting sshd ...\r")
    ' * Starting sshd ...'
    """
    text = ESCAPE.sub("", raw.decode(errors="backslashreplace"))
    return "".join(letter for letter in text if letter >= " " or letter == "\t").rstrip()


class SerialLog:
    """Reader of an unbuffered stream, in its own thread; writes each line to a file at once."""

    def __init__(
        self,
        stream: IO[bytes],
        file: Path,
        *,
        start: float,
        watch: Mapping[str, re.Pattern[str]],
    ) -> None:
        self.file = file
        self.matched: dict[str, float] = {}
        """Seconds from `start` to the first line that matches, by name of the pattern."""
        self._stream, self._start, self._watch = stream, start, watch
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._pending = b""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="serial", daemon=True)
        self._thread.start()

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that are not empty, including the unfinished one."""
        with self._lock:
            lines = [*self._lines, strip_controls(self._pending)]
        return [line for line in lines if line][-count:]

    def close(self, seconds: float) -> None:
        """Wait at most `seconds` until all output is in the file; close the stream."""
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._stream.close()

    def _read(self) -> None:
        with self.file.open("w", encoding="utf-8") as log:
            # The stream is unbuffered: a read returns the available bytes, not 64 KiB.
            while piece := self._stream.read(65536):
                *lines, rest = (self._pending + piece).split(b"\n")
                self._store(lines, rest[-MAX_LINE:], log)
            self._store([self._pending], b"", log)

    def _store(self, raw_lines: Sequence[bytes], pending: bytes, log: IO[str]) -> None:
        seconds, lines = time.monotonic() - self._start, [strip_controls(raw) for raw in raw_lines]
        for line in lines:
            for name, pattern in self._watch.items():
                if pattern.search(line):
                    self.matched.setdefault(name, seconds)
            log.write(f"{seconds:9.3f}  {line}\n")
        log.flush()
        with self._lock:
            self._lines.extend(lines)
            self._pending = pending


class Qmp:
    """QMP connection to a running QEMU."""

    def __init__(self, link: socket.socket, replies: IO[bytes]) -> None:
        """Read the greeting; `replies` is `link` as a file.

        Raises:
            BootError: QEMU does not reply, or exits.
        """
        self.events: list[dict[str, Any]] = []
        self._link, self._replies = link, replies
        greeting = self._message()
        version = greeting["QMP"]["version"]["qemu"]
        self.version = "{major}.{minor}.{micro}".format(**version)
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> object:
        """Return QEMU's reply to `command`.

        Raises:
            BootError: QEMU refuses, does not reply, or exits.
        """
        request = {"execute": command, "arguments": arguments}
        try:
            self._link.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise BootError(f"QEMU: {command}: {error}") from None
        while True:
            message = self._message()
            if "error" in message:
                raise BootError(f"QEMU: {command}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]

    def monitor(self, command: str) -> str:
        """Return the output of a command of QEMU's text monitor, where QMP has none."""
        return str(self.execute("human-monitor-command", **{"command-line": command}))

    def shutdown_reason(self) -> str:
        """Return why the machine ended: `guest-shutdown`, `guest-reset`, ..."""
        try:
            while True:
                self._message()
        except BootError:
            pass
        reasons = [event["data"]["reason"] for event in self.events if event["event"] == "SHUTDOWN"]
        return str(reasons[-1]) if reasons else "unknown"

    def _message(self) -> dict[str, Any]:
        """Return the next message that is no event; keep the events before it."""
        while True:
            try:
                line = self._replies.readline()
            except OSError as error:
                raise BootError(f"QEMU does not reply: {error}") from None
            if not line.endswith(b"\n"):
                raise BootError("QEMU has ended")
            message: dict[str, Any] = json.loads(line)
            if "event" not in message:
                return message
            self.events.append(message)


def ssh_port(usernet: str) -> int:
    r"""Return the local port that is forwarded to port 22, from the text of `info usernet`.

    >>> ssh_port("  TCP[HOST_FORWARD]  12  127.0.0.1 40213  165.22.10.5  22  0  0\n")
    40213

    Raises:
        BootError: there is none.
    """
    if found := FORWARD.search(usernet):
        return int(found[1])
    raise BootError(f"QEMU forwards no port to ssh: {usernet.strip()}")
