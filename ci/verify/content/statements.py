"""Statements of a release: each of its kind, by the same identity, about exactly these files.

sigstore verifies who signed a statement. That its subjects are the files in the folder, and that
every file is covered, is checked here (in-toto attestation framework v1: subjects match by digest).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.errors import VerificationError
from ci.attest.predicates.packages import FORGE
from ci.attest.predicates.provenance import build_type
from ci.attest.statements import (
    BOOT_REPORT_TYPE,
    PROVENANCE_TYPE,
    SBOM_TYPE,
    build_record_type,
    difference_type,
    snapshot_type,
)
from ci.release.manifest import (
    DIFFERENCE_BUNDLE,
    LOCK,
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    Artifact,
    Manifest,
    boot_bundle,
    build_bundle,
    image_sbom_name,
    sbom_bundle,
)
from ci.verify.content.facts import (
    PARAMETERS,
    check_boot_report,
    check_build_record,
    check_image_sbom,
    compare_values,
    describe_parameters,
    value_at,
)
from ci.verify.content.release_index import ReleaseIndex
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import parse_strict, read_small, same_json
from ci.verify.trust.bundles import Statement, Trust
from ci.verify.trust.policy import ABSENT, RUN, Policy

NO_PROVENANCE = "these files are not covered by valid provenance"
NO_SNAPSHOT = "that the distribution signed the packages is not attested"
NO_DIFFERENCE = "what changed since the previous release is not attested"


@dataclass(frozen=True, slots=True)
class StatementReader:
    """Reads the statements in `folder`, which one identity must have signed.

    Each method raises VerificationError when the statement is invalid, or differs from the release.
    """

    folder: Path
    trust: Trust
    policy: Policy

    def read(
        self, bundle: str, kind: str, subjects: Mapping[str, str], *, more_subjects: bool = False
    ) -> Statement:
        """Return the statement in `bundle`, of the predicate type `kind`, about `subjects`.

        `subjects`: sha256 by name; `more_subjects` allows others beside them.
        """
        statement, certificate = self.trust.check_statement(self.folder / bundle, self.policy)
        self.policy.check(certificate, bundle)
        if statement.predicate_type != kind:
            raise VerificationError(
                f"{bundle}: predicate of type {statement.predicate_type}, expected {kind}"
            )
        found = statement.subjects
        if more_subjects:
            found = {name: sha256 for name, sha256 in found.items() if name in subjects}
        if dict(found) != dict(subjects):
            differ = {name for name, _ in subjects.items() ^ found.items()}
            raise VerificationError(
                f"{bundle}: other subjects than expected: {', '.join(sorted(differ))}"
            )
        return statement

    def build_record(self, image: Artifact) -> Statement:
        """Return the build record of `image`, which describes these bytes."""
        bundle, kind = build_bundle(image.name), build_record_type(self.policy.signer.repository)
        record = self.read(bundle, kind, {image.name: image.sha256})
        described = {"file": image.name, "size": image.size, "sha256": image.sha256}
        compare_values(bundle, record.predicate, {"image": described})
        return record

    def boot_report(self, image: Artifact) -> Statement:
        """Return the boot report of `image`, in which every check passed."""
        report = self.read(boot_bundle(image.name), BOOT_REPORT_TYPE, {image.name: image.sha256})
        check_boot_report(report.predicate, image, self.policy)
        return report

    def sbom(self, image: Artifact) -> Statement:
        """Return the SBOM of `image`, which describes it."""
        sbom = self.read(sbom_bundle(image.name), SBOM_TYPE, {image.name: image.sha256})
        check_image_sbom(sbom.predicate, image)
        return sbom


@dataclass(frozen=True, slots=True)
class ImageStatement:
    """A kind of statement that each image has."""

    title: str
    expected: str
    """The requirement in addition to "signed, of this image"."""
    meaning: str
    """The meaning of a missing or invalid one."""
    bundle: Callable[[str], str]
    read: Callable[[StatementReader, Artifact], Statement]
    compare: Callable[[Statement, Artifact, ReleaseIndex], None]
    """Compares it with the rest of the release; raises VerificationError."""

    def check(
        self,
        reader: StatementReader,
        image: Artifact,
        findings: Findings,
        index: ReleaseIndex | None = None,
    ) -> None:
        """Add the check of the statement about `image`; with `index`, as a part of the release."""
        name = f"{self.title} of {image.name}"
        expected = f"signed, of this image, {self.expected}" if index else "signed, of this image"
        with findings.check(name, expected=expected, meaning=self.meaning):
            statement = self.read(reader, image)
            if index:
                self.compare(statement, image, index)
                index.statements[self.bundle(image.name)] = statement


def check_statements(index: ReleaseIndex, trust: Trust, findings: Findings) -> None:
    """Add the checks of every statement that the manifest implies."""
    reader = StatementReader(index.folder, trust, index.policy)
    expected = f"SLSA v1, about all {len(index.sums)} files and no other"
    if statement := check_provenance(
        reader, index.sums, findings, expected=expected, manifest=index.manifest
    ):
        index.statements[PROVENANCE_BUNDLE] = statement
    _check_snapshot(reader, index, findings)
    _check_difference(reader, index, findings)
    for image in index.manifest.of_role("image"):
        for kind in IMAGE_STATEMENTS:
            kind.check(reader, image, findings, index)


def check_provenance(
    reader: StatementReader,
    subjects: Mapping[str, str],
    findings: Findings,
    *,
    expected: str,
    more_subjects: bool = False,
    manifest: Manifest | None = None,
) -> Statement | None:
    """Add the checks of the SLSA provenance of `subjects`; return it when it is valid.

    `manifest`: of the release, None when it is not known.
    """
    try:
        with findings.require("provenance", expected=expected, meaning=NO_PROVENANCE):
            statement = reader.read(
                PROVENANCE_BUNDLE, PROVENANCE_TYPE, subjects, more_subjects=more_subjects
            )
    except CheckFailed:
        return None
    for name, found, required in _provenance_rows(statement.predicate, reader.policy, manifest):
        findings.add(
            f"{name} in the provenance", expected=required, found=found, meaning=NO_PROVENANCE
        )
    return statement


def _provenance_rows(
    predicate: object, policy: Policy, manifest: Manifest | None
) -> Iterator[tuple[str, str, str]]:
    """Yield what is compared in a provenance: name, found and expected value."""
    repository = policy.signer.repository
    definition = value_at(predicate, "buildDefinition")
    parameters = value_at(definition, "externalParameters")
    run = value_at(predicate, "runDetails")
    claimed = (policy.claims or {}).get(str(RUN), ABSENT)
    for name, found, required in (
        ("builder", value_at(run, "builder", "id"), policy.build_signer),
        ("run", value_at(run, "metadata", "invocationId"), claimed),
        ("build type", value_at(definition, "buildType"), build_type(repository)),
        ("parameters", describe_parameters(parameters, manifest), ", ".join(PARAMETERS)),
        ("repository", value_at(parameters, "repository"), f"{FORGE}/{repository}"),
        ("ref", value_at(parameters, "ref"), f"refs/tags/{policy.tag}"),
        ("source commit", _source_commit(definition), policy.commit),
    ):
        yield name, str(found), required
    if manifest is not None:
        expected = {"epoch": manifest.epoch, "version": manifest.version}
        found = value_at(definition, "internalParameters")
        yield "internal parameters", json.dumps(found, sort_keys=True), json.dumps(expected)
        yield "sources", _source_state(definition), "dirty" if manifest.dirty else "committed"


def _source_commit(definition: object) -> str:
    """Return the one commit among the dependencies of a build, or how many there are."""
    commits = [commit for commit, _ in _sources(definition)]
    return str(commits[0]) if len(commits) == 1 else f"{len(commits)} commits"


def _source_state(definition: object) -> str:
    """Return whether the sources of a build were a commit or a changed working tree."""
    states = {state for _, state in _sources(definition)}
    return "committed" if states == {None} else "dirty" if states == {True} else str(states)


def _sources(definition: object) -> list[tuple[object, object]]:
    """Return commit and dirty mark of each dependency that is a commit."""
    entries = value_at(definition, "resolvedDependencies")
    found = [
        (value_at(entry, "digest", "gitCommit"), value_at(entry, "annotations", "dirty"))
        for entry in (entries if isinstance(entries, list) else ())
    ]
    return [(commit, state) for commit, state in found if commit is not None]


def _check_snapshot(reader: StatementReader, index: ReleaseIndex, findings: Findings) -> None:
    expected = "signed, of this archive and lock"
    with findings.check("snapshot", expected=expected, meaning=NO_SNAPSHOT):
        archives = {item.name: item.sha256 for item in index.manifest.of_role("archive")}
        kind = snapshot_type(index.policy.signer.repository)
        statement = reader.read(SNAPSHOT_BUNDLE, kind, archives)
        compare_values(SNAPSHOT_BUNDLE, statement.predicate, {"lock.id": index.manifest.lock_id})
        index.statements[SNAPSHOT_BUNDLE] = statement


def _check_difference(reader: StatementReader, index: ReleaseIndex, findings: Findings) -> None:
    previous = index.manifest.previous
    if previous is None:
        findings.note("the first release of its line: there is no difference to an earlier one")
        return
    expected = f"signed, of this lock, from {previous}"
    with findings.check("difference", expected=expected, meaning=NO_DIFFERENCE):
        kind = difference_type(index.policy.signer.repository)
        statement = reader.read(DIFFERENCE_BUNDLE, kind, {LOCK: index.manifest.lock_id})
        new = {"new.lock": index.manifest.lock_id, "new.name": index.manifest.tag}
        compare_values(DIFFERENCE_BUNDLE, statement.predicate, {**new, "old.name": previous})


def _compare_build_record(record: Statement, image: Artifact, index: ReleaseIndex) -> None:
    check_build_record(record.predicate, image, index.manifest, index.policy)


def _compare_boot_report(report: Statement, image: Artifact, index: ReleaseIndex) -> None:
    """Compare nothing: a boot report says nothing about the rest of the release."""


def _compare_sbom(statement: Statement, image: Artifact, index: ReleaseIndex) -> None:
    name = image_sbom_name(image.name)
    document = parse_strict(read_small(index.path(name)), where=name)
    if not same_json(statement.predicate, document):
        raise VerificationError(f"{sbom_bundle(image.name)}: states another SBOM than {name}")


BUILD_RECORD = ImageStatement(
    "build record",
    "lock, commit and packages",
    "how the image was built is not attested",
    build_bundle,
    StatementReader.build_record,
    _compare_build_record,
)
BOOT_REPORT = ImageStatement(
    "boot report",
    "every check passed",
    "that this image starts as a droplet is not attested",
    boot_bundle,
    StatementReader.boot_report,
    _compare_boot_report,
)
SBOM = ImageStatement(
    "SBOM",
    "same as its file",
    "which packages are in the image is not attested",
    sbom_bundle,
    StatementReader.sbom,
    _compare_sbom,
)
IMAGE_STATEMENTS = (BUILD_RECORD, BOOT_REPORT, SBOM)
