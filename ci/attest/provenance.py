"""SLSA provenance: how the artifacts came to be, and from which bytes.

Source: SLSA v1.1, provenance; package URLs after the purl specification, type apk.
docs/build-type.md says what each field means. Nothing in it depends on the machine or the
clock: two runs over the same artifacts differ in `invocationId` alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from ci.attest.manifest import LOCK, Manifest

FORGE = "https://github.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run that signs, as its identity token tells it."""

    builder: str
    """URL of the workflow that built and signed, with its reference."""
    invocation: str
    """URL of the run and attempt."""


def build_type(repository: str) -> str:
    """Return the URI that says how `repository` (OWNER/REPO) builds."""
    return f"{FORGE}/{repository}/blob/main/docs/build-type.md#v1"


def build_provenance(
    manifest: Manifest, lock: Lock, *, variants: Sequence[str], config_sha256: str, run: Run
) -> dict[str, object]:
    """Return the predicate of the statement about all files of the release.

    `config_sha256`: of release.toml.
    """
    return {
        "buildDefinition": {
            "buildType": build_type(manifest.repository),
            "externalParameters": {
                "repository": f"{FORGE}/{manifest.repository}",
                "ref": f"refs/tags/{manifest.tag}",
                "variants": sorted(variants),
                "config": {"sha256": config_sha256},
            },
            "internalParameters": {"epoch": manifest.epoch},
            "resolvedDependencies": list(_dependencies(manifest, lock)),
        },
        "runDetails": {
            "builder": {"id": run.builder},
            "metadata": {"invocationId": run.invocation},
        },
    }


def package_url(package: LockedPackage) -> str:
    """Return the purl of a package: `pkg:apk/alpine/NAME@VERSION?arch=ARCH`."""
    name, version = quote(package.name, safe=""), quote(package.version, safe="")
    return f"pkg:apk/alpine/{name}@{version}?arch={quote(package.arch, safe='')}"


def _dependencies(manifest: Manifest, lock: Lock) -> Iterable[dict[str, object]]:
    yield {
        "name": "source",
        "uri": f"git+{FORGE}/{manifest.repository}@refs/tags/{manifest.tag}",
        "digest": {"gitCommit": manifest.commit},
        **({"annotations": {"dirty": True}} if manifest.dirty else {}),
    }
    yield {"name": LOCK, "digest": {"sha256": manifest.lock_id}}
    for name, sha256 in sorted({(item.key, item.key_sha256) for item in lock.repositories}):
        yield {"name": name, "digest": {"sha256": sha256}}
    for repository in lock.repositories:
        yield _index(repository)
    for package in lock.packages:
        yield {
            "name": package.file,
            "uri": package_url(package),
            "digest": {"sha256": package.sha256},
            "annotations": {"closures": sorted(package.order)},
        }


def _index(repository: LockedRepository) -> dict[str, object]:
    # By name and digest: where it was fetched from is in the lock, and changes with the mirror.
    return {
        "name": f"{repository.place}/{repository.arch}/APKINDEX.tar.gz",
        "digest": {"sha256": repository.index_sha256},
        "annotations": {"description": repository.description},
    }
