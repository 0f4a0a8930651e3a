"""The provenance names every input of a release, and nothing of the machine."""

import dataclasses
import json

from ci.attest.predicates.packages import package_url
from ci.attest.predicates.provenance import Run, build_provenance
from ci.attest.statements import PROVENANCE_TYPE, build_statement
from ci.release.manifest import Artifact
from tests.attest.conftest import COMMIT, locked_package
from tests.attest.conftest import LOCK as WHOLE
from tests.release.test_manifest import MANIFEST

ALPINE, QUALIFIERS = "pkg:apk/alpine", "arch=x86_64&distro=alpine-3.24"
LOCK = dataclasses.replace(WHOLE, packages=WHOLE.packages[2:])
SOURCE = Artifact(
    name="snowdrop-v3.24.20261123-source.tar",
    role="source",
    media_type="application/x-tar",
    size=1,
    sha256="d" * 64,
)
RUN = Run(builder="https://github.com/o/r/build.yml@refs/tags/v1", invocation="https://run/1")


def statement(dirty: bool = False) -> dict[str, object]:
    artifacts = (*MANIFEST.artifacts, SOURCE)
    manifest = dataclasses.replace(MANIFEST, dirty=dirty, artifacts=artifacts)
    predicate = build_provenance(
        manifest, LOCK, variants=["droplet"], config_sha256="c" * 64, run=RUN
    )
    raw = build_statement({"b": "b" * 64, "a": "a" * 64}, PROVENANCE_TYPE, predicate)
    assert raw == build_statement({"a": "a" * 64, "b": "b" * 64}, PROVENANCE_TYPE, predicate)
    value: dict[str, object] = json.loads(raw)
    return value


def test_the_statement_has_exactly_these_fields() -> None:
    repository = "https://github.com/lighthouse/snowdrop"
    assert statement() == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "a", "digest": {"sha256": "a" * 64}},
            {"name": "b", "digest": {"sha256": "b" * 64}},
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{repository}/blob/main/docs/build-type.md#v1",
                "externalParameters": {
                    "repository": repository,
                    "ref": "refs/tags/v3.24.20261123",
                    "variants": ["droplet"],
                    "config": {"sha256": "c" * 64},
                },
                "internalParameters": {
                    "epoch": 1_795_392_000,
                    "version": "v3.24.20261123",
                },
                "resolvedDependencies": [
                    {
                        "name": "source",
                        "uri": f"git+{repository}@refs/tags/v3.24.20261123",
                        "digest": {"gitCommit": COMMIT},
                    },
                    {"name": SOURCE.name, "digest": {"sha256": SOURCE.sha256}},
                    {"name": "release.lock", "digest": {"sha256": "b" * 64}},
                    {
                        "name": "tests.rsa.pub",
                        "digest": {"sha256": LOCK.repositories[0].key_sha256},
                    },
                    {
                        "name": "image/x86_64/APKINDEX.tar.gz",
                        "digest": {"sha256": LOCK.repositories[0].index_sha256},
                        "annotations": {"description": "v3.24.1"},
                    },
                    {
                        "name": "libstdc++-15.2.0-r1.apk",
                        "uri": f"{ALPINE}/libstdc%2B%2B@15.2.0-r1?{QUALIFIERS}",
                        "digest": {"sha256": LOCK.packages[0].sha256},
                        "annotations": {"closures": ["droplet"]},
                    },
                    {
                        "name": "python3-3.14.1-r0.apk",
                        "uri": f"{ALPINE}/python3@3.14.1-r0?{QUALIFIERS}",
                        "digest": {"sha256": LOCK.packages[1].sha256},
                        "annotations": {"closures": ["builder"]},
                    },
                ],
            },
            "runDetails": {
                "builder": {"id": RUN.builder},
                "metadata": {"invocationId": RUN.invocation},
            },
        },
    }


def test_a_changed_working_tree_is_marked_as_dirty() -> None:
    assert '"annotations": {"dirty": true}' in json.dumps(statement(dirty=True))
    assert "dirty" not in json.dumps(statement())


def test_unusual_characters_of_a_version_are_encoded() -> None:
    package = locked_package("py3-a", "1_p2~3+4?x", "droplet")
    assert package_url(package, LOCK) == f"{ALPINE}/py3-a@1_p2~3%2B4%3Fx?{QUALIFIERS}"
