"""What takes longer: the distribution's own signatures, and whether all lists of packages agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.edges.progress import Progress
from build.errors import SnowdropError, VerificationError
from build.inspect.inspection import SUFFIX
from build.snapshot.archive import open_archive
from build.snapshot.lock import Lock
from ci.attest.predicates.provenance import Run, build_provenance
from ci.attest.predicates.snapshot import VerifiedSnapshot, snapshot_predicate, verify_snapshot
from ci.release.manifest import (
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    Artifact,
    build_bundle,
    builder_sbom_name,
    sbom_bundle,
)
from ci.verify.content.packages import (
    check_builder_sbom,
    check_database,
    check_image_sbom,
    own_packages,
    read_database,
    variant_of,
)
from ci.verify.content.release_index import Head
from ci.verify.content.statements import at
from ci.verify.findings import CheckFailed, Findings
from ci.verify.safe_io import parse_strict, read_small, same_json

UNTRUE = "what is stated about the packages is not what the files hold"


@dataclass(frozen=True, slots=True)
class Deep:
    """The checks that take longer."""

    keys: Mapping[str, Path]
    """Folder of the distribution's keys by place, `image` and `builder`: the person's own."""
    progress: Progress

    def __call__(self, folder: Path, head: Head, findings: Findings) -> None:
        """Add the checks of the release in `folder`."""
        try:
            lock = self._snapshot(folder, head, findings)
        except CheckFailed:
            return
        _dependencies(head, lock, findings)
        for image in head.manifest.of_role("image"):
            if build_bundle(image.name) in head.statements:
                _packages(folder, image, head, lock, findings)
        name = builder_sbom_name(head.manifest.name, head.manifest.version)
        with findings.check(
            f"packages in the SBOM {name}", expected="those of the lock that build", meaning=UNTRUE
        ):
            check_builder_sbom(_object(folder / name), lock)

    def _snapshot(self, folder: Path, head: Head, findings: Findings) -> Lock:
        keys = ", ".join(sorted({str(path) for path in self.keys.values()}))
        with findings.require(
            "snapshot's own chain",
            expected=f"each index and package signed by the distribution's keys in {keys}",
            meaning="a package is not one that the distribution signed",
        ):
            (artifact,) = _only(head.manifest.of_role("archive"))
            snapshot = self._verified(folder / artifact.name)
            if snapshot.lock.id != head.manifest.lock_id:
                raise VerificationError(
                    f"{artifact.name}: holds the snapshot {snapshot.lock.id}, "
                    f"expected {head.manifest.lock_id}"
                )
        statement = head.statements.get(SNAPSHOT_BUNDLE)
        found = statement.predicate if statement else None
        findings.add(
            "snapshot as stated",
            expected="what was found in the archive",
            found="what was found in the archive"
            if same_json(found, snapshot_predicate(snapshot))
            else "something else",
            meaning=UNTRUE,
        )
        return snapshot.lock

    def _verified(self, path: Path) -> VerifiedSnapshot:
        try:
            return verify_snapshot(open_archive(path), self.keys, self.progress)
        except VerificationError:
            raise
        except SnowdropError as error:  # a lock or an index of another form, a key without a file
            raise VerificationError(str(error), hint=error.hint) from error


def _only(archives: tuple[Artifact, ...]) -> tuple[Artifact]:
    if len(archives) != 1:
        raise VerificationError(f"{len(archives)} snapshot archives, expected one")
    return (archives[0],)


def _dependencies(head: Head, lock: Lock, findings: Findings) -> None:
    statement = head.statements.get(PROVENANCE_BUNDLE)
    definition = at(statement.predicate, "buildDefinition") if statement else None
    # The same words that the builder used, over the lock at hand.
    made = build_provenance(
        head.manifest, lock, variants=[], config_sha256="", run=Run(builder="", invocation="")
    )
    expected = at(made, "buildDefinition", "resolvedDependencies")
    same = same_json(at(definition, "resolvedDependencies"), expected)
    words = "source, lock, keys, indexes and packages of the lock"
    findings.add(
        "dependencies in the provenance",
        expected=words,
        found=words if same else "something else than the lock",
        meaning=UNTRUE,
    )


def _packages(folder: Path, image: Artifact, head: Head, lock: Lock, findings: Findings) -> None:
    with findings.check(
        f"packages in the SBOM of {image.name}",
        expected="those of lock and release",
        meaning=UNTRUE,
    ):
        variant, own = variant_of(image, head), own_packages(folder, image, head)
        statement = head.statements.get(sbom_bundle(image.name))
        if statement is None:
            raise VerificationError("no SBOM that holds, expected one")
        check_image_sbom(statement.predicate, variant, lock, own, head.manifest)
    _database(folder, image, head, lock, findings)


def _database(folder: Path, image: Artifact, head: Head, lock: Lock, findings: Findings) -> None:
    name = f"{Path(image.name).stem}{SUFFIX}"
    title, expected = f"packages in {image.name}", "those of lock and release"
    if name not in {item.name for item in head.manifest.of_role("inventory")}:
        findings.note(f"{title}: not looked at, the release has no {name}")
        return
    try:
        installed = read_database(folder / name, image)
    except VerificationError as error:
        findings.add(title, expected=expected, found=str(error), meaning=UNTRUE)
        return
    if installed is None:
        findings.note(f"{title}: not looked at, {name} does not list them")
        return
    with findings.check(title, expected=expected, meaning=UNTRUE):
        own = own_packages(folder, image, head)
        check_database(installed, variant_of(image, head), lock, own)


def _object(path: Path) -> Mapping[str, object]:
    document = parse_strict(read_small(path), where=path.name)
    if not isinstance(document, dict):
        raise VerificationError(f"{path.name}: not an object, expected one")
    return document
