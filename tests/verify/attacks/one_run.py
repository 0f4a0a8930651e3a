"""Bundles of another run, repository number, workflow or field in a release that is one run's.

Each is signed by the trusted sigstore, for the same workflow and tag: only the values that no
bundle alone can be refused for are different.
"""

from collections.abc import Callable

from cryptography.hazmat import asn1
from cryptography.x509 import Extension, ObjectIdentifier, UnrecognizedExtension

from ci.rehearsal.sigstore.authority import ARC
from ci.release.manifest import (
    DIFFERENCE_BUNDLE,
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    boot_bundle,
    build_bundle,
    bundle_name,
    sbom_bundle,
)
from tests.verify.attacks import Attack
from tests.verify.attacks.identity import claiming, lacking, shaped
from tests.verify.attacks.statements import predicate
from tests.verify.mint import Extensions, without
from tests.verify.stage import IMAGE, REPOSITORY, Scene

OTHER_COMMIT = "0" * 40
ONE_RUN = "one run signs a release"
RUNS = f"https://github.com/{REPOSITORY}/actions/runs"
CHECKS = {
    bundle_name(IMAGE): f"signature of {IMAGE}",
    bundle_name("release.lock"): "signature of release.lock",
    PROVENANCE_BUNDLE: "provenance",
    SNAPSHOT_BUNDLE: "snapshot",
    DIFFERENCE_BUNDLE: "difference",
    build_bundle(IMAGE): f"build record of {IMAGE}",
    boot_bundle(IMAGE): f"boot report of {IMAGE}",
    sbom_bundle(IMAGE): f"SBOM of {IMAGE}",
}
"""The check of each kind of bundle."""


def valued(number: int, value: str) -> Callable[[Extensions], Extensions]:
    """Return what gives one of Fulcio's extensions another value, or adds it."""
    oid = ObjectIdentifier(f"{ARC}.{number}")
    raw = value.encode() if number <= 6 else asn1.encode_der(value)

    def shape(extensions: Extensions) -> Extensions:
        others = without(oid.dotted_string)(extensions)
        return [*others, Extension(oid, False, UnrecognizedExtension(oid, raw))]

    return shape


def whole(number: int, value: str) -> Callable[[Scene], None]:
    """Return what signs the whole release with another value of an extension."""
    return shaped(valued(number, value))


def one(bundle: str, number: int, value: str) -> Callable[[Scene], None]:
    """Return what signs one bundle with another value of an extension."""
    return shaped(valued(number, value), bundle)


ATTACKS = [
    *(
        Attack(f"of another run: {check}", claiming(bundle, run_id="2"), check, f"{RUNS}/2")
        for bundle, check in CHECKS.items()
    ),
    *(
        Attack(f"{name}: provenance", claiming(PROVENANCE_BUNDLE, **claims), "provenance", found)
        for name, claims, found in (
            ("of another attempt", {"run_attempt": "2"}, ONE_RUN),
            ("of another repository number", {"repository_id": "1"}, "repository number of its"),
            ("of another owner number", {"repository_owner_id": "1"}, "owner number of its"),
            ("of another visibility", {"repository_visibility": "private"}, ONE_RUN),
            ("of another builder's commit", {"job_workflow_sha": OTHER_COMMIT}, OTHER_COMMIT),
            ("of another caller's commit", {"workflow_sha": OTHER_COMMIT}, OTHER_COMMIT),
            ("of another workflow name", {"workflow": "evil"}, "extension 1.3.6.1.4.1.57264.1.4"),
        )
    ),
    *(
        Attack(
            f"{name}: image",
            one(bundle_name(IMAGE), number, value),
            CHECKS[bundle_name(IMAGE)],
            found,
        )
        for name, number, value, found in (
            ("deprecated issuer", 1, "https://example.org", "deprecated fields"),
            ("deprecated commit", 3, OTHER_COMMIT, "deprecated fields"),
            ("deprecated repository", 5, "mallory/snowdrop", "deprecated fields"),
            ("an extension more", 24, "repo:mallory/snowdrop", "57264.1.24 of its certificate"),
        )
    ),
    *(
        Attack(f"whole release: {name}", do, check, found)
        for name, do, check, found in (
            (
                "builder's commit",
                claiming(job_workflow_sha=OTHER_COMMIT),
                "build workflow digest",
                OTHER_COMMIT,
            ),
            (
                "caller's commit",
                claiming(workflow_sha=OTHER_COMMIT),
                "calling workflow digest",
                OTHER_COMMIT,
            ),
            ("owner", claiming(repository_owner="mallory"), "source owner", "mallory"),
            ("no builder's commit", lacking(10), "build workflow digest", "nothing"),
            ("no run", lacking(21), "run", "nothing"),
            (
                "a run elsewhere",
                whole(21, "https://github.com/mallory/snowdrop/actions/runs/1/attempts/1"),
                "run",
                "mallory",
            ),
            ("no repository number", lacking(15), "repository number", "nothing"),
            ("an owner number of words", claiming(repository_owner_id="me"), "owner number", "me"),
            (
                "deprecated issuer",
                whole(1, "https://example.org"),
                "deprecated fields",
                "issuer https://example.org",
            ),
            (
                "deprecated trigger",
                whole(2, "workflow_dispatch"),
                "deprecated fields",
                "trigger workflow_dispatch",
            ),
            (
                "deprecated ref",
                whole(6, "refs/heads/main"),
                "deprecated fields",
                "ref refs/heads/main",
            ),
        )
    ),
    Attack(
        "provenance that names another run",
        predicate(
            PROVENANCE_BUNDLE,
            lambda said: said["runDetails"]["metadata"].update(invocationId=f"{RUNS}/2/attempts/1"),
        ),
        "run in the provenance",
        f"{RUNS}/2/attempts/1",
    ),
]
