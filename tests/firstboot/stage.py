"""A machine's first boot without a machine: the real script, in a network of its own.

Started by conftest.py as root, under `unshare --net --uts --mount`: nothing here reaches the
host's network, name or files. Reads a play (JSON) from standard input, answers at
169.254.169.254:80 as the play says, runs the script in the root, and writes what was seen.
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

ADDRESS = "169.254.169.254"
ROOT = "/metadata/v1/"
IP = ("/bin/busybox", "ip")
ENDLESS_MIB = 64
"""Who takes so much of an answer would take everything."""


class Handler(BaseHTTPRequestHandler):
    """Each path has a list of answers; the last one is given for ever."""

    answers: ClassVar[dict[str, list[dict[str, Any]]]] = {}
    requests: ClassVar[list[str]] = []
    listened: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer as the play says: whole, cut short, or without an end."""
        name = self.path.removeprefix(ROOT).removeprefix("/metadata/")
        self.requests.append(name)
        left = self.answers.get(name, [{"status": 404}])
        answer = left.pop(0) if len(left) > 1 else left[0]
        body = answer.get("body", "").encode("latin-1")
        self.send_response(answer.get("status", 200))
        if not answer.get("endless"):
            self.send_header("Content-Length", str(len(body) + answer.get("missing", 0)))
        self.end_headers()
        self.wfile.write(body)
        if answer.get("endless"):
            for _ in range(ENDLESS_MIB):
                self.wfile.write(bytes(1 << 20))
            self.listened.append(name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Clients that hang up are part of the play."""

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


def inside(root: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Return what a program wrote that was run with `root` as its root folder."""
    return subprocess.run(["chroot", str(root), *words], capture_output=True, check=False)


def plug(root: Path, cards: list[dict[str, str]]) -> None:
    """Give the machine its network cards; a bridge without members is one as good as any."""
    for card in cards:
        name, mac, address = card["name"], card["mac"], card.get("address")
        for kind in ("bridge", "dummy"):
            if inside(root, *IP, "link", "add", name, "type", kind).returncode == 0:
                break
        inside(root, *IP, "link", "set", name, "address", mac, "up").check_returncode()
        if address:
            inside(root, *IP, "address", "add", address, "dev", name).check_returncode()
        place = root / "sys/class/net" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "address").write_text(f"{mac}\n")


def lines(root: Path, *words: str) -> list[str]:
    """Return what busybox's ip shows, a line each."""
    return inside(root, *IP, *words).stdout.decode().splitlines()


def fill(folder: Path) -> None:
    """Put a file system over `folder` that holds what was there and not a byte more."""
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={4096 * max(len(kept), 1)}", "none", str(folder)],
        check=True,
    )
    for path, content in kept.items():
        path.write_bytes(content.ljust(4096, b"\n"))


def main() -> None:
    """Run the play."""
    play = json.load(sys.stdin)
    root = Path(play["root"])
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    for words in (["link", "set", "lo", "up"], ["address", "add", f"{ADDRESS}/32", "dev", "lo"]):
        inside(root, *IP, *words).check_returncode()
    plug(root, play["cards"])
    inside(root, "/bin/busybox", "hostname", "as-it-was").check_returncode()
    for folder in play["full"]:
        fill(root / folder)
    Handler.answers = play["answers"]
    server = Server((ADDRESS, 80 if play["listening"] else 81), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = inside(root, *play["command"])
    seen = {
        "status": done.returncode,
        "output": (done.stdout + done.stderr).decode("latin-1"),
        "requests": Handler.requests,
        "listened": Handler.listened,
        "addresses": [
            " ".join(line.split()[1::2][:2]) for line in lines(root, "-4", "-o", "address", "show")
        ],
        "routes": [line.strip() for line in lines(root, "-4", "route", "show")],
        "hostname": inside(root, "/bin/busybox", "hostname").stdout.decode().strip(),
        # The file systems that were put over folders end with this process.
        "full": {
            str(path.relative_to(root)): path.read_text().rstrip("\n") + "\n"
            for folder in play["full"]
            for path in (root / folder).iterdir()
        },
    }
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
