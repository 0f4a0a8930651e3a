"""`explain`: two images or build folders -> their differences and the causes."""

import argparse
from pathlib import Path

from build.inspect.explain.difference import LAYERS
from build.inspect.explain.explain import Explanation, explain_images, find_image
from ci.report.console import Console

HELP = "Explain why two images differ, layer by layer, down to the causes"
DIFFERENT = 3
"""Exit code when the images differ."""
MAX_LINES = 12
"""Differences that are printed of one layer; with --all all of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `explain`."""
    text = "a disk image, or a folder with one"
    parser.add_argument("one", type=Path, metavar="A", help=text)
    parser.add_argument("other", type=Path, metavar="B", help=text)
    parser.add_argument("--all", action="store_true", help="show every difference")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the differences; return 0 when there are none, else 3."""
    explanation = explain_images(find_image(arguments.one), find_image(arguments.other))
    print_explanation(explanation, console, every=arguments.all)
    console.data(explanation.document())
    return DIFFERENT if explanation.differences else 0


def print_explanation(explanation: Explanation, console: Console, *, every: bool) -> None:
    """Print the differences by layer, and the number of differences of each cause."""
    if not explanation.differences:
        console.line("the same bytes")
        return
    if explanation.inputs:
        console.line(
            f"the builds have other inputs ({', '.join(explanation.inputs)}): "
            "the images are expected to differ\n"
        )
    for layer in LAYERS:
        found = [each for each in explanation.differences if each.layer == layer]
        if not found:
            continue
        console.line(layer)
        printed = found if every else found[:MAX_LINES]
        for each in printed:
            console.line(f"  {each.line}")
        if len(found) > len(printed):
            console.line(f"  and {len(found) - len(printed)} more: --all shows them")
    console.line()
    rows = [
        [str(count), cause, rule or "-"]
        for (cause, rule), count in sorted(
            explanation.causes().items(), key=lambda each: (-each[1], each[0])
        )
    ]
    console.table(rows, header=["differences", "cause", "rule"])
