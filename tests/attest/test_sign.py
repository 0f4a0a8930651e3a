"""A signed release is complete: every file has a valid bundle, or nothing changed."""

import argparse
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.common.v1 import HashAlgorithm

from build.edges.progress import Silent
from build.errors import ConfigError, PublishError, RemoteError, VerificationError
from build.snapshot.archive import write_archive
from build.snapshot.lock import write_lock
from build.snapshot.store import Store
from ci.attest import sigstore_client as signing
from ci.attest.statements import (
    BOOT_REPORT_TYPE,
    PROVENANCE_TYPE,
    SBOM_TYPE,
    build_record_type,
    snapshot_type,
)
from ci.commands import sign as command
from ci.publish.release_files import read_release
from ci.rehearsal.sigstore.server import Running, Sigstore
from ci.release.checksums import parse_checksums
from ci.release.manifest import (
    DIFFERENCE_BUNDLE,
    MANIFEST,
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    bundle_name,
    parse_manifest,
)
from ci.report.console import Console
from tests.apk.makers import key
from tests.attest.conftest import JOB, LOCK, STEM, VERSION, Workspace, git, make_workspace
from tests.attest.documents import POLICY, RELEASE, SCHEMAS, schema_errors, statement_in


def test_every_file_and_statement_verifies_and_there_are_no_others(
    workspace: Workspace, sigstore: Running
) -> None:
    signed = workspace.sign()
    dist, manifest = (
        workspace.dist,
        parse_manifest((workspace.dist / "release.json").read_bytes()),
    )
    assert manifest == signed.manifest
    assert {path.name for path in dist.iterdir()} == {
        *manifest.signed_files,
        *manifest.bundles,
        workspace.record.name,
        workspace.report.name,
    }
    assert (dist / "release.lock").read_bytes() == workspace.config.build.lock.read_bytes()
    sums = parse_checksums((dist / "SHA256SUMS").read_bytes())
    assert sums == {name: sha for name, sha in signed.sums.items() if name != "SHA256SUMS"}
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(sigstore.trusted_root)))
    for name, sha256 in signed.sums.items():
        bundle = Bundle.from_json((dist / f"{name}.sigstore.json").read_bytes())
        verifier.verify_artifact((dist / name).read_bytes(), bundle, POLICY)
        digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
        verifier.verify_artifact(digest, bundle, POLICY)


def test_the_provenance_covers_all_files_and_agrees_with_the_certificate(
    workspace: Workspace, sigstore: Running
) -> None:
    signed = workspace.sign()
    statement = statement_in(workspace.dist / PROVENANCE_BUNDLE, sigstore.trusted_root)
    subjects = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    assert subjects == signed.sums
    run = statement["predicate"]["runDetails"]
    bundle = Bundle.from_json((workspace.dist / PROVENANCE_BUNDLE).read_bytes())
    names = bundle.signing_certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [run["builder"]["id"]]
    invocation = policy.OIDCRunInvocationURI(run["metadata"]["invocationId"])
    invocation.verify(bundle.signing_certificate)
    locked = {package.sha256 for package in LOCK.packages}
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert locked <= {item["digest"].get("sha256") for item in dependencies}


def test_each_image_has_statements_of_record_boot_and_sbom(
    workspace: Workspace, sigstore: Running
) -> None:
    signed = workspace.sign()
    name = workspace.image.name
    subject = [{"name": name, "digest": {"sha256": signed.sums[name]}}]
    sbom = json.loads((workspace.dist / f"{STEM}.cdx.json").read_text())
    for kind, predicate_type, predicate in (
        ("build", build_record_type(JOB.repository), json.loads(workspace.record.read_text())),
        ("sbom", SBOM_TYPE, sbom),
        ("boot", BOOT_REPORT_TYPE, None),
    ):
        bundle = workspace.dist / f"{STEM}.{kind}.sigstore.json"
        statement = statement_in(bundle, sigstore.trusted_root)
        assert (statement["predicateType"], statement["subject"]) == (predicate_type, subject)
        assert predicate is None or statement["predicate"] == predicate
    result = statement["predicate"]
    assert (result["result"], result["passedTests"]) == ("PASSED", ["login"])
    assert result["snowdrop_report"] == json.loads(workspace.report.read_text())


