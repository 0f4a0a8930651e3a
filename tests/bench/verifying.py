"""What it costs to verify a release, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.verify.stage import REPOSITORY, make_stage

PADDING = 100 * 1024 * 1024
"""Bytes of each image; the release has two."""
ROUNDS = 5
ASK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Prints the most memory of a command, in kB."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a verification."""

    options: str
    seconds: float
    memory: int
    """In MB."""


def seconds_and_memory(folder: Path) -> tuple[float, list[Cost]]:
    """Return seconds of `sha256sum` over the files of a release, and what `verify` costs."""
    stage = make_stage(folder, os.environ.update, padding=PADDING)
    words = ["verify", str(stage.new), "--repository", REPOSITORY, "--offline"]
    words += ["--trust-root", str(stage.trust_root), "--keys", str(stage.keys)]
    floor = best(["sha256sum", *(str(path) for path in sorted(stage.new.iterdir()))])
    costs = []
    for options in ([], ["--deep"]):
        ours = [sys.executable, "-m", "ci", *words, *options]
        seconds = best(ours)
        # Asked by a small process: a child begins with its parent's size, and ours has signed.
        asked = subprocess.run([sys.executable, "-c", ASK, *ours], capture_output=True, check=True)
        costs.append(Cost(" ".join(options), seconds, int(asked.stdout) // 1024))
    for mint in (stage.mint, stage.foreign):
        mint.log.close()
    return floor, costs


def best(argv: Sequence[str]) -> float:
    """Return the shortest time that a program took, in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return min(times)
