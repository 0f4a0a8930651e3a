"""Roots that are right: several times of validity of one key, and fields left out."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ci.rehearsal.sigstore.trust import trusted_root
from ci.verify.trust.bundles import Trust
from tests.verify.attacks.windows import windows
from tests.verify.mint import Json, now
from tests.verify.stage import Stage
from tests.verify.test_leaves import SHA256, Judge, make

MOMENT, DAY = now(), timedelta(days=1)
PAST = (MOMENT - 9 * DAY, MOMENT - 8 * DAY)
TODAY = (MOMENT - DAY, MOMENT + DAY)
FUTURE = (MOMENT + 8 * DAY, None)
OVERLAP = (MOMENT - 2 * DAY, None)
SPANS = {
    "an ended one first": (PAST, TODAY),
    "an ended one last": (TODAY, PAST),
    "a future one last": (TODAY, FUTURE),
    "two that overlap": (TODAY, OVERLAP),
    "one twice": (TODAY, TODAY),
}
LISTS = ("tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities")


def without(kind: str, *names: str) -> Callable[[Json], None]:
    """Return what leaves fields of authorities out."""

    def change(document: Json) -> None:
        for item in document[kind]:
            for name in names:
                del item[name]

    return change


GOOD: dict[str, Callable[[Json], object]] = {
    **{f"{kind}: {name}": windows(kind, *spans) for kind in LISTS for name, spans in SPANS.items()},
    "authorities without an address": without("certificateAuthorities", "uri"),
    "authorities without a name": without("certificateAuthorities", "subject"),
    "clocks without an address": without("timestampAuthorities", "uri"),
    "clocks without a name": without("timestampAuthorities", "subject"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_root_holds_in_both_versions(stage: Stage, tmp_path: Path, name: str) -> None:
    document = trusted_root(stage.mint.keys)
    GOOD[name](document)
    judge = Judge(stage, tmp_path)
    judge.trust = Trust(written(tmp_path, document))
    for rekor in (1, 2):
        judge.check("file", json.dumps(make(stage, rekor, "file")).encode())


@pytest.mark.parametrize("rekor", [1, 2])
def test_the_last_second_belongs_to_the_time_of_validity(
    stage: Stage, tmp_path: Path, rekor: int
) -> None:
    mint = stage.mint.but(rekor=rekor)
    document = trusted_root(stage.mint.keys)
    span = (mint.now - DAY, mint.now + mint.stamped)
    for kind in LISTS:
        windows(kind, span)(document)
    judge = Judge(stage, tmp_path)
    judge.trust = Trust(written(tmp_path, document))
    judge.check("file", json.dumps(mint.file(SHA256)).encode())


def test_a_root_without_clocks_holds_for_the_promise_of_the_log(
    stage: Stage, tmp_path: Path
) -> None:
    document = {**trusted_root(stage.mint.keys), "timestampAuthorities": []}
    bundle = make(stage, 1, "file")
    del bundle["verificationMaterial"]["timestampVerificationData"]
    judge = Judge(stage, tmp_path)
    judge.trust = Trust(written(tmp_path, document))
    judge.check("file", json.dumps(bundle).encode())
    assert not judge.accepts("file", json.dumps(make(stage, 2, "file")).encode())


def written(folder: Path, document: Json) -> Path:
    """Return the file with a root."""
    path = folder / "root.json"
    path.write_text(json.dumps(document))
    return path
