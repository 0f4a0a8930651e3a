"""`explain`: print why two images, or the images of two build folders, differ."""

import argparse
from pathlib import Path

from build.inspect.explain.difference import LAYERS
from build.inspect.explain.explain import Explanation, explain_images, find_image
from ci.report.console import Console

HELP = "Explain why two images differ, layer by layer, down to the causes"
DIFFERENT = 3
MAX_LINES = 12
"""Lines that are printed of one layer; all of them with --all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `explain`."""
    what = "a disk image, or a folder with one"
    parser.add_argument("one", type=Path, metavar="A", help=what)
    parser.add_argument("other", type=Path, metavar="B", help=what)
    parser.add_argument("--all", action="store_true", help="print every difference")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the differences; return 0 when there is none, else 3."""
    explanation = explain_images(find_image(arguments.one), find_image(arguments.other))
    _print(explanation, console, limit=None if arguments.all else MAX_LINES)
    console.data(explanation.document())
    return DIFFERENT if explanation.differences else 0


def _print(explanation: Explanation, console: Console, *, limit: int | None) -> None:
    """Print the differences by layer, then how many each cause explains."""
    if not explanation.differences:
        console.line("the same bytes")
        return
    for layer in LAYERS:
        found = [each for each in explanation.differences if each.layer == layer]
        if not found:
            continue
        console.line(layer)
        for each in found[:limit]:
            console.line(f"  {each.line}")
        if limit is not None and len(found) > limit:
            console.line(f"  and {len(found) - limit} more: --all shows them")
    console.line()
    causes = sorted(explanation.causes().items(), key=lambda each: (-each[1], each[0]))
    console.table(
        [[str(count), cause, rule or "-"] for (cause, rule), count in causes],
        header=["differences", "cause", "rule"],
    )
