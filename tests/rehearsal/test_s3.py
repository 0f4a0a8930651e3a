"""The S3 server of a rehearsal leaves no socket, and removes those of a killed one."""

import signal
import subprocess
import sys
from pathlib import Path

from ci.rehearsal.s3 import GRPC_OFFSET, GRPC_SOCKETS, PARTS, running

ROOT = Path(__file__).parents[2]
SERVE = """
import sys
from pathlib import Path
from ci.rehearsal.s3 import running

with running(Path(sys.argv[1])) as store:
    print(store.endpoint, flush=True)
    sys.stdin.read()
"""


def sockets(endpoint: str) -> list[str]:
    """Return the sockets in /tmp of the server at `endpoint`."""
    first = int(endpoint.rpartition(":")[2])
    ports = [port + more for port in range(first, first + len(PARTS)) for more in (0, GRPC_OFFSET)]
    return [
        path.name
        for path in GRPC_SOCKETS.parent.glob(GRPC_SOCKETS.name)
        if int(path.stem.rpartition("-")[2]) in ports
    ]


def test_no_socket_is_left_by_the_server_or_by_a_killed_one(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", SERVE, str(tmp_path / "killed")]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        killed = process.stdout.readline().strip()
        # The parent-death signal ends the server, which cannot remove its sockets then.
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert sockets(killed)
    with running(tmp_path / "next") as store:
        pass
    assert sockets(killed) + sockets(store.endpoint) == []
