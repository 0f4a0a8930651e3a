"""Bundles of another form than a client writes, and entries of Rekor v1 that were changed."""

import base64
from collections.abc import Callable
from datetime import timedelta

from tests.verify.attacks import Attack
from tests.verify.attacks.bundles import ON_IMAGE, SIGNED, edited, entry, material
from tests.verify.attacks.content import rewrite
from tests.verify.mint import Json, text
from tests.verify.stage import Scene

Change = Callable[[Json], object]
CANONICAL = "is not in canonical form"
NOT_LOGGED = "does not contain this signature"


def on_entry(change: Change) -> Callable[[Scene], None]:
    """Return what changes the log entry of the image's bundle."""
    return edited(SIGNED, lambda said: change(entry(said)))


def on_proof(change: Change) -> Callable[[Scene], None]:
    """Return what changes the proof in the log entry."""
    return on_entry(lambda said: change(said["inclusionProof"]))


def on_message(change: Change) -> Callable[[Scene], None]:
    """Return what changes the signature's part of the image's bundle."""
    return edited(SIGNED, lambda said: change(said["messageSignature"]))


def in_v1(change: Change) -> Callable[[Scene], None]:
    """Return what signs the image in Rekor v1, and then changes the log entry."""

    def do(scene: Scene) -> None:
        scene.resign(scene.stage.mint.but(rekor=1), SIGNED)
        on_entry(change)(scene)

    return do


def from_v1(*names: str) -> Callable[[Scene], None]:
    """Return what gives an entry of Rekor v2 fields of one of Rekor v1."""

    def do(scene: Scene) -> None:
        honest = scene.bundle(SIGNED)
        scene.resign(scene.stage.mint.but(rekor=1), SIGNED)
        other = entry(scene.bundle(SIGNED))
        entry(honest).update({name: other[name] for name in names})
        scene.put(SIGNED, honest)

    return do


def other_promise(scene: Scene) -> None:
    """Give an entry of Rekor v1 the promise of another."""
    scene.resign(scene.stage.mint.but(rekor=1), SIGNED)
    promise = entry(scene.bundle(SIGNED))["inclusionPromise"]
    scene.resign(scene.stage.mint.but(rekor=1), SIGNED)
    on_entry(lambda said: said.update(inclusionPromise=promise))(scene)


def later_by(seconds: int) -> Change:
    """Return what moves the time of an entry."""
    return lambda said: said.update(integratedTime=str(int(said["integratedTime"]) + seconds))


def envelope(change: Callable[[str], str]) -> Change:
    """Return what changes the checkpoint of an entry."""

    def edit(said: Json) -> None:
        point = said["inclusionProof"]["checkpoint"]
        point["envelope"] = change(point["envelope"])

    return edit


def padded(value: str) -> str:
    """Return base64 with a bit set that no decoder reads."""
    stem = value.rstrip("=")
    return stem[:-1] + chr(ord(stem[-1]) + 1) + value[len(stem) :]


def other_end(value: str) -> str:
    """Return base64 of the same bytes, the last one changed."""
    raw = base64.b64decode(value)
    return text(raw[:-1] + bytes([raw[-1] ^ 1]))


def extra_stamp(scene: Scene) -> None:
    """Add a timestamp of another signature to one that holds."""
    stamp = {"signedTimestamp": text(scene.stage.mint.stamp(b"other"))}
    edited(
        SIGNED,
        lambda said: material(said)["timestampVerificationData"]["rfc3161Timestamps"].append(stamp),
    )(scene)


def other_stamp_in_v1(scene: Scene) -> None:
    """Let the timestamp beside a promise of Rekor v1 be of another signature."""
    scene.resign(scene.stage.mint.but(rekor=1), SIGNED)
    stamp = {"signedTimestamp": text(scene.stage.mint.stamp(b"other"))}
    stamps = {"rfc3161Timestamps": [stamp]}
    edited(SIGNED, lambda said: material(said).update(timestampVerificationData=stamps))(scene)


def _attacks(check: str, rows: dict[str, tuple[Callable[[Scene], object], str]]) -> list[Attack]:
    return [Attack(f"form: {name}", do, check, found) for name, (do, found) in rows.items()]


ATTACKS = _attacks(
    ON_IMAGE,
    {
        "unknown field": (edited(SIGNED, lambda said: said.update(extra=1)), "no sigstore bundle"),
        "unknown field of the log entry": (
            on_entry(lambda said: said.update(extra="")),
            "no sigstore bundle",
        ),
        "null for a field": (
            edited(SIGNED, lambda said: said.update(dsseEnvelope=None)),
            CANONICAL,
        ),
        "null for a key": (
            edited(SIGNED, lambda said: material(said).update(publicKey=None)),
            CANONICAL,
        ),
        "a name in snake case": (
            edited(SIGNED, lambda said: said.update(media_type=said.pop("mediaType"))),
            "no sigstore bundle of type",
        ),
        "a name of the entry in snake case": (
            on_entry(lambda said: said.update(log_index=said.pop("logIndex"))),
            CANONICAL,
        ),
        "base64 with a line end": (
            on_message(lambda said: said.update(signature=said["signature"] + "\n")),
            CANONICAL,
        ),
        "base64 with strangers": (
            on_message(lambda said: said.update(signature="." + said["signature"])),
            CANONICAL,
        ),
        "base64 with a bit that nobody reads": (
            on_entry(lambda said: said["logId"].update(keyId=padded(said["logId"]["keyId"]))),
            CANONICAL,
        ),
        "a number with a zero in front": (
            on_proof(lambda said: said.update(treeSize=f"0{said['treeSize']}")),
            CANONICAL,
        ),
        "a number with a sign": (
            on_entry(lambda said: said.update(logIndex=f"+{said['logIndex']}")),
            CANONICAL,
        ),
        "a number with a line of its own": (
            on_entry(lambda said: said.update(logIndex=f"{said['logIndex']}\n")),
            CANONICAL,
        ),
        "a field of the proof twice": (
            rewrite(SIGNED, lambda raw: raw.replace(b'"treeSize"', b'"treeSize": "9", "treeSize"')),
            "key 'treeSize' twice",
        ),
        "digest of another algorithm": (
            on_message(lambda said: said["messageDigest"].update(algorithm="SHA2_512")),
            "messageDigest: expected one of SHA2_256",
        ),
        "no digest": (on_message(lambda said: said.pop("messageDigest")), "messageDigest"),
        "other number in the log": (
            on_entry(lambda said: said.update(logIndex="9")),
            "expected that of the proof",
        ),
        "other size of the tree": (
            on_proof(lambda said: said.update(treeSize=str(int(said["treeSize"]) + 1))),
            NOT_LOGGED,
        ),
        "log id whose last byte differs": (
            on_entry(lambda said: said["logId"].update(keyId=other_end(said["logId"]["keyId"]))),
            "is not in your trust root of",
        ),
        "version of the entry": (
            on_entry(lambda said: said["kindVersion"].update(version="0.0.1")),
            "expected inclusionPromise and integratedTime",
        ),
        "kind of the entry": (
            on_entry(lambda said: said["kindVersion"].update(kind="dsse")),
            "log entry of the kind 'dsse'",
        ),
        "a time in an entry that has none": (from_v1("integratedTime"), "entry of Rekor v2"),
        "a promise in an entry that has none": (from_v1("inclusionPromise"), "entry of Rekor v2"),
        "time and promise of another log": (
            from_v1("integratedTime", "inclusionPromise"),
            "entry of Rekor v2",
        ),
        "checkpoint with a line more": (
            on_entry(envelope(lambda said: f"{said}other\n")),
            NOT_LOGGED,
        ),
        "checkpoint signed under another name": (
            on_entry(envelope(lambda said: said.replace("\u2014 log.", "\u2014 gol."))),
            NOT_LOGGED,
        ),
        "checkpoint with its signature twice": (
            on_entry(envelope(lambda said: said + said.split("\n\n")[1])),
            NOT_LOGGED,
        ),
        "checkpoint with a signature that is none": (
            on_entry(envelope(lambda said: f"{said}\u2014 other AA==\n")),
            NOT_LOGGED,
        ),
        "a second timestamp of another signature": (extra_stamp, "no time of signing"),
        "v1: timestamp of another signature": (other_stamp_in_v1, "no time of signing"),
        "v1: no promise": (
            in_v1(lambda said: said.pop("inclusionPromise")),
            "expected inclusionPromise",
        ),
        "v1: no time": (in_v1(lambda said: said.pop("integratedTime")), "and integratedTime"),
        "v1: time zero": (in_v1(lambda said: said.update(integratedTime="0")), "integratedTime"),
        "v1: another time": (in_v1(later_by(60)), "invalid inclusion promise"),
        "v1: another number in the log": (
            in_v1(lambda said: said.update(logIndex="1")),
            "invalid inclusion promise",
        ),
        "v1: promise of another entry": (other_promise, "invalid inclusion promise"),
        "v1: promise changed": (
            in_v1(
                lambda said: said["inclusionPromise"].update(signedEntryTimestamp=text(b"0" * 70))
            ),
            "invalid inclusion promise",
        ),
        "v1: checkpoint under another name": (
            in_v1(envelope(lambda said: said.replace("\u2014 rekor.", "\u2014 other."))),
            NOT_LOGGED,
        ),
        "v1: entry after the certificate ended": (
            lambda scene: scene.resign(
                scene.stage.mint.but(rekor=1, stamped=timedelta(minutes=20)), SIGNED
            ),
            "not valid when it signed",
        ),
    },
)
