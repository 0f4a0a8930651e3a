"""Slower checks: the distribution's own signatures, and whether all lists of packages agree."""

from collections.abc import Mapping
from pathlib import Path

from build.edges.progress import Progress
from build.errors import SnowdropError, VerificationError
from build.inspect.inspection import SUFFIX
from build.snapshot.archive import TRUST_ROOT, Archive, open_archive
from build.snapshot.lock import Lock
from ci.attest.predicates.provenance import Run, build_provenance
from ci.attest.predicates.snapshot import snapshot_predicate, verify_snapshot
from ci.release.manifest import (
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    Artifact,
    build_bundle,
    builder_sbom_name,
    sbom_bundle,
)
from ci.verify.content.facts import check_sbom, value_at
from ci.verify.content.packages import (
    check_builder_sbom,
    check_database,
    check_image_sbom,
    read_database,
    read_own_packages,
    read_variant,
)
from ci.verify.content.release_index import ReleaseIndex
from ci.verify.findings import Findings
from ci.verify.safe_io import parse_strict, read_small, same_json
from ci.verify.trust.root import Root, parse_root

CONTRADICTED = "the release makes statements about its packages that its files contradict"
UNVOUCHED = "a person would follow what nothing vouches for"
OF_LOCK_AND_RELEASE = "those of lock and release"


def check_deeply(
    index: ReleaseIndex,
    findings: Findings,
    *,
    keys: Mapping[str, Path],
    root: Root,
    progress: Progress,
) -> None:
    """Add the slower checks of the release.

    `keys`: the user's own folders of the distribution's keys, by role (`image`, `builder`);
    `root`: the user's own trust root.
    """
    with findings.until_failure():
        archive = _check_snapshot(index, keys, progress, findings)
        lock = archive.lock
        _check_archive_texts(archive, root, findings)
        _check_dependencies(index, lock, findings)
        for image in index.manifest.of_role("image"):
            # Without a build record it is unknown which packages the image must contain.
            if build_bundle(image.name) in index.statements:
                _check_image_packages(image, index, lock, findings)
        name = builder_sbom_name(index.manifest.name, index.manifest.version)
        with findings.check(
            f"packages in the SBOM {name}", expected="those of the builder", meaning=CONTRADICTED
        ):
            document = parse_strict(read_small(index.path(name)), where=name)
            if not isinstance(document, dict):
                raise VerificationError(f"{name}: not an object, expected one")
            described = f"{index.manifest.name}-builder"
            check_sbom(document, name, ref="builder", name=described, sha256=None)
            check_builder_sbom(document, lock)


def _check_snapshot(
    index: ReleaseIndex, keys: Mapping[str, Path], progress: Progress, findings: Findings
) -> Archive:
    folders = ", ".join(sorted({str(path) for path in keys.values()}))
    with findings.require(
        "snapshot signatures",
        expected=f"each index and package signed by the distribution's keys in {folders}",
        meaning="a package is not one that the distribution signed",
    ):
        archives = index.manifest.of_role("archive")
        if len(archives) != 1:
            raise VerificationError(f"{len(archives)} snapshot archives, expected one")
        name = archives[0].name
        try:
            archive = open_archive(index.path(name))
            snapshot = verify_snapshot(archive, keys, progress)
        except VerificationError:
            raise
        except SnowdropError as error:  # a malformed lock or index, a key without a file
            raise VerificationError(str(error), hint=error.hint) from error
        if snapshot.lock.id != index.manifest.lock_id:
            raise VerificationError(
                f"{name}: has the snapshot {snapshot.lock.id}, expected {index.manifest.lock_id}"
            )
    statement = index.statements.get(SNAPSHOT_BUNDLE)
    same = same_json(statement.predicate if statement else None, snapshot_predicate(snapshot))
    _add_comparison("snapshot statement", "content of the archive", same, findings)
    return archive


def _check_archive_texts(archive: Archive, root: Root, findings: Findings) -> None:
    """Add the checks of the files in the archive that its lock does not name by digest."""
    with findings.check("README in the archive", expected="made from its lock", meaning=UNVOUCHED):
        archive.check_readme()
    raw = archive.trust_root()
    if raw is None:
        return
    with findings.check(
        "trust root in the archive", expected="no key that yours lacks", meaning=UNVOUCHED
    ):
        known = {(anchor.kind, anchor.identity) for anchor in root.anchors}
        for anchor in parse_root(raw, TRUST_ROOT).anchors:
            if (anchor.kind, anchor.identity) not in known:
                raise VerificationError(
                    f"{TRUST_ROOT}: {anchor.kind} {anchor.identity[:16]} of {anchor.uri} is not "
                    f"in your trust root of {root.date}",
                    hint="renew yours with `nox -s trust -- --update` if the release is newer",
                )


def _check_dependencies(index: ReleaseIndex, lock: Lock, findings: Findings) -> None:
    statement = index.statements.get(PROVENANCE_BUNDLE)
    keys = ("buildDefinition", "resolvedDependencies")
    # Made by the function that the signing job uses, from the lock that was just verified.
    run = Run(builder="", invocation="")
    made = build_provenance(index.manifest, lock, variants=[], config_sha256="", run=run)
    found = value_at(statement.predicate, *keys) if statement else None
    same = same_json(found, value_at(made, *keys))
    expected = "source, lock, keys, indexes and packages of the lock"
    _add_comparison("dependencies in the provenance", expected, same, findings)


def _add_comparison(name: str, expected: str, same: bool, findings: Findings) -> None:
    found = expected if same else "something else"
    findings.add(name, expected=expected, found=found, meaning=CONTRADICTED)


def _check_image_packages(
    image: Artifact, index: ReleaseIndex, lock: Lock, findings: Findings
) -> None:
    with findings.check(
        f"packages in the SBOM of {image.name}", expected=OF_LOCK_AND_RELEASE, meaning=CONTRADICTED
    ):
        variant, own = read_variant(image, index, lock), read_own_packages(image, index)
        statement = index.statements.get(sbom_bundle(image.name))
        if statement is None:
            raise VerificationError("no valid SBOM, expected one")
        check_image_sbom(statement.predicate, variant, lock, own, index.manifest)
    title, name = f"packages in {image.name}", f"{Path(image.name).stem}{SUFFIX}"
    if name not in {item.name for item in index.manifest.of_role("inventory")}:
        findings.note(f"{title}: not checked, the release has no {name}")
        return
    expected = OF_LOCK_AND_RELEASE
    try:
        installed = read_database(index.path(name), image)
    except VerificationError as error:
        findings.add(title, expected=expected, found=str(error), meaning=CONTRADICTED, failed=True)
        return
    if installed is None:
        findings.note(f"{title}: not checked, {name} does not list them")
        return
    with findings.check(title, expected=expected, meaning=CONTRADICTED):
        own = read_own_packages(image, index)
        check_database(installed, read_variant(image, index, lock), lock, own)
