"""The plan of an import: what is missing, and nothing twice."""

import pytest

from ci.importing.api import CustomImage
from ci.importing.plan import Action, Create, Keep, Transfer, Wait, Wanted, describe, plan

WANTED = Wanted(tag="snowdrop-sha256-1", regions=("fra1", "nyc3", "sgp1"))


def image(number: int, status: str, *regions: str) -> CustomImage:
    return CustomImage(
        number=number, name="snowdrop", status=status, error_message="", regions=regions
    )


HALF, WHOLE = image(1, "available", "fra1"), image(2, "available", "fra1", "nyc3", "sgp1")
PENDING, FAILED = image(3, "pending"), image(4, "deleted")
NEW = image(5, "NEW")
ELSEWHERE = image(6, "available", "lon1")
CASES: dict[str, tuple[list[CustomImage], list[Action]]] = {
    "half of the regions": ([HALF], [Transfer(HALF, "nyc3"), Transfer(HALF, "sgp1")]),
    "everything": ([WHOLE], [Keep(WHOLE)]),
    "two images, the complete one counts": ([HALF, WHOLE], [Keep(WHOLE)]),
    "an import runs": (
        [PENDING],
        [Wait(PENDING), Transfer(PENDING, "nyc3"), Transfer(PENDING, "sgp1")],
    ),
    "an import has just begun": ([NEW], [Wait(NEW), Transfer(NEW, "nyc3"), Transfer(NEW, "sgp1")]),
    "an available one beside one that runs": (
        [PENDING, HALF],
        [Transfer(HALF, "nyc3"), Transfer(HALF, "sgp1")],
    ),
    "a failed import beside a good one": ([FAILED, WHOLE], [Keep(WHOLE)]),
    "in another region only": (
        [ELSEWHERE],
        [Transfer(ELSEWHERE, "fra1"), Transfer(ELSEWHERE, "nyc3"), Transfer(ELSEWHERE, "sgp1")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_only_what_is_missing_is_done(name: str) -> None:
    actual, expected = CASES[name]
    assert plan(WANTED, actual) == expected
    assert plan(WANTED, actual[::-1]) == expected


@pytest.mark.parametrize("actual", [[], [FAILED], [image(7, "retired", "fra1")]])
def test_without_a_usable_image_one_is_created_first(actual: list[CustomImage]) -> None:
    first, *others = plan(WANTED, actual)
    assert first == Create("fra1")
    assert [each.region for each in others if isinstance(each, Transfer)] == ["nyc3", "sgp1"]


def test_a_plan_can_be_printed() -> None:
    lines = [describe(each, "snowdrop") for each in (*plan(WANTED, []), *plan(WANTED, [WHOLE]))]
    assert lines == [
        "create    snowdrop in fra1",
        "transfer  image (new) to nyc3",
        "transfer  image (new) to sgp1",
        "keep      image 2 in fra1, nyc3, sgp1",
    ]
