"""A release is believed only when every file, signature and statement is what it must be."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.attest.manifest import PROVENANCE_BUNDLE
from ci.rehearsal.sigstore import oidc
from ci.rehearsal.sigstore.server import Running, Sigstore
from ci.verify.bundles import PUBLIC_ROOT, Trust
from ci.verify.checks import Findings
from ci.verify.release import verify_folder
from tests.attest.conftest import JOB, STEM, Workshop
from tests.verify.conftest import LOOK_AT, sign

IMAGE = f"{STEM}.qcow2"
Look = Callable[..., Findings]


def failed_names(findings: Findings) -> list[str]:
    assert not findings.passed
    return [check.name for check in findings.failed]


def test_a_good_release_passes_every_check(look: Look) -> None:
    findings = look()
    assert findings.failed == ()
    assert findings.passed
    names = [check.name for check in findings.checks]
    for expected in ("trust root", "runner", "source ref", "provenance", f"boot report of {IMAGE}"):
        assert expected in names


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(folder: Path, one: str, other: str) -> None:
    shutil.copyfile(folder / other, folder / one)


@pytest.mark.parametrize(
    ("tamper", "check", "found"),
    [
        pytest.param(
            lambda folder: flip(folder / IMAGE),
            f"digest of {IMAGE}",
            f"{IMAGE}: sha256 ",
            id="one byte of the image changed",
        ),
        pytest.param(
            lambda folder: (folder / IMAGE).write_bytes((folder / IMAGE).read_bytes()[:-1]),
            f"digest of {IMAGE}",
            "bytes, expected",
            id="the image is cut short",
        ),
        pytest.param(
            lambda folder: (folder / IMAGE).unlink(),
            f"digest of {IMAGE}",
            "no such file",
            id="the image is missing",
        ),
        pytest.param(
            lambda folder: (folder / "SHA256SUMS").write_text(
                (folder / "SHA256SUMS").read_text().replace("0", "1", 1)
            ),
            "signature of SHA256SUMS",
            "SHA256SUMS.sigstore.json: ",
            id="the list of checksums changed",
        ),
        pytest.param(
            lambda folder: (folder / "release.json").write_text(
                (folder / "release.json").read_text().replace('"epoch": 1', '"epoch": 2')
            ),
            "SHA256SUMS",
            "release.json: sha256 ",
            id="the manifest changed",
        ),
        pytest.param(
            lambda folder: swap(folder, f"{IMAGE}.sigstore.json", "release.lock.sigstore.json"),
            "signature of each file",
            f"{IMAGE}.sigstore.json: ",
            id="the bundle of another artifact",
        ),
        pytest.param(
            lambda folder: (folder / "release.lock.sigstore.json").unlink(),
            "signature of each file",
            "release.lock.sigstore.json: no such file",
            id="a bundle is missing",
        ),
        pytest.param(
            lambda folder: swap(folder, PROVENANCE_BUNDLE, f"{STEM}.build.sigstore.json"),
            "provenance",
            "predicate of type",
            id="another statement in the place of the provenance",
        ),
        pytest.param(
            lambda folder: swap(folder, f"{STEM}.boot.sigstore.json", PROVENANCE_BUNDLE),
            f"boot report of {IMAGE}",
            "predicate of type",
            id="another statement in the place of the boot report",
        ),
        pytest.param(
            lambda folder: (folder / "SHA256SUMS.sigstore.json").write_text("{}"),
            "trust root",
            "no sigstore bundle",
            id="a bundle that is none",
        ),
    ],
)
def test_what_was_changed_afterwards_is_named(
    look: Look, release: Path, tamper: Callable[[Path], object], check: str, found: str
) -> None:
    assert look().passed
    tamper(release)
    findings = look()
    assert check in failed_names(findings)
    assert found in next(row.found for row in findings.failed if row.name == check)
    assert all(row.meaning for row in findings.failed)


def test_a_statement_about_other_files_is_no_provenance(
    look: Look, release: Path, workshop: Workshop, tmp_path: Path
) -> None:
    """The same identity signed both; sigstore alone accepts either."""
    older = (release / PROVENANCE_BUNDLE).read_bytes()
    for path in (workshop.record, workshop.report):
        (tmp_path / path.name).rename(path)
    package = release / "snowdrop-init-1.0-r0.apk"
    package.write_bytes(b"package, but newer")
    record = json.loads(workshop.record.read_text())
    workshop.change(workshop.record, packages=[{**record["packages"][0], **_described(package)}])
    sign(workshop)
    assert look().passed
    (release / PROVENANCE_BUNDLE).write_bytes(older)
    assert failed_names(look()) == ["provenance"]
    assert "snowdrop-init-1.0-r0.apk" in look().failed[0].found


def _described(path: Path) -> dict[str, object]:
    from tests.attest.conftest import described

    return described(path)


def test_another_repository_is_not_the_one_that_was_asked_for(look: Look) -> None:
    findings = look(dataclasses.replace(LOOK_AT, repository="mallory/snowdrop"))
    assert {"signer", "source repository", "repository in release.json"} <= {
        *failed_names(findings)
    }


def test_another_release_is_not_the_one_that_was_asked_for(look: Look) -> None:
    names = failed_names(look(dataclasses.replace(LOOK_AT, tag="v3.24.20270101")))
    assert {"source ref", "tag in release.json"} <= {*names}


@pytest.mark.parametrize(
    ("claims", "check"),
    [
        ({"runner_environment": "self-hosted"}, "runner"),
        ({"event_name": "workflow_dispatch"}, "trigger"),
        ({"workflow_ref": JOB.workflow("evil.yml")}, "calling workflow"),
        ({"job_workflow_ref": JOB.workflow("evil.yml")}, "build workflow"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_signature_from_elsewhere_is_refused(
    workshop: Workshop,
    sigstore: Running,
    trust: Trust,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, str],
    check: str,
) -> None:
    del sigstore
    honest: Callable[..., dict[str, Any]] = oidc.claims_of
    monkeypatch.setattr(oidc, "claims_of", lambda *words: {**honest(*words), **claims})
    findings = verify_folder(sign(workshop), trust, LOOK_AT)
    assert check in failed_names(findings)


def test_a_copy_signed_again_by_another_sigstore_is_refused(
    workshop: Workshop, release: Path, trust: Trust, tmp_path: Path, enter: Callable[..., None]
) -> None:
    for path in (workshop.record, workshop.report):
        (tmp_path / path.name).rename(path)
    shutil.move(tmp_path / "sigstore", tmp_path / "first")
    with Sigstore.open(tmp_path / "sigstore", JOB).serve() as other:
        enter(other.environment)
        sign(workshop)
        assert verify_folder(release, Trust(other.trusted_root), LOOK_AT).passed
    findings = verify_folder(release, trust, LOOK_AT)
    assert failed_names(findings) == ["trust root"]


def test_the_public_root_does_not_know_a_rehearsal(release: Path) -> None:
    findings = verify_folder(release, Trust(PUBLIC_ROOT), LOOK_AT)
    assert failed_names(findings) == ["trust root"]
    assert f"the trust root {PUBLIC_ROOT} does not know" in findings.failed[0].found


def test_a_stranger_file_is_told_and_harms_nothing(look: Look, release: Path) -> None:
    (release / "README.txt").write_text("hello")
    findings = look()
    assert findings.passed
    assert findings.notes == ["not part of the release, not looked at: README.txt"]
