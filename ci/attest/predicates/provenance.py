"""SLSA provenance: how the artifacts were built, and from which bytes.

Source: SLSA v1.1, provenance. docs/build-type.md describes each field. No field depends on the
machine or the clock: two runs over the same artifacts differ only in `invocationId`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from build.apk.index import INDEX
from build.snapshot.lock import Lock
from ci.attest.predicates.packages import FORGE, package_url
from ci.release.manifest import LOCK, Manifest

SHAPING = ("release", "snapshot", "builder", "image")
"""Tables of release.toml that determine the artifacts; the others configure publishing."""
LOCAL_KEYS = ("dist", "kept", "lock", "store", "work")
"""Keys in them that name paths of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The CI run that signs, as its identity token names it."""

    builder: str
    """URL of the workflow that built and signed, with its git reference."""
    invocation: str
    """URL of the run and its attempt."""


def build_type(repository: str) -> str:
    """Return the URI of the page that describes how `repository` (OWNER/REPO) builds."""
    return f"{FORGE}/{repository}/blob/main/docs/build-type.md#v1"


def shape_sha256(document: Mapping[str, Any]) -> str:
    """Return the digest of the parts of release.toml that determine the artifacts.

    `document`: the file as tomllib reads it. The digest does not depend on where the release is
    published and who signs it. It is the SHA-256 of JSON, with sorted keys and no spaces, of the
    tables `SHAPING` without the keys `LOCAL_KEYS` (docs/build-type.md has it as a command).
    """
    shape = {
        name: {key: value for key, value in document[name].items() if key not in LOCAL_KEYS}
        for name in SHAPING
        if name in document
    }
    text = json.dumps(shape, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def build_provenance(
    manifest: Manifest, lock: Lock, *, variants: Sequence[str], config_sha256: str, run: Run
) -> dict[str, object]:
    """Return the predicate of the statement about all files of the release.

    `config_sha256`: as `shape_sha256` gives it.
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
            "internalParameters": {"epoch": manifest.epoch, "version": manifest.version},
            "resolvedDependencies": list(_dependencies(manifest, lock)),
        },
        "runDetails": {
            "builder": {"id": run.builder},
            "metadata": {"invocationId": run.invocation},
        },
    }


def source_of(manifest: Manifest) -> dict[str, object]:
    """Return the resource descriptor of the commit that was built."""
    return {
        "name": "source",
        "uri": f"git+{FORGE}/{manifest.repository}@refs/tags/{manifest.tag}",
        "digest": {"gitCommit": manifest.commit},
        **({"annotations": {"dirty": True}} if manifest.dirty else {}),
    }


def _dependencies(manifest: Manifest, lock: Lock) -> Iterable[dict[str, object]]:
    yield source_of(manifest)
    for artifact in manifest.of_role("source"):
        yield {"name": artifact.name, "digest": {"sha256": artifact.sha256}}
    yield {"name": LOCK, "digest": {"sha256": manifest.lock_id}}
    for name, sha256 in sorted({(item.key, item.key_sha256) for item in lock.repositories}):
        yield {"name": name, "digest": {"sha256": sha256}}
    for repository in lock.repositories:
        # Without a URI: the lock has the URL, which depends on the mirror.
        yield {
            "name": f"{repository.role}/{repository.arch}/{INDEX}",
            "digest": {"sha256": repository.index_sha256},
            "annotations": {"description": repository.description},
        }
    for package in lock.packages:
        yield {
            "name": package.file,
            "uri": package_url(package, lock),
            "digest": {"sha256": package.sha256},
            "annotations": {"closures": sorted(package.order)},
        }
