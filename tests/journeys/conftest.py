"""One rehearsal a test session; everything else looks at what it left."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import skips
from tests.alpine import ALPINE, SMALL

ROOT = Path(__file__).parents[2]
JOURNEYS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a rehearsal, which boots an image, and what needs Alpine's packages."""
    for item in items:
        if JOURNEYS in item.path.parents:
            item.add_marker("qemu")
            if "alpine" in getattr(item, "fixturenames", ()):
                item.add_marker("alpine")


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal said and left behind."""

    told: dict[str, Any]
    printed: str

    @property
    def config(self) -> Path:
        """Its release.toml."""
        return ROOT / str(self.told["config"])

    @property
    def state(self) -> Path:
        """Its folder."""
        return self.config.parent

    @property
    def dist(self) -> Path:
        """Its artifacts."""
        return ROOT / str(self.told["dist"])

    @property
    def download(self) -> Path:
        """What a stranger has."""
        return ROOT / str(self.told["download"])

    @property
    def image(self) -> Path:
        """The downloaded image."""
        (path,) = self.download.glob("*.qcow2")
        return path

    def record(self, kind: str) -> dict[str, Any]:
        """Return the build record or the boot report."""
        (path,) = self.dist.glob(f"*.{kind}.json")
        value: dict[str, Any] = json.loads(path.read_text())
        return value


def ci(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
    """Run `python -m ci WORDS` as a session does."""
    return subprocess.run(
        [sys.executable, "-m", "ci", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def rehearse(folder: Path, *words: str) -> Rehearsal:
    done = ci("rehearse", "--folder", str(folder), "--json", *words)
    if done.returncode != 0:
        pytest.fail(f"the rehearsal ended with {done.returncode}:\n{done.stderr[-6000:]}")
    return Rehearsal(json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="session", name="rehearsal")
def _rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    return rehearse(tmp_path_factory.mktemp("rehearsal") / "state")


@pytest.fixture(scope="session", name="alpine")
def _alpine(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    if not SMALL.is_dir():
        pytest.skip(skips.ALPINE)
    folder = tmp_path_factory.mktemp("alpine") / "state"
    return rehearse(folder, "--repository", str(SMALL), "--keys", str(ALPINE / "keys"))


def succeed(argv: Sequence[object], **options: Any) -> str:  # noqa: ANN401
    """Run a program of the host and return what it wrote; the test fails when it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout
