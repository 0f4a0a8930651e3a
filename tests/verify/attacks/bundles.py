"""Signatures of other things, at other times, logged elsewhere, or of another form."""

from collections.abc import Callable
from datetime import timedelta

from ci.rehearsal.sigstore import rekor_v2
from ci.rehearsal.sigstore.log import TransparencyLog
from ci.release.manifest import (
    boot_bundle,
    bundle_name,
)
from tests.verify.attacks import Attack
from tests.verify.attacks.content import copied, rewrite
from tests.verify.mint import Json, Mint, text
from tests.verify.stage import IMAGE, OLD, Scene, stem

SIGNED = bundle_name(IMAGE)
LOCKED = bundle_name("release.lock")
BOOT = boot_bundle(IMAGE)


def minted(change: Callable[[Scene], Mint], *names: str) -> Callable[[Scene], None]:
    """Return what makes bundles anew by another mint."""
    return lambda scene: scene.resign(change(scene), *names)


def edited(name: str, change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what changes a bundle and leaves its signature."""
    return lambda scene: scene.edit(name, change)


def material(bundle: Json) -> Json:
    """Return the part of a bundle that is about its certificate, log and time."""
    found: Json = bundle["verificationMaterial"]
    return found


def entry(bundle: Json) -> Json:
    """Return the log entry of a bundle."""
    found: Json = material(bundle)["tlogEntries"][0]
    return found


def other_proof(scene: Scene) -> None:
    """Give the bundle the proof of another entry."""
    proof = entry(scene.bundle(LOCKED))["inclusionProof"]
    scene.edit(SIGNED, lambda said: entry(said).update(inclusionProof=proof))


def other_entry(scene: Scene) -> None:
    """Give the bundle the whole log entry of another."""
    whole = entry(scene.bundle(LOCKED))
    scene.edit(SIGNED, lambda said: material(said).update(tlogEntries=[whole]))


def checkpoint(change: Callable[[str], str]) -> Callable[[Scene], None]:
    """Return what changes the signed head of the log."""

    def edit(said: Json) -> None:
        point = entry(said)["inclusionProof"]["checkpoint"]
        point["envelope"] = change(point["envelope"])

    return edited(SIGNED, edit)


def foreign_log(*, pretend: bool) -> Callable[[Scene], None]:
    """Return what logs elsewhere; with `pretend` the entry names the log that is trusted."""

    def do(scene: Scene) -> None:
        honest = entry(scene.bundle(SIGNED))["logId"]
        log = TransparencyLog(scene.place / "log", rekor_v2.log_key(scene.stage.foreign.keys))
        scene.resign(scene.stage.mint.but(log=log), SIGNED)
        log.close()
        if pretend:
            scene.edit(SIGNED, lambda said: entry(said).update(logId=honest))

    return do


def stamp_of(name: str) -> Callable[[Scene], None]:
    """Return what gives the bundle the timestamp of another signature."""

    def do(scene: Scene) -> None:
        stamps = material(scene.bundle(name))["timestampVerificationData"]
        scene.edit(SIGNED, lambda said: material(said).update(timestampVerificationData=stamps))

    return do


def proof(change: Callable[[Json], object]) -> Callable[[Scene], None]:
    """Return what changes the proof that the log holds the signature."""
    return edited(SIGNED, lambda said: change(entry(said)["inclusionProof"]))


def mint(**changes: object) -> Callable[[Scene], Mint]:
    """Return the trusted mint with some things changed."""
    return lambda scene: scene.stage.mint.but(**changes)


ON_IMAGE = f"signature of {IMAGE}"
BOOTED = f"boot report of {IMAGE}"
LATE, EARLY = timedelta(minutes=20), timedelta(minutes=-20)
ATTACKS = [
    Attack("bundle of another artifact", copied(LOCKED, SIGNED), ON_IMAGE, "of other bytes"),
    Attack(
        "bundle of another release",
        lambda scene: (scene / SIGNED).write_bytes(
            (scene.stage.old / bundle_name(f"{stem(OLD)}.qcow2")).read_bytes()
        ),
        ON_IMAGE,
        "SANs do not match",
    ),
    Attack(
        "bundle: empty object",
        rewrite(SIGNED, lambda _: b"{}"),
        ON_IMAGE,
        "no sigstore bundle of type",
    ),
    Attack(
        "bundle: empty file",
        rewrite(SIGNED, lambda _: b""),
        ON_IMAGE,
        "not the JSON of one meaning",
    ),
    Attack(
        "bundle: cut short",
        rewrite(SIGNED, lambda raw: raw[: len(raw) // 2]),
        ON_IMAGE,
        "not the JSON of one meaning",
    ),
    Attack(
        "bundle: a key twice",
        rewrite(
            SIGNED,
            lambda raw: raw.replace(
                b'"verificationMaterial"', b'"mediaType": "x", "verificationMaterial"', 1
            ),
        ),
        ON_IMAGE,
        "key 'mediaType' twice",
    ),
    Attack(
        "bundle: very deep",
        rewrite(SIGNED, lambda _: b'{"a":' * 50_000),
        ON_IMAGE,
        "levels of JSON",
    ),
    Attack(
        "bundle: very large",
        rewrite(SIGNED, lambda raw: raw + b" " * (5 << 20)),
        ON_IMAGE,
        "more than 4194304 bytes",
    ),
    Attack(
        "bundle: not UTF-8",
        rewrite(SIGNED, lambda raw: raw + b"\xff"),
        ON_IMAGE,
        "not the JSON of one meaning",
    ),
    Attack(
        "bundle: of an old form",
        edited(
            SIGNED,
            lambda said: said.update(
                mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"
            ),
        ),
        ON_IMAGE,
        "no sigstore bundle of type",
    ),
    Attack(
        "bundle: no certificate",
        edited(SIGNED, lambda said: material(said).pop("certificate")),
        ON_IMAGE,
        "no sigstore bundle",
    ),
    Attack(
        "bundle: signature changed",
        edited(SIGNED, lambda said: said["messageSignature"].update(signature=text(b"0" * 70))),
        ON_IMAGE,
        SIGNED,
    ),
    Attack("bundle: a statement where a signature belongs", copied(BOOT, SIGNED), ON_IMAGE, SIGNED),
    Attack("bundle: a signature where a statement belongs", copied(SIGNED, BOOT), BOOTED, BOOT),
    Attack(
        "signed after the certificate ended",
        minted(mint(stamped=LATE), SIGNED),
        ON_IMAGE,
        "not valid when it signed",
    ),
    Attack(
        "signed before the certificate began",
        minted(mint(stamped=EARLY), SIGNED),
        ON_IMAGE,
        "not valid",
    ),
    Attack(
        "no certificate log promised",
        minted(mint(promises=False), SIGNED),
        ON_IMAGE,
        "no SCT of one certificate log",
    ),
    Attack(
        "another certificate log promised",
        minted(lambda scene: scene.stage.mint.but(promise=scene.stage.foreign.keys), SIGNED),
        ON_IMAGE,
        "certificate log key",
    ),
    Attack(
        "no timestamp",
        edited(
            SIGNED,
            lambda said: material(said).update(timestampVerificationData={"rfc3161Timestamps": []}),
        ),
        ON_IMAGE,
        "signed timestamp",
    ),
    Attack(
        "timestamp that is none",
        edited(
            SIGNED,
            lambda said: material(said).update(
                timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": text(b"now")}]}
            ),
        ),
        ON_IMAGE,
        "no sigstore bundle",
    ),
    Attack(
        "timestamp of another authority",
        minted(lambda scene: scene.stage.mint.but(clock=scene.stage.foreign.keys), SIGNED),
        ON_IMAGE,
        "is not in your trust root of",
    ),
    Attack("timestamp of another signature", stamp_of(LOCKED), ON_IMAGE, "no time of signing"),
    Attack("proof of another entry", other_proof, ON_IMAGE, "does not contain this signature"),
    Attack("log entry of another signature", other_entry, ON_IMAGE, "of another signature"),
    Attack(
        "log entry of other bytes",
        minted(mint(logged=b"other"), SIGNED),
        ON_IMAGE,
        "of another signature",
    ),
    Attack(
        "proof with another root",
        proof(lambda said: said.update(rootHash=text(bytes(32)))),
        ON_IMAGE,
        "does not contain this signature",
    ),
    Attack(
        "proof with a hash changed",
        proof(lambda said: said.update(hashes=[text(bytes(32)) for _ in said["hashes"]])),
        ON_IMAGE,
        "does not contain this signature",
    ),
    Attack(
        "proof of another place",
        proof(lambda said: said.update(logIndex="1")),
        ON_IMAGE,
        "does not contain this signature",
    ),
    Attack(
        "no proof",
        edited(SIGNED, lambda said: entry(said).pop("inclusionProof")),
        ON_IMAGE,
        "no sigstore bundle",
    ),
    Attack(
        "no log entry",
        edited(SIGNED, lambda said: material(said).update(tlogEntries=[])),
        ON_IMAGE,
        "no sigstore bundle",
    ),
    Attack(
        "checkpoint changed",
        checkpoint(lambda said: said.replace("\n", "0\n", 1)),
        ON_IMAGE,
        "does not contain this signature",
    ),
    Attack(
        "checkpoint of another size",
        checkpoint(lambda said: said.split("\n")[0] + "\n999\n" + said.split("\n", 2)[2]),
        ON_IMAGE,
        "does not contain this signature",
    ),
    Attack("another log", foreign_log(pretend=False), ON_IMAGE, "is not in your trust root of"),
    Attack(
        "another log's key under the log's name",
        foreign_log(pretend=True),
        ON_IMAGE,
        "does not contain this signature",
    ),
]
