"""The provenance names every byte that went into a release, and nothing of the machine."""

import dataclasses
import json

from ci.attest.provenance import Run, build_provenance, package_url
from ci.attest.statements import PROVENANCE_TYPE, build_statement
from tests.attest.conftest import LOCK, locked_package
from tests.attest.test_manifest import MANIFEST

RUN = Run(builder="https://github.com/o/r/build.yml@refs/tags/v1", invocation="https://run/1")


def statement(dirty: bool = False) -> dict[str, object]:
    manifest = dataclasses.replace(MANIFEST, dirty=dirty)
    predicate = build_provenance(
        manifest, LOCK, variants=["droplet"], config_sha256="c" * 64, run=RUN
    )
    raw = build_statement({"b": "b" * 64, "a": "a" * 64}, PROVENANCE_TYPE, predicate)
    assert raw == build_statement({"a": "a" * 64, "b": "b" * 64}, PROVENANCE_TYPE, predicate)
    value: dict[str, object] = json.loads(raw)
    return value


def test_the_statement_is_this_to_the_last_field() -> None:
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
                "internalParameters": {"epoch": 1_795_392_000},
                "resolvedDependencies": [
                    {
                        "name": "source",
                        "uri": f"git+{repository}@refs/tags/v3.24.20261123",
                        "digest": {"gitCommit": "4f" * 20},
                    },
                    {"name": "release.lock", "digest": {"sha256": "b" * 64}},
                    {
                        "name": "alpine.rsa.pub",
                        "digest": {"sha256": LOCK.repositories[0].key_sha256},
                    },
                    {
                        "name": "image/x86_64/APKINDEX.tar.gz",
                        "digest": {"sha256": LOCK.repositories[0].index_sha256},
                        "annotations": {"description": "v3.24.1"},
                    },
                    {
                        "name": "libstdc++-15.2.0-r1.apk",
                        "uri": "pkg:apk/alpine/libstdc%2B%2B@15.2.0-r1?arch=x86_64",
                        "digest": {"sha256": LOCK.packages[0].sha256},
                        "annotations": {"closures": ["droplet"]},
                    },
                    {
                        "name": "python3-3.14.1-r0.apk",
                        "uri": "pkg:apk/alpine/python3@3.14.1-r0?arch=x86_64",
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


def test_a_changed_working_tree_is_said_so() -> None:
    assert '"annotations": {"dirty": true}' in json.dumps(statement(dirty=True))
    assert "dirty" not in json.dumps(statement())


def test_a_version_with_unusual_letters_stays_one_package_url() -> None:
    package = locked_package("py3-a", "1_p2~3/4?x", "droplet")
    assert package_url(package) == "pkg:apk/alpine/py3-a@1_p2~3%2F4%3Fx?arch=x86_64"
