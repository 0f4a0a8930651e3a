"""A command that is killed at ten random moments, each time followed by one plain run."""

import hashlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS = 10
IMPORTS = 0.25
"""Share of a run in which Python is still importing modules: no moment is chosen from it."""
SEED = "SNOWDROP_SEED"
"""Environment variable that repeats the moments of an earlier run."""


@dataclass(frozen=True)
class Case:
    """A command with services of its own."""

    words: Sequence[str]
    environment: Mapping[str, str]
    state: Callable[[], object]
    """Returns what the services have, as JSON; equal after equal runs."""

    def start(self) -> "subprocess.Popen[str]":
        """Start the command."""
        return subprocess.Popen(
            [sys.executable, "-m", "ci", *self.words],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> None:
        """Run the command to its end."""
        with self.start() as process:
            output, _ = process.communicate()
        assert process.returncode == 0, output

    def kill(self, moment: float) -> bool:
        """Kill the command after `moment` seconds; return False when it had ended before."""
        with self.start() as process:
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.returncode == -signal.SIGKILL

    def digest(self) -> str:
        """Return one digest of what the services have."""
        return hashlib.sha256(json.dumps(self.state(), sort_keys=True).encode()).hexdigest()


def ten_kills(case: Callable[[int], AbstractContextManager[Case]]) -> None:
    """Check that ten killed and repeated runs end as an undisturbed one does."""
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"{SEED}={seed}")
    chance = random.Random(seed)  # noqa: S311 - moments of a test
    with case(0) as undisturbed:
        start = time.monotonic()
        undisturbed.run()
        seconds = time.monotonic() - start
        expected = undisturbed.digest()
    killed = 0
    for number in range(1, KILLS + 1):
        with case(number) as disturbed:
            moment = seconds * chance.uniform(IMPORTS, 1)
            killed += disturbed.kill(moment)
            disturbed.run()
            print(f"{number}: killed after {moment:.2f} of {seconds:.2f} s")
            assert disturbed.digest() == expected, f"{number}: {moment:.2f} s"
    print(f"{killed} of {KILLS} runs were killed, all ended with {expected}")
    assert killed > KILLS // 2
