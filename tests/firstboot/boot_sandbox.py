"""Run one boot of the first-boot service in namespaces of its own.

conftest.py starts this program as root under `unshare --net --uts --mount`, so that the host's
network, host name and mounts stay as they are. It reads a request (JSON, see `Droplet.boot`) from
standard input, serves metadata at 169.254.169.254:80, runs the command in the root folder and
writes the fields of `BootResult` as JSON to standard output.
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

ADDRESS = "169.254.169.254"
BASE_PATH = "/metadata/v1/"
IP = ("/bin/busybox", "ip")
ENDLESS_MIB = 64
"""Size of an endless response: far above every limit of the service."""


class Handler(BaseHTTPRequestHandler):
    """Metadata service: each path has a list of responses, of which the last one is repeated."""

    scripted: ClassVar[dict[str, list[dict[str, Any]]]] = {}
    requests: ClassVar[list[str]] = []
    fully_read: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Send the next response of the path: whole, cut short, or endless."""
        name = self.path.removeprefix(BASE_PATH).removeprefix("/metadata/")
        self.requests.append(name)
        remaining = self.scripted.get(name, [{"status": 404}])
        response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        body = response.get("body", "").encode("latin-1")
        self.send_response(response.get("status", 200))
        if not response.get("endless"):
            self.send_header("Content-Length", str(len(body) + response.get("missing", 0)))
        self.end_headers()
        self.wfile.write(body)
        if response.get("endless"):
            for _ in range(ENDLESS_MIB):
                self.wfile.write(bytes(1 << 20))
            self.fully_read.append(name)

    def log_message(self, *_: object) -> None:
        """Log nothing: standard error is the test's failure message."""


class Server(ThreadingHTTPServer):
    """HTTP server that ignores clients which close the connection early."""

    def handle_error(self, *_: object) -> None:
        """Ignore the error: some scenarios make the client hang up."""


def run_in(root: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with `root` as its root folder; return its status and output."""
    return subprocess.run(["chroot", str(root), *words], capture_output=True, check=False)


def add_interfaces(root: Path, interfaces: list[dict[str, str]]) -> None:
    """Create the network interfaces, and the part of /sys that the service reads."""
    for interface in interfaces:
        name, mac, address = interface["name"], interface["mac"], interface.get("address")
        # Whichever the kernel supports; a bridge without members behaves like a network card.
        for kind in ("bridge", "dummy"):
            if run_in(root, *IP, "link", "add", name, "type", kind).returncode == 0:
                break
        run_in(root, *IP, "link", "set", name, "address", mac, "up").check_returncode()
        if address:
            run_in(root, *IP, "address", "add", address, "dev", name).check_returncode()
        folder = root / "sys/class/net" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "address").write_text(f"{mac}\n")
        # A network card has a device, a bridge or a VLAN has none; a port of a bridge has `master`.
        for part in interface.get("parts", "device").split():
            (folder / part).mkdir(exist_ok=True)


def read_ip(root: Path, *words: str) -> list[str]:
    """Return the lines that busybox's `ip` prints."""
    return run_in(root, *IP, *words).stdout.decode().splitlines()


def fill_up(folder: Path) -> None:
    """Mount a tmpfs over `folder` that holds the folder's files and has no free page."""
    files = {path: path.read_bytes() for path in folder.iterdir()}
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={4096 * max(len(files), 1)}", "none", str(folder)],
        check=True,
    )
    for path, content in files.items():
        path.write_bytes(content.ljust(4096, b"\n"))


def main() -> None:
    """Read the request, boot, and write the result."""
    request = json.load(sys.stdin)
    root = Path(request["root"])
    # util-linux's mountpoint looks the root folder up among the mounts.
    subprocess.run(["mount", "--bind", str(root), str(root)], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    for words in (["link", "set", "lo", "up"], ["address", "add", f"{ADDRESS}/32", "dev", "lo"]):
        run_in(root, *IP, *words).check_returncode()
    add_interfaces(root, request["interfaces"])
    run_in(root, "/bin/busybox", "hostname", "as-it-was").check_returncode()
    for folder in request["full"]:
        fill_up(root / folder)
    Handler.scripted = request["responses"]
    server = Server((ADDRESS, 80 if request["listening"] else 81), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = run_in(root, *request["command"])
    result = {
        "status": done.returncode,
        "output": (done.stdout + done.stderr).decode("latin-1"),
        "requests": Handler.requests,
        "fully_read": Handler.fully_read,
        "addresses": [
            " ".join(line.split()[1::2][:2])
            for line in read_ip(root, "-4", "-o", "address", "show")
        ],
        "routes": [line.strip() for line in read_ip(root, "-4", "route", "show")],
        "hostname": run_in(root, "/bin/busybox", "hostname").stdout.decode().strip(),
        # Read here: the kernel unmounts the tmpfs when this process ends.
        "full": {
            str(path.relative_to(root)): path.read_text().rstrip("\n") + "\n"
            for folder in request["full"]
            for path in (root / folder).iterdir()
        },
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
