"""The provenance is in GitHub's attestation store once, and is read back for each file."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from build.errors import PublishError, RemoteError
from ci.commands import publish as command
from ci.publish.attestations import Provenance, missing_subjects
from ci.rehearsal.github import attestations
from ci.rehearsal.github.state import World
from tests.publish.conftest import Outcome
from tests.publish.faults import STORE, Run
from tests.publish.release import IMAGE, REPOSITORY, VERSION, write_config, write_release

BUNDLE = {"dsseEnvelope": {"payload": "e30=", "signatures": [{"sig": "c2ln", "keyid": ""}]}}
REWRITTEN = {"dsseEnvelope": {"signatures": [{"sig": "c2ln"}], "payload": "e30="}, "index": "0"}
OTHER = {"dsseEnvelope": {"payload": "e30=", "signatures": [{"sig": "b3RoZXI="}]}}
PROVENANCE = Provenance(bundle=BUNDLE, subjects=("a", "b"))


@pytest.mark.parametrize(
    ("stored", "missing"),
    [
        pytest.param({}, ("a", "b"), id="nothing"),
        pytest.param({"a": [BUNDLE], "b": [BUNDLE]}, (), id="stored"),
        pytest.param({"a": [REWRITTEN], "b": [REWRITTEN]}, (), id="written anew by the store"),
        pytest.param({"a": [OTHER, BUNDLE], "b": [BUNDLE]}, (), id="beside another"),
        pytest.param({"a": [OTHER], "b": [OTHER]}, ("a", "b"), id="another signature"),
        pytest.param({"a": [BUNDLE], "b": []}, ("b",), id="for one file"),
        pytest.param({"a": [None], "b": ["text"]}, ("a", "b"), id="no bundle"),
    ],
)
def test_only_what_is_not_there_is_stored(
    stored: dict[str, list[object]], missing: tuple[str, ...]
) -> None:
    assert missing_subjects(PROVENANCE, stored) == missing


@pytest.fixture(name="run")
def _run(tmp_path: Path, api: str, world: World) -> Run:
    write_release(tmp_path)
    return Run(tmp_path, api, world)


def test_anybody_finds_the_bundle_by_a_file(run: Run) -> None:
    assert run.publish().attestation == "stored"
    sha256 = run.digests()[IMAGE]
    address = f"{run.api}/repos/{REPOSITORY}/attestations/sha256:{sha256}"
    (found,) = requests.get(address, timeout=5).json()["attestations"]
    assert found["bundle"] == json.loads((run.dist / "provenance.sigstore.json").read_bytes())
    lock = run.digests()["release.lock"]
    assert requests.get(address.replace(sha256, lock), timeout=5).status_code == 200
    assert requests.get(address.replace(sha256, "0" * 64), timeout=5).status_code == 404
    assert run.publish().attestation == "kept"
    assert len(run.world.attestations) == 1


def test_a_release_published_without_it_gets_it_later(run: Run) -> None:
    run.publish()
    run.world.attestations.clear()
    again = run.publish()
    assert (again.before, again.attestation) == (True, "stored")


def test_a_store_that_returns_another_bundle_stops_the_publication(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = attestations.stored_attestation

    def spoilt(number: int, bundle: dict[str, object]) -> object:
        found = honest(number, bundle)
        found.bundle["dsseEnvelope"] = {"payload": base64.b64encode(b"{}").decode()}
        return found

    monkeypatch.setattr(attestations, "stored_attestation", spoilt)
    with pytest.raises(PublishError, match="attestation store does not return it"):
        run.publish()
    assert run.release().draft
    monkeypatch.undo()
    run.publish()
    assert not run.release().draft


def test_a_private_repository_has_no_store(run: Run, call: Callable[..., Outcome]) -> None:
    run.world.settings.private = True
    token = {"GITHUB_TOKEN": "no-secret"}
    outcome = call(command, write_config(run.folder, api=run.api), environment=token)
    assert outcome.status == 0
    assert "attestation" not in outcome.text
    assert any("public repositories alone" in note for note in outcome.progress.notes)
    assert run.world.attestations == []
    assert not run.release().draft


def test_a_token_without_the_permission_is_told_which(run: Run) -> None:
    run.world.refused = {STORE}
    with pytest.raises(RemoteError, match="403") as refused:
        run.publish()
    assert "`attestations: write`" in refused.value.hint
    run.world.refused = set()
    run.publish()
    run.check_complete()


@pytest.mark.parametrize("number", ["", "-rc1"])
def test_only_a_tag_with_a_suffix_is_a_prerelease(number: str, run: Run) -> None:
    for path in run.dist.iterdir():
        path.unlink()
    write_release(run.folder, version=f"{VERSION}{number}")
    run.publish()
    assert run.release().prerelease == bool(number)
    latest = requests.get(f"{run.api}/repos/{REPOSITORY}/releases/latest", timeout=5)
    assert latest.status_code == (404 if number else 200)
