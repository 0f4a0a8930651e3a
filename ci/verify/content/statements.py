"""Statements of a release: each of its kind, by the same identity, about exactly these files.

sigstore verifies who signed a statement. That its subjects are the files in the folder, and that
every file is covered, is checked here (in-toto attestation framework v1: subjects match by digest).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.errors import VerificationError
from ci.attest.predicates.packages import FORGE
from ci.attest.predicates.provenance import build_type
from ci.attest.statements import (
    BOOT_REPORT_TYPE,
    PROVENANCE_TYPE,
    REPORT_FIELD,
    SBOM_TYPE,
    boot_passed,
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
    boot_bundle,
    build_bundle,
    image_sbom_name,
    sbom_bundle,
)
from ci.verify.content.release_index import ReleaseIndex
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import parse_strict, read_small, same_json
from ci.verify.trust.bundles import Statement, Trust
from ci.verify.trust.policy import Policy

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
        """Return the build record of `image`."""
        kind = build_record_type(self.policy.signer.repository)
        return self.read(build_bundle(image.name), kind, {image.name: image.sha256})

    def boot_report(self, image: Artifact) -> Statement:
        """Return the boot report of `image`, in which every check passed."""
        bundle = boot_bundle(image.name)
        report = self.read(bundle, BOOT_REPORT_TYPE, {image.name: image.sha256})
        if not boot_passed(report.predicate):
            raise VerificationError(
                f"{bundle}: result {report.predicate.get('result')!r}, expected that all passed"
            )
        if (found := value_at(report.predicate, REPORT_FIELD, "image", "sha256")) != image.sha256:
            raise VerificationError(f"{bundle}: booted was {found}, expected {image.sha256}")
        return report

    def sbom(self, image: Artifact) -> Statement:
        """Return the SBOM of `image`."""
        return self.read(sbom_bundle(image.name), SBOM_TYPE, {image.name: image.sha256})


@dataclass(frozen=True, slots=True, kw_only=True)
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
    if statement := check_provenance(reader, index.sums, findings, expected=expected):
        index.statements[PROVENANCE_BUNDLE] = statement
    _check_snapshot(reader, index, findings)
    _check_difference(reader, index, findings)
    for image in index.manifest.of_role("image"):
        for kind in IMAGE_STATEMENTS:
            kind.check(reader, image, findings, index)


def value_at(value: object, *keys: str) -> object:
    """Return the value in nested objects under `keys`, None when there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def check_provenance(
    reader: StatementReader,
    subjects: Mapping[str, str],
    findings: Findings,
    *,
    expected: str,
    more_subjects: bool = False,
) -> Statement | None:
    """Add the checks of the SLSA provenance of `subjects`; return it when it is valid."""
    try:
        with findings.require("provenance", expected=expected, meaning=NO_PROVENANCE):
            statement = reader.read(
                PROVENANCE_BUNDLE, PROVENANCE_TYPE, subjects, more_subjects=more_subjects
            )
    except CheckFailed:
        return None
    predicate, policy = statement.predicate, reader.policy
    repository = policy.signer.repository
    definition = value_at(predicate, "buildDefinition")
    parameters = value_at(definition, "externalParameters")
    for name, found, required in (
        ("builder", value_at(predicate, "runDetails", "builder", "id"), policy.build_signer),
        ("build type", value_at(definition, "buildType"), build_type(repository)),
        ("repository", value_at(parameters, "repository"), f"{FORGE}/{repository}"),
        ("ref", value_at(parameters, "ref"), f"refs/tags/{policy.tag}"),
        ("source commit", _source_commit(definition), policy.commit),
    ):
        findings.add(
            f"{name} in the provenance", expected=required, found=str(found), meaning=NO_PROVENANCE
        )
    return statement


def _source_commit(definition: object) -> str:
    """Return the one commit among the dependencies of a build, or how many there are."""
    entries = value_at(definition, "resolvedDependencies")
    found = [
        value_at(entry, "digest", "gitCommit")
        for entry in (entries if isinstance(entries, list) else ())
    ]
    commits = [commit for commit in found if commit is not None]
    return str(commits[0]) if len(commits) == 1 else f"{len(commits)} commits"


def _check_snapshot(reader: StatementReader, index: ReleaseIndex, findings: Findings) -> None:
    expected = "signed, of this archive and lock"
    with findings.check("snapshot", expected=expected, meaning=NO_SNAPSHOT):
        archives = {item.name: item.sha256 for item in index.manifest.of_role("archive")}
        kind = snapshot_type(index.policy.signer.repository)
        statement = reader.read(SNAPSHOT_BUNDLE, kind, archives)
        _compare_lock(SNAPSHOT_BUNDLE, value_at(statement.predicate, "lock", "id"), index)
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
        _compare_lock(DIFFERENCE_BUNDLE, value_at(statement.predicate, "new", "lock"), index)
        if (found := value_at(statement.predicate, "old", "name")) != previous:
            raise VerificationError(
                f"{DIFFERENCE_BUNDLE}: starts from {found}, expected {previous}"
            )


def _compare_lock(bundle: str, found: object, index: ReleaseIndex) -> None:
    if found != index.manifest.lock_id:
        raise VerificationError(f"{bundle}: of the lock {found}, expected {index.manifest.lock_id}")


def _compare_build_record(record: Statement, image: Artifact, index: ReleaseIndex) -> None:
    bundle, commit = build_bundle(image.name), index.policy.commit
    _compare_lock(bundle, value_at(record.predicate, "lock", "id"), index)
    if (found := value_at(record.predicate, "source", "commit")) != commit:
        raise VerificationError(f"{bundle}: source commit {found}, expected {commit}")


def _compare_sbom(statement: Statement, image: Artifact, index: ReleaseIndex) -> None:
    name = image_sbom_name(image.name)
    document = parse_strict(read_small(index.path(name)), where=name)
    if not same_json(statement.predicate, document):
        raise VerificationError(f"{sbom_bundle(image.name)}: states another SBOM than {name}")


IMAGE_STATEMENTS = (
    ImageStatement(
        title="build record",
        expected="lock and commit",
        meaning="how the image was built is not attested",
        bundle=build_bundle,
        read=StatementReader.build_record,
        compare=_compare_build_record,
    ),
    ImageStatement(
        title="boot report",
        expected="every check passed",
        meaning="that this image starts as a droplet is not attested",
        bundle=boot_bundle,
        read=StatementReader.boot_report,
        compare=lambda report, image, index: None,
    ),
    ImageStatement(
        title="SBOM",
        expected="same as its file",
        meaning="which packages are in the image is not attested",
        bundle=sbom_bundle,
        read=StatementReader.sbom,
        compare=_compare_sbom,
    ),
)
