"""Keys and authorities of the trust root that were not valid, or not the ones that are named."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ci.rehearsal.sigstore import rekor_v1, rekor_v2
from ci.rehearsal.sigstore.log import TransparencyLog
from tests.verify.attacks import Attack
from tests.verify.attacks.bundles import ON_IMAGE, SIGNED, entry, minted
from tests.verify.attacks.trust import PAST, Change, foreign_root, root
from tests.verify.mint import Json, Mint, now
from tests.verify.stage import Scene

DAY = timedelta(days=1)
YEAR = timedelta(days=365)


def validity(item: Json) -> Json:
    """Return what holds the time of validity of an authority or a log."""
    found: Json = item.get("publicKey", item)
    return found


def windows(kind: str, *spans: tuple[datetime, datetime | None]) -> Change:
    """Return what gives each anchor of a kind several times of validity, an entry each."""

    def change(document: Json) -> None:
        entries = []
        for item in document[kind]:
            for start, end in spans:
                said = {"start": stamp(start)} | ({"end": stamp(end)} if end else {})
                holder = {**validity(item), "validFor": said}
                entries.append({**item, "publicKey": holder} if "publicKey" in item else holder)
        document[kind] = entries

    return change


def stamp(moment: datetime) -> str:
    """Return a time as a root has it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def never(kind: str) -> Callable[[Scene], None]:
    """Return an attack whose root has two windows of a kind, one ended and one of the future."""
    moment = now()
    spans = ((moment - 2 * YEAR, moment - YEAR), (moment + YEAR, None))
    return root(windows(kind, *spans))


def in_v1(*steps: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """Return an attack on the release signed in Rekor v1."""

    def do(scene: Scene) -> None:
        scene.resign(scene.stage.mint.but(rekor=1))
        for step in steps:
            step(scene)

    return do


def ended_key(rekor: int, *, place: int) -> Callable[[Scene], None]:
    """Return what signs with a log key whose time ended, under the id of a log that is valid.

    `place`: where the root has the ended key among its logs.
    """

    def do(scene: Scene) -> None:
        mint, keys = scene.stage.mint, scene.stage.foreign.keys
        honest = rekor_v1 if rekor == 1 else rekor_v2
        log = TransparencyLog(scene.place / "log", honest.log_key(keys))
        changes: dict[str, object] = {"log_v1" if rekor == 1 else "log": log}
        scene.resign(mint.but(rekor=rekor), SIGNED)
        identity = entry(scene.bundle(SIGNED))["logId"]
        scene.resign(mint.but(rekor=rekor, **changes), SIGNED)
        log.close()
        scene.edit(SIGNED, lambda said: entry(said).update(logId=identity))
        ended = list(foreign_root(scene)["tlogs"])
        for each in ended:
            each["publicKey"]["validFor"] = {"start": "2019-01-01T00:00:00Z", "end": PAST}
        root(lambda said: said["tlogs"].__setitem__(slice(place, place), ended))(scene)

    return do


def backdated(change: timedelta) -> Callable[[Scene], Mint]:
    """Return the mint whose certificate log promises at another time than the certificate's."""
    return lambda scene: scene.stage.mint.but(promised=change)


LOG, CT = "log key https://", "certificate log key https://ct.rehearsal.invalid was not valid"
CA = "certificate authority https://authority.rehearsal.invalid was not valid"
TSA = "timestamp authority https://timestamp.rehearsal.invalid was not valid"
NOT_LOGGED = "does not contain this signature"
ATTACKS = [
    *(
        Attack(
            f"ended log key under the id of a valid log, Rekor v{rekor}, {where}",
            ended_key(rekor, place=place),
            ON_IMAGE,
            NOT_LOGGED,
        )
        for rekor in (1, 2)
        for where, place in (("first", 0), ("last", 9))
    ),
    Attack("two windows of the log, none of them now", never("tlogs"), "trust root", LOG),
    Attack(
        "two windows of the authority, none of them now",
        never("certificateAuthorities"),
        "trust root",
        CA,
    ),
    Attack(
        "two windows of the certificate log, none of them now", never("ctlogs"), "trust root", CT
    ),
    Attack(
        "two windows of the clock, none of them now",
        never("timestampAuthorities"),
        "trust root",
        TSA,
    ),
    Attack(
        "v1: two windows of the log, none of them at the time of the promise",
        in_v1(never("tlogs")),
        "trust root",
        "log key https://rekor.rehearsal.invalid was not valid",
    ),
    Attack(
        "v1: the clock ended before",
        in_v1(never("timestampAuthorities")),
        "trust root",
        TSA,
    ),
    Attack(
        "v1: the authority was not valid at the time of the promise",
        in_v1(never("certificateAuthorities")),
        "trust root",
        CA,
    ),
    Attack(
        "SCT of a time long before the certificate",
        minted(backdated(-DAY), SIGNED),
        ON_IMAGE,
        "which is not of the time of its certificate",
    ),
    Attack(
        "SCT of a time after the certificate",
        minted(backdated(DAY), SIGNED),
        ON_IMAGE,
        "which is not of the time of its certificate",
    ),
    Attack(
        "the log has another name than its checkpoints",
        root(lambda said: said["tlogs"][0].update(baseUrl="https://other.invalid")),
        "trust root",
        NOT_LOGGED,
    ),
]