def test_every_document_follows_its_published_schema(
    workspace: Workspace, sigstore: Running
) -> None:
    manifest = workspace.sign().manifest
    assert schema_errors(json.loads((workspace.dist / "release.json").read_text()), RELEASE) == []
    forms = {PROVENANCE_TYPE: "provenance", BOOT_REPORT_TYPE: "test-result"}
    seen = set()
    for name in set(manifest.bundles) - {bundle_name(file) for file in manifest.signed_files}:
        statement = statement_in(workspace.dist / name, sigstore.trusted_root)
        assert schema_errors(statement, SCHEMAS / "statement.schema.json") == [], name
        seen.add(statement["predicateType"])
        if form := forms.get(statement["predicateType"]):
            schema = SCHEMAS / f"{form}.schema.json"
            assert schema_errors(statement["predicate"], schema) == [], name
            del statement["predicate"][sorted(statement["predicate"])[0]]
            assert schema_errors(statement["predicate"], schema), name
        if statement["predicateType"] == SBOM_TYPE:
            validator = JsonStrictValidator(SchemaVersion.V1_6)
            assert validator.validate_str(json.dumps(statement["predicate"])) is None
    assert seen == {
        *forms,
        SBOM_TYPE,
        build_record_type(JOB.repository),
        snapshot_type(JOB.repository),
    }


def test_the_snapshot_names_each_index_with_the_key_that_signed_it(
    workspace: Workspace, sigstore: Running
) -> None:
    signed = workspace.sign()
    statement = statement_in(workspace.dist / SNAPSHOT_BUNDLE, sigstore.trusted_root)
    name = workspace.archive.name
    assert statement["subject"] == [{"name": name, "digest": {"sha256": signed.sums[name]}}]
    predicate, (repository,) = statement["predicate"], LOCK.repositories
    assert predicate["lock"] == {"id": LOCK.id}
    (index,) = predicate["repositories"]
    assert index["index"]["sha256"] == repository.index_sha256
    assert index["key"] == {"name": repository.key, "sha256": repository.key_sha256}
    assert (index["packages"], predicate["closures"]) == (4, {"apk": 1, "builder": 1, "droplet": 2})


def test_a_snapshot_that_the_trusted_keys_did_not_sign_is_refused(
    workspace: Workspace, sigstore: Running
) -> None:
    del sigstore
    (trusted,) = (workspace.root / "keys").iterdir()
    trusted.write_bytes(key("other").public_pem())
    with pytest.raises(VerificationError, match=r"APKINDEX\.tar\.gz: .*tests\.rsa\.pub"):
        workspace.sign()


def test_after_an_interruption_there_is_no_release_and_a_second_run_completes_it(
    workspace: Workspace, sigstore: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    del sigstore
    before = workspace.sign()
    moved: list[Path] = []
    move = Path.replace

    def stop_half_way(path: Path, target: Path) -> Path:
        if target.parent != workspace.dist:
            return move(path, target)  # the log of the local sigstore renames its own files
        if len(moved) == 10:
            raise KeyboardInterrupt
        moved.append(target)
        return move(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop_half_way)
        with pytest.raises(KeyboardInterrupt):
            workspace.sign()
    assert not (workspace.dist / ".signing").exists()
    with pytest.raises(PublishError, match=r"sigstore\.json: no such file"):
        read_release(workspace.config, Silent())
    assert workspace.sign() == before
    assert read_release(workspace.config, Silent()).manifest == before.manifest


OLDER = replace(LOCK, packages=LOCK.packages[:-1], epoch=LOCK.epoch - 86_400)
"""The lock of the tag FORMER."""
WITHOUT_LOCK, FORMER, FAILED = "v3.24.20261121", "v3.24.20261122", "v3.24.20261122.1"
LATER = "v3.24.20261124"


@pytest.fixture(name="history")
def _history(workspace: Workspace, enter: Callable[[Mapping[str, str]], None]) -> Iterator[Running]:
    """Give tags before and after this release, and the sigstore of its commit.

    FAILED has the lock of this release, as a tag whose workflow failed.
    """
    git(workspace.root, "tag", WITHOUT_LOCK)
    write_lock(workspace.config.build.lock, OLDER)
    git(workspace.root, "add", "release.lock")
    git(workspace.root, "commit", "-qm", "The previous release")
    git(workspace.root, "tag", FORMER)
    write_lock(workspace.config.build.lock, LOCK)
    git(workspace.root, "commit", "-qam", "It failed")
    git(workspace.root, "tag", FAILED)
    git(workspace.root, "commit", "-qm", "This release", "--allow-empty")
    git(workspace.root, "tag", VERSION)
    commit = git(workspace.root, "rev-parse", "HEAD")
    git(workspace.root, "commit", "-qm", "A later one", "--allow-empty")
    git(workspace.root, "tag", LATER)
    workspace.change(workspace.record, source={"commit": commit, "dirty": False})
    instance = Sigstore.open(workspace.root / "sigstore", replace(JOB, commit=commit))
    with instance.serve() as running:
        enter(running.environment)
        yield running


def test_the_previous_release_is_compared_package_by_package(
    workspace: Workspace, history: Running
) -> None:
    signed = workspace.sign(previous=FORMER)
    assert signed.manifest.previous == FORMER
    statement = statement_in(workspace.dist / DIFFERENCE_BUNDLE, history.trusted_root)
    assert statement["subject"] == [{"name": "release.lock", "digest": {"sha256": LOCK.id}}]
    predicate = statement["predicate"]
    assert predicate["old"] == {"name": FORMER, "lock": OLDER.id}
    (change,) = predicate["closures"]["builder"]["changes"]
    assert (change["kind"], change["name"]) == ("added", "python3")


def test_without_a_name_the_newest_tag_counts_as_the_previous_release(
    workspace: Workspace, history: Running
) -> None:
    assert workspace.sign().manifest.previous == FAILED
    statement = statement_in(workspace.dist / DIFFERENCE_BUNDLE, history.trusted_root)
    assert statement["predicate"]["different"] is False


@pytest.mark.usefixtures("history")
def test_without_a_previous_release_nothing_is_compared(workspace: Workspace) -> None:
    assert workspace.sign(previous="").manifest.previous is None
    assert not (workspace.dist / DIFFERENCE_BUNDLE).exists()


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (VERSION, f"previous release {VERSION}: no tag of a release"),
        (LATER, f"previous release {LATER}: no tag of a release"),
        ("HEAD^", r"previous release HEAD\^: no tag of a release"),
        (WITHOUT_LOCK, f"previous release {WITHOUT_LOCK}: has no release.lock"),
    ],
)
def test_what_is_no_earlier_release_is_refused(
    workspace: Workspace, tag: str, message: str
) -> None:
    before = workspace.snapshot()
    with pytest.raises(ConfigError, match=message) as refused:
        workspace.sign(previous=tag)
    assert refused.value.hint
    assert workspace.snapshot() == before


