"""`verify` as a person types it: one table, one verdict, and nothing unverified is kept."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.attest.conftest import JOB, STEM, Workshop

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="verify")
def _verify(workshop: Workshop, release: Path) -> "Verify":
    del release
    return Verify(workshop)


class Verify:
    """Runs the command in a process of its own."""

    def __init__(self, workshop: Workshop) -> None:
        self.config = workshop.config.file

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m ci verify WORDS` with the workshop's configuration."""
        argv = [sys.executable, "-m", "ci", "verify", *words]
        if "--config" not in words:
            argv += ["--config", str(self.config)]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_folder_verifies_without_a_network(verify: Verify, release: Path) -> None:
    alone = ["unshare", "--net", "--map-root-user", "--user"]
    probe = subprocess.run([*alone, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("this machine gives no namespace without a network")
    argv = [*alone, sys.executable, "-m", "ci", "verify", str(release)]
    done = subprocess.run(
        [*argv, "--config", str(verify.config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{release}: verified," in done.stdout


def test_a_refusal_says_what_was_expected_and_what_it_means(verify: Verify, release: Path) -> None:
    image = release / f"{STEM}.qcow2"
    image.write_bytes(b"QFI\xfb imagE")
    done = verify(str(release))
    assert done.returncode == 1
    assert f"FAILED digest of {image.name}" in done.stdout
    assert "meaning  these are not the bytes that were signed" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith(f"{release}: REFUSED")
    assert "Traceback" not in done.stderr


def test_without_the_configuration_a_rehearsal_is_not_trusted(
    verify: Verify, release: Path
) -> None:
    done = verify(str(release), "--repository", JOB.repository, "--config", "none.toml")
    assert done.returncode == 1
    assert "the trust root" in done.stdout
    assert "trusted_root.json does not know" in done.stdout


def test_the_download_command_keeps_what_it_verified(
    verify: Verify, served: str, release: Path, tmp_path: Path
) -> None:
    save = tmp_path / "kept"
    done = verify(served, "--save", str(save))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name: path.read_bytes() for path in save.iterdir()} == {
        path.name: path.read_bytes() for path in release.iterdir()
    }


def test_the_download_command_keeps_nothing_that_it_refused(
    verify: Verify, served: str, release: Path, tmp_path: Path
) -> None:
    (release / f"{STEM}.qcow2").write_bytes(b"QFI\xfb imagE")
    before = {path.name for path in tmp_path.iterdir()}
    done = verify(served, "--save", str(tmp_path / "kept"))
    assert done.returncode == 1
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_longer_file_than_the_manifest_says_is_not_downloaded_to_its_end(
    verify: Verify, served: str, release: Path
) -> None:
    image = release / f"{STEM}.qcow2"
    image.write_bytes(image.read_bytes() * 2)
    done = verify(served)
    assert done.returncode == 1
    assert f"error: {served}/{image.name}: more than {image.stat().st_size // 2} bytes" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no such thing",), "neither a folder, nor an http(s) URL, nor a tag"),
        (("v1", "--repository", "nobody"), "--repository nobody: expected OWNER/REPO"),
        ((".", "--save", "x"), "the target is a folder already"),
    ],
)
def test_wrong_words_are_one_line(verify: Verify, words: tuple[str, ...], message: str) -> None:
    done = verify(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
