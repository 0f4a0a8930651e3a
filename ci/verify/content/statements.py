"""Each statement of a release: of its kind, by the same identity, about these files and no other.

sigstore says who signed a statement. That it speaks of the files at hand, and that no file is
left of which none speaks, is checked here.
"""

from collections.abc import Mapping
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
from ci.verify.content.release_index import Head, demand_all
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import parse_strict, read_small, same_json
from ci.verify.trust.bundles import Statement, Trust
from ci.verify.trust.policy import Policy

UNANSWERED = "nobody answers for how these files were made"
UNBOOTED = "this image was not seen to come up as a droplet"
UNBUILT = "how the image was built is not attested"
UNLISTED = "what is in the image is not attested"


def check_statements(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    """Add the checks of every statement that the manifest implies."""
    for check in (_provenance, _snapshot, _difference):
        try:
            check(folder, head, trust, findings)
        except CheckFailed:
            continue
    for image in head.manifest.of_role("image"):
        for check_image in (_build_record, _boot_report, _sbom):
            check_image(folder, image, head, trust, findings)


def read_statement(
    path: Path, kind: str, subjects: Mapping[str, str], trust: Trust, policy: Policy
) -> Statement:
    """Return the statement in the bundle `path`, which is of `kind` and about `subjects`.

    `subjects`: sha256 by name; no more and no fewer.

    Raises:
        VerificationError: it does not hold, or says something else.
    """
    statement, certificate = trust.check_statement(path, policy)
    demand_all(path.name, certificate, policy)
    if statement.predicate_type != kind:
        raise VerificationError(
            f"{path.name}: predicate of type {statement.predicate_type}, expected {kind}"
        )
    if dict(statement.subjects) != dict(subjects):
        differ = {name for name, _ in subjects.items() ^ statement.subjects.items()}
        raise VerificationError(
            f"{path.name}: other subjects than the release: {', '.join(sorted(differ))}"
        )
    return statement


def build_record_of(
    path: Path, image: Artifact, repository: str, trust: Trust, policy: Policy
) -> Statement:
    """Return the build record of `image`, signed in `repository`.

    Raises:
        VerificationError: it does not hold, or is about another image.
    """
    kind = build_record_type(repository)
    return read_statement(path, kind, {image.name: image.sha256}, trust, policy)


def boot_report_of(path: Path, image: Artifact, trust: Trust, policy: Policy) -> Statement:
    """Return the boot report of `image`, which says that it came up.

    Raises:
        VerificationError: it does not hold, is about another image, or the boot failed.
    """
    subjects = {image.name: image.sha256}
    report = read_statement(path, BOOT_REPORT_TYPE, subjects, trust, policy)
    if not boot_passed(report.predicate):
        raise VerificationError(
            f"{path.name}: result {report.predicate.get('result')!r}, expected that all passed"
        )
    if (found := at(report.predicate, REPORT_FIELD, "image", "sha256")) != image.sha256:
        raise VerificationError(f"{path.name}: booted was {found}, expected {image.sha256}")
    return report


def sbom_of(path: Path, image: Artifact, trust: Trust, policy: Policy) -> Statement:
    """Return the statement of what is in `image`.

    Raises:
        VerificationError: it does not hold, or is about another image.
    """
    return read_statement(path, SBOM_TYPE, {image.name: image.sha256}, trust, policy)


def at(value: object, *keys: str) -> object:
    """Return what is in nested objects under `keys`, None when it is not there."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def source_commit_of(predicate: Mapping[str, object]) -> str:
    """Return the one commit among the dependencies of a provenance, or how many there are."""
    entries = at(predicate, "buildDefinition", "resolvedDependencies")
    found = (
        [at(entry, "digest", "gitCommit") for entry in entries or () if entry]
        if isinstance(entries, list)
        else []
    )
    commits = [commit for commit in found if commit is not None]
    return str(commits[0]) if len(commits) == 1 else f"{len(commits)} commits"


def check_provenance_fields(
    predicate: Mapping[str, object], policy: Policy, findings: Findings
) -> None:
    """Add the checks of what a provenance says beside its subjects."""
    outer = ("buildDefinition", "externalParameters")
    for name, found, expected in (
        (
            "builder in the provenance",
            at(predicate, "runDetails", "builder", "id"),
            policy.build_signer,
        ),
        (
            "build type in the provenance",
            at(predicate, "buildDefinition", "buildType"),
            build_type(policy.repository),
        ),
        (
            "repository in the provenance",
            at(predicate, *outer, "repository"),
            f"{FORGE}/{policy.repository}",
        ),
        ("ref in the provenance", at(predicate, *outer, "ref"), f"refs/tags/{policy.tag}"),
        ("source commit in the provenance", source_commit_of(predicate), policy.commit),
    ):
        findings.add(name, expected=expected, found=str(found), meaning=UNANSWERED)


def _provenance(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    with findings.require(
        "provenance",
        expected=f"SLSA v1, about all {len(head.sums)} files and no other",
        meaning=UNANSWERED,
    ):
        statement = read_statement(
            folder / PROVENANCE_BUNDLE, PROVENANCE_TYPE, head.sums, trust, head.policy
        )
        head.statements[PROVENANCE_BUNDLE] = statement
    check_provenance_fields(statement.predicate, head.policy, findings)


def _snapshot(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    archives = {item.name: item.sha256 for item in head.manifest.of_role("archive")}
    with findings.require(
        "snapshot",
        expected="signed, of this archive and lock",
        meaning="nobody says that the packages were those that the distribution signed",
    ):
        kind = snapshot_type(head.policy.repository)
        path = folder / SNAPSHOT_BUNDLE
        statement = read_statement(path, kind, archives, trust, head.policy)
        _same_lock(path, at(statement.predicate, "lock", "id"), head)
        head.statements[SNAPSHOT_BUNDLE] = statement


def _difference(folder: Path, head: Head, trust: Trust, findings: Findings) -> None:
    previous = head.manifest.previous
    if previous is None:
        findings.note("the first release of its line: no difference to one before it is stated")
        return
    with findings.require(
        "difference",
        expected=f"signed, of this lock, from {previous}",
        meaning="what changed since the release before is not attested",
    ):
        path = folder / DIFFERENCE_BUNDLE
        kind, subjects = difference_type(head.policy.repository), {LOCK: head.manifest.lock_id}
        statement = read_statement(path, kind, subjects, trust, head.policy)
        _same_lock(path, at(statement.predicate, "new", "lock"), head)
        if (found := at(statement.predicate, "old", "name")) != previous:
            raise VerificationError(f"{path.name}: starts from {found}, expected {previous}")


def _build_record(
    folder: Path, image: Artifact, head: Head, trust: Trust, findings: Findings
) -> None:
    with findings.check(
        f"build record of {image.name}",
        expected="signed, of this image, lock and commit",
        meaning=UNBUILT,
    ):
        path = folder / build_bundle(image.name)
        record = build_record_of(path, image, head.policy.repository, trust, head.policy)
        _same_lock(path, at(record.predicate, "lock", "id"), head)
        if (found := at(record.predicate, "source", "commit")) != head.policy.commit:
            raise VerificationError(
                f"{path.name}: source commit {found}, expected {head.policy.commit}"
            )
        head.statements[path.name] = record


def _boot_report(
    folder: Path, image: Artifact, head: Head, trust: Trust, findings: Findings
) -> None:
    with findings.check(
        f"boot report of {image.name}",
        expected="signed, of this image, every check passed",
        meaning=UNBOOTED,
    ):
        boot_report_of(folder / boot_bundle(image.name), image, trust, head.policy)


def _sbom(folder: Path, image: Artifact, head: Head, trust: Trust, findings: Findings) -> None:
    name = image_sbom_name(image.name)
    with findings.check(
        f"SBOM of {image.name}", expected=f"signed, of this image, is {name}", meaning=UNLISTED
    ):
        path = folder / sbom_bundle(image.name)
        statement = sbom_of(path, image, trust, head.policy)
        if not same_json(statement.predicate, parse_strict(read_small(folder / name), where=name)):
            raise VerificationError(f"{path.name}: states another SBOM than {name}")
        head.statements[path.name] = statement


def _same_lock(path: Path, found: object, head: Head) -> None:
    if found != head.manifest.lock_id:
        raise VerificationError(
            f"{path.name}: of the lock {found}, expected {head.manifest.lock_id}"
        )
