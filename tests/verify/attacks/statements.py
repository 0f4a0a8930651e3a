"""Statements that are not the signed ones, or say something else than the files at hand."""

import base64
import json
from collections.abc import Callable

from ci.release.manifest import (
    DIFFERENCE_BUNDLE,
    PROVENANCE_BUNDLE,
    SNAPSHOT_BUNDLE,
    boot_bundle,
    build_bundle,
    sbom_bundle,
)
from tests.verify.attacks import Attack, deep
from tests.verify.attacks.bundles import edited
from tests.verify.attacks.content import copied
from tests.verify.mint import Json, text
from tests.verify.stage import IMAGE, NEW, OLD, Scene, payload_of, stem

BOOT = boot_bundle(IMAGE)
BOOTED = f"boot report of {IMAGE}"
SHA512 = "0" * 128


def envelope(name: str, change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what changes an envelope and leaves its signature."""
    return edited(name, lambda said: change(said["dsseEnvelope"]))


def relabelled(said: Json) -> None:
    """Change the payload to one whose boot failed less."""
    statement = json.loads(base64.b64decode(said["payload"]))
    statement["predicate"]["url"] = "https://example.org"
    said["payload"] = text(json.dumps(statement).encode())


def restated(name: str, change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what signs another statement, as the trusted job could."""
    return lambda scene: scene.restate(name, change)


def raw_statement(name: str, change: Callable[[bytes], bytes]) -> Callable[[Scene], None]:
    """Return what signs other bytes than a statement's."""

    def do(scene: Scene) -> None:
        payload = change(json.dumps(payload_of(scene.bundle(name))).encode())
        scene.put(name, scene.stage.mint.statement(payload))

    return do


def other_kind(scene: Scene) -> None:
    """Sign the statement as a payload of another type."""
    payload = json.dumps(payload_of(scene.bundle(PROVENANCE_BUNDLE))).encode()
    scene.put(PROVENANCE_BUNDLE, scene.stage.mint.statement(payload, "text/plain"))


def sha512_only(said: Json) -> None:
    """Name the subject by a digest that is not compared."""
    said["subject"][0]["digest"] = {"sha512": SHA512}


def predicate(name: str, change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what signs another predicate, as the trusted job could."""
    return restated(name, lambda said: change(said["predicate"]))


def inserted(raw: bytes) -> bytes:
    """Say one key of a statement twice."""
    return raw.replace(b'"predicateType"', b'"predicateType": "x", "predicateType"', 1)


ATTACKS = [
    Attack("envelope: payload changed", envelope(BOOT, relabelled), BOOTED, BOOT),
    Attack(
        "envelope: payload type changed",
        envelope(BOOT, lambda said: said.update(payloadType="text/plain")),
        BOOTED,
        BOOT,
    ),
    Attack(
        "envelope: two signatures",
        envelope(BOOT, lambda said: said.update(signatures=said["signatures"] * 2)),
        BOOTED,
        BOOT,
    ),
    Attack(
        "envelope: no signature",
        envelope(BOOT, lambda said: said.update(signatures=[])),
        BOOTED,
        BOOT,
    ),
    Attack(
        "statement: payload of another type, signed",
        other_kind,
        "provenance",
        "payload of type text/plain",
    ),
    Attack(
        "statement: predicate type swapped",
        copied(build_bundle(IMAGE), PROVENANCE_BUNDLE),
        "provenance",
        "predicate of type",
    ),
    Attack(
        "statement: boot report as build record",
        copied(BOOT, build_bundle(IMAGE)),
        f"build record of {IMAGE}",
        "predicate of type",
    ),
    Attack(
        "statement: of another in-toto version",
        restated(
            PROVENANCE_BUNDLE, lambda said: said.update(_type="https://in-toto.io/Statement/v0.1")
        ),
        "provenance",
        "expected https://in-toto.io/Statement/v1",
    ),
    Attack("statement: sha512 only", restated(BOOT, sha512_only), BOOTED, "sha256 = nothing"),
    Attack(
        "statement: no subject",
        restated(BOOT, lambda said: said.update(subject=[])),
        BOOTED,
        "no subject",
    ),
    Attack(
        "statement: a subject twice",
        restated(
            PROVENANCE_BUNDLE,
            lambda said: said["subject"].append(
                {**said["subject"][0], "digest": {"sha256": "0" * 64}}
            ),
        ),
        "provenance",
        "one twice",
    ),
    Attack(
        "statement: a subject less",
        restated(PROVENANCE_BUNDLE, lambda said: said["subject"].pop()),
        "provenance",
        "other subjects than expected",
    ),
    Attack(
        "statement: about an absent file",
        restated(
            PROVENANCE_BUNDLE,
            lambda said: said["subject"].append(
                {"name": "ghost.qcow2", "digest": {"sha256": "0" * 64}}
            ),
        ),
        "provenance",
        "ghost.qcow2",
    ),
    Attack(
        "statement: a subject with ../",
        restated(BOOT, lambda said: said["subject"][0].update(name="../x")),
        BOOTED,
        "expected a string like",
    ),
    Attack(
        "statement: a key twice",
        raw_statement(PROVENANCE_BUNDLE, inserted),
        "provenance",
        "key 'predicateType' twice",
    ),
    Attack(
        "statement: not JSON",
        raw_statement(PROVENANCE_BUNDLE, lambda _: b"hello"),
        "provenance",
        "not the JSON of one meaning",
    ),
    Attack(
        "statement: very deep",
        raw_statement(PROVENANCE_BUNDLE, lambda _: b"[" * 70),
        "provenance",
        "levels of JSON",
    ),
    Attack(
        "boot report: it failed",
        predicate(BOOT, lambda said: said.update(result="FAILED")),
        BOOTED,
        "result 'FAILED'",
    ),
    Attack(
        "boot report: a check failed",
        predicate(BOOT, lambda said: said.update(failedTests=["login"])),
        BOOTED,
        "expected that all passed",
    ),
    Attack(
        "boot report: saw another image",
        predicate(BOOT, lambda said: said["snowdrop_report"]["image"].update(sha256="0" * 64)),
        BOOTED,
        "image.sha256 is 000",
    ),
    Attack(
        "provenance: another builder",
        predicate(
            PROVENANCE_BUNDLE,
            lambda said: said["runDetails"]["builder"].update(id="https://example.org"),
        ),
        "builder in the provenance",
        "https://example.org",
    ),
    Attack(
        "provenance: another commit",
        predicate(
            PROVENANCE_BUNDLE,
            lambda said: said["buildDefinition"]["resolvedDependencies"][0]["digest"].update(
                gitCommit="0" * 40
            ),
        ),
        "source commit in the provenance",
        "0" * 40,
    ),
    Attack(
        "provenance: two commits",
        predicate(
            PROVENANCE_BUNDLE,
            lambda said: said["buildDefinition"]["resolvedDependencies"].append(
                said["buildDefinition"]["resolvedDependencies"][0]
            ),
        ),
        "source commit in the provenance",
        "2 commits",
    ),
    Attack(
        "provenance: another ref",
        predicate(
            PROVENANCE_BUNDLE,
            lambda said: said["buildDefinition"]["externalParameters"].update(
                ref="refs/heads/main"
            ),
        ),
        "ref in the provenance",
        "refs/heads/main",
    ),
    Attack(
        "provenance: another build type",
        predicate(
            PROVENANCE_BUNDLE,
            lambda said: said["buildDefinition"].update(buildType="https://example.org/build"),
        ),
        "build type in the provenance",
        "example.org",
    ),
    Attack(
        "provenance: hides a package",
        deep(
            predicate(
                PROVENANCE_BUNDLE,
                lambda said: said["buildDefinition"]["resolvedDependencies"].pop(),
            )
        ),
        "dependencies in the provenance",
        "something else",
    ),
    Attack(
        "build record: of another lock",
        predicate(build_bundle(IMAGE), lambda said: said.update(lock={"id": "0" * 64})),
        f"build record of {IMAGE}",
        "lock.id is 000",
    ),
    Attack(
        "build record: of another commit",
        predicate(build_bundle(IMAGE), lambda said: said["source"].update(commit="0" * 40)),
        f"build record of {IMAGE}",
        "source.commit is 000",
    ),
    Attack(
        "snapshot statement: of another lock",
        predicate(SNAPSHOT_BUNDLE, lambda said: said.update(lock={"id": "0" * 64})),
        "snapshot",
        "lock.id is 000",
    ),
    Attack(
        "snapshot statement: another key",
        deep(
            predicate(
                SNAPSHOT_BUNDLE,
                lambda said: said["repositories"][0]["key"].update(name="evil.rsa.pub"),
            )
        ),
        "snapshot statement",
        "something else",
    ),
    Attack(
        "difference: from another release",
        predicate(DIFFERENCE_BUNDLE, lambda said: said["old"].update(name="v0")),
        "difference",
        f"old.name is v0, expected {OLD}",
    ),
    Attack(
        "difference: to another lock",
        predicate(DIFFERENCE_BUNDLE, lambda said: said["new"].update(lock="0" * 64)),
        "difference",
        "new.lock is 000",
    ),
    Attack(
        "SBOM statement: another SBOM",
        predicate(sbom_bundle(IMAGE), lambda said: said.update(components=[])),
        f"SBOM of {IMAGE}",
        f"states another SBOM than {stem(NEW)}.cdx.json",
    ),
]