@pytest.mark.usefixtures("history")
def test_in_a_shallow_checkout_a_named_release_is_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    """It would be compared with nothing, though the caller knows a release before it."""
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{workspace.root}", str(shallow))
    workspace = replace(workspace, root=shallow)
    with pytest.raises(ConfigError, match=f"previous release {FORMER}: a shallow") as refused:
        workspace.sign(previous=FORMER)
    assert "--unshallow" in refused.value.hint


def test_signing_again_gives_the_same_files_with_new_bundles(
    workspace: Workspace, sigstore: Running
) -> None:
    signed = workspace.sign()
    before = workspace.snapshot()
    (workspace.dist / "left-over.qcow2.sigstore.json").write_text("{}")
    assert workspace.sign() == signed
    after = workspace.snapshot()
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == set(signed.manifest.bundles)


def test_two_machines_differ_only_in_the_run(
    tmp_path: Path, enter: Callable[[Mapping[str, str]], None]
) -> None:
    written, provenances = [], []
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        workspace = make_workspace(tmp_path / number)
        job = replace(JOB, run_id=number)
        with Sigstore.open(workspace.root / "sigstore", job).serve() as running:
            enter(running.environment)
            workspace.sign()
        written.append(
            {name: raw for name, raw in workspace.snapshot().items() if "sigstore" not in name}
        )
        statement = statement_in(workspace.dist / PROVENANCE_BUNDLE, running.trusted_root)
        run = statement["predicate"]["runDetails"].pop("metadata")
        assert run["invocationId"].endswith(f"/actions/runs/{number}/attempts/1")
        provenances.append(statement)
    assert written[0] == written[1]
    assert {"release.json", "SHA256SUMS", f"{STEM}.cdx.json"} <= written[0].keys()
    assert provenances[0] == provenances[1]


