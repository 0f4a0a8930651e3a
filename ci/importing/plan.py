"""The next action of an import, from what is wanted and what the account has (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from ci.importing.api import CustomImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image in every region that was asked for."""

    tag: str
    """The tag of the image's digest; it identifies what was imported before."""
    regions: tuple[str, ...]
    """The first is where the image is imported, the others get a copy of it."""


@dataclass(frozen=True, slots=True)
class Create:
    """Import the image in a region."""

    region: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for an import that runs."""

    image: CustomImage


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy the image to a region."""

    image: CustomImage
    region: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Everything is there."""

    image: CustomImage


Action = Create | Wait | Transfer | Keep


def plan(wanted: Wanted, actual: Sequence[CustomImage]) -> list[Action]:
    """Return the actions from `actual`, the images with the tag of the digest, to `wanted`.

    Of several images the one in most of the regions counts, then the oldest; the others are
    left alone. A failed import is no image: the next one is made beside it.

    >>> plan(Wanted(tag="t", regions=("fra1",)), [])
    [Create(region='fra1')]
    """
    image = best_image(wanted, actual)
    if image is None:
        first, *others = wanted.regions
        made = CustomImage(number=0, name="", status="NEW", error_message="", regions=(first,))
        return [Create(first), *(Transfer(made, region) for region in others)]
    if image.status != "available":
        return [Wait(image), *_transfers(wanted, image, {wanted.regions[0], *image.regions})]
    return _transfers(wanted, image, set(image.regions)) or [Keep(image)]


def best_image(wanted: Wanted, actual: Sequence[CustomImage]) -> CustomImage | None:
    """Return the image that the plan is about, None when there is none."""
    usable = [each for each in actual if each.status in {"available", "NEW", "pending"}]
    return min(
        usable,
        key=lambda each: (
            each.status != "available",
            -len(set(each.regions) & set(wanted.regions)),
            each.number,
        ),
        default=None,
    )


def _transfers(wanted: Wanted, image: CustomImage, present: set[str]) -> list[Action]:
    return [Transfer(image, region) for region in wanted.regions if region not in present]


def describe(action: Action, name: str) -> str:
    """Return an action as a line of a plan."""
    match action:
        case Create(region):
            return f"create    {name} in {region}"
        case Wait(image):
            return f"wait      image {image.number} is {image.status}"
        case Transfer(image, region):
            return f"transfer  image {image.number or '(new)'} to {region}"
        case Keep(image):
            return f"keep      image {image.number} in {', '.join(image.regions)}"
