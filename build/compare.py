"""Compare two builds of an image."""

from collections.abc import Iterator

from build.errors import NotReproducibleError
from build.image import Image
from build.inside.listing import Difference, compare_listings
from build.inside.normalise import find_rule

MAX_DIFFERENCES = 4
"""Printed for one cause: the clock alone differs in hundreds of entries."""


def compare_images(first: Image, second: Image) -> None:
    """Check that two builds gave the same bytes.

    Raises:
        NotReproducibleError: names what differs (tree, raw disk, image file) and the first
            differences between the trees.
    """
    different = [
        name
        for name in ("tree", "raw", "image")
        if first.record[name]["sha256"] != second.record[name]["sha256"]
    ]
    if different:
        title = f"two builds of {first.path.name} differ in: {', '.join(different)}"
        raise NotReproducibleError(
            "\n".join([title, *_describe_differences(first.listing, second.listing)]),
            hint="look for a clock, an order or a random number behind the first of them",
        )


def _describe_differences(first: bytes, second: bytes) -> Iterator[str]:
    """Yield lines for the first differences of each cause, those without a rule first."""
    causes: dict[str, list[Difference]] = {"not covered by any rule": []}
    for difference in compare_listings(first, second):
        rule = find_rule(difference.path, difference.part)
        cause = f"rule `{rule.name}`: {rule.reason}" if rule else next(iter(causes))
        causes.setdefault(cause, []).append(difference)
    for cause, differences in causes.items():
        if differences:
            yield f"  {cause}"
        for each in differences[:MAX_DIFFERENCES]:
            part = "only in one" if each.part == "presence" else each.part
            yield f"    /{each.path}: {part}: {each.first or '-'}, {each.second or '-'}"
        if len(differences) > MAX_DIFFERENCES:
            yield f"    and {len(differences) - MAX_DIFFERENCES} more"
