"""The client of an engine, interrupted while it starts."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INTERRUPTED = """
import sys, threading
from pathlib import Path
from build.edges.container.job import Job
from build.edges.container.stream import stream
from build.edges.process import PLAIN

started = threading.Timer.start

def start(timer):
    started(timer)
    raise KeyboardInterrupt

threading.Timer.start = start
try:
    stream(["sleep", "1000"], PLAIN, Job(root=Path(), argv=[]))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_while_the_client_starts_ends_the_process() -> None:
    argv = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(argv, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 130