@pytest.mark.usefixtures("sigstore")
@pytest.mark.parametrize(
    ("damage", "message", "hint"),
    [
        pytest.param(
            lambda workspace: workspace.image.write_bytes(b"QFI\xfb imagf"),
            f"^{STEM}.qcow2: 10 bytes with sha256 .* the build record has 10",
            "nox -s build",
            id="image changed",
        ),
        pytest.param(
            lambda workspace: (workspace.dist / "snowdrop-init-1.0-r0.apk").write_bytes(b"packag"),
            "^snowdrop-init-1.0-r0.apk: 6 bytes",
            "nox -s build",
            id="package changed",
        ),
        pytest.param(
            lambda workspace: workspace.image.unlink(),
            "qcow2: no such file",
            "",
            id="image missing",
        ),
        pytest.param(
            lambda workspace: workspace.report.unlink(),
            "no such boot report",
            "nox -s boot",
            id="not booted",
        ),
        pytest.param(
            lambda workspace: workspace.change(workspace.report, passed=False),
            "the boot failed",
            "nox -s boot",
            id="boot failed",
        ),
        pytest.param(
            lambda workspace: workspace.change(workspace.report, image={"sha256": "0" * 64}),
            "describes the image with sha256 0000",
            "nox -s boot",
            id="another image booted",
        ),
        pytest.param(
            lambda workspace: workspace.change(workspace.inventory, image={"sha256": "0" * 64}),
            "image.json: describes the image with sha256 0000",
            "remove it, or write it again with `nox -s inspect",
            id="another image inspected",
        ),
        pytest.param(
            lambda workspace: workspace.change(workspace.record, lock={"id": "0" * 64}),
            "^release.lock: sha256 .*, the images were built from 0000",
            "nox -s build",
            id="another lock",
        ),
        pytest.param(
            lambda workspace: workspace.archive.unlink(),
            f"^snowdrop-{VERSION}-snapshot.tar: no such snapshot archive",
            "nox -s archive",
            id="no archive",
        ),
        pytest.param(
            lambda workspace: workspace.archive.write_bytes(
                workspace.archive.read_bytes().replace(b"= libstdc++\n", b"= libstdc--\n")
            ),
            "image/0/x86_64/libstdc.*.apk: sha256 .* its lock says",
            "",
            id="archive changed",
        ),
        pytest.param(
            lambda workspace: write_archive(
                workspace.archive,
                replace(LOCK, epoch=1),
                Store(workspace.root / "store"),
                trust_root=None,
                progress=Silent(),
            ),
            f"snapshot.tar: has the snapshot .* the images were built from {LOCK.id}",
            "nox -s archive",
            id="another archive",
        ),
        pytest.param(
            lambda workspace: workspace.change(
                workspace.record, packages=[{"file": "../release.toml"}]
            ),
            r'packages\[0\].file = "\.\./release.toml": expected',
            "",
            id="a path out of dist",
        ),
    ],
)
def test_files_that_were_not_built_and_booted_are_not_signed(
    workspace: Workspace, damage: Callable[[Workspace], object], message: str, hint: str
) -> None:
    workspace.sign()
    damage(workspace)
    before = workspace.snapshot()
    with pytest.raises(VerificationError, match=message) as refused:
        workspace.sign()
    assert hint in refused.value.hint
    assert workspace.snapshot() == before


@pytest.mark.parametrize(
    ("service", "message"),
    [
        pytest.param("caUrls", "/api/v2/signingCert: .*Connection", id="authority down"),
        pytest.param("rekorTlogUrls", "/api/v1/log/entries: .*Connection", id="log down"),
        pytest.param("tsaUrls", "InvalidBundle: .*Unable to use .*timestamp", id="no timestamps"),
    ],
)
def test_a_service_that_is_down_is_named_and_leaves_dist_unchanged(
    workspace: Workspace,
    sigstore: Running,
    service: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signing, "PAUSE", 0)
    config = json.loads(sigstore.signing_config.read_text())
    config[service][0]["url"] = "http://127.0.0.1:9"
    sigstore.signing_config.write_text(json.dumps(config))
    before = workspace.snapshot()
    with pytest.raises(RemoteError, match=message) as refused:
        workspace.sign()
    assert "run it again" in refused.value.hint
    assert workspace.snapshot() == before
    assert not (workspace.dist / ".signing").exists()


@pytest.fixture(name="run")
def _run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what runs the command, and returns what it prints."""
    monkeypatch.setattr(command, "build_records", lambda config: [workspace.record])
    monkeypatch.setattr(command, "ROOT", workspace.root)

    def run(*argv: str, as_json: bool = False) -> str:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        given = argparse.Namespace(config=workspace.root / "release.toml", json=as_json)
        out = io.StringIO()
        console = Console(out, io.StringIO(), {}, as_json, Silent())
        assert command.run(parser.parse_args(argv, given), console) == 0
        return out.getvalue()

    return run


@pytest.mark.usefixtures("sigstore")
def test_the_command_lists_what_it_signed(run: Callable[..., str]) -> None:
    said = run()
    assert "SHA256SUMS" in said
    assert f"15 bundles of {VERSION}" in said
    data = json.loads(run(as_json=True))
    assert (data["version"], len(data["bundles"])) == (VERSION, 15)


@pytest.mark.usefixtures("history")
def test_the_command_takes_the_name_of_the_previous_release(
    workspace: Workspace, run: Callable[..., str]
) -> None:
    for words, previous in ((("--previous", FORMER), FORMER), (("--previous", ""), None)):
        run(*words)
        assert parse_manifest((workspace.dist / MANIFEST).read_bytes()).previous == previous
