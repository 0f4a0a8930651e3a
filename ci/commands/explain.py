"""`explain`: two images or build folders -> why they differ."""

import argparse
from pathlib import Path

from build.inspect.explain.difference import LAYERS
from build.inspect.explain.explain import Explanation, explain_images, find_image
from ci.report.console import Console

HELP = "Explain why two images differ, layer by layer, down to the causes"
DIFFERENT = 3
SHOWN = 12
"""Lines of one layer; all of them with --all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `explain` takes."""
    what = "a disk image, or a folder with one"
    parser.add_argument("one", type=Path, metavar="A", help=what)
    parser.add_argument("other", type=Path, metavar="B", help=what)
    parser.add_argument("--all", action="store_true", help="show every difference")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Tell the differences; return 0 when there is none, else 3."""
    explanation = explain_images(find_image(arguments.one), find_image(arguments.other))
    tell(explanation, console, every=arguments.all)
    console.data(explanation.document())
    return DIFFERENT if explanation.differences else 0


def tell(explanation: Explanation, console: Console, *, every: bool) -> None:
    """Print the differences by layer, then how often each cause is behind one."""
    if not explanation.differences:
        console.line("the same bytes")
        return
    for layer in LAYERS:
        found = [each for each in explanation.differences if each.layer == layer]
        if not found:
            continue
        console.line(layer)
        shown = found if every else found[:SHOWN]
        for each in shown:
            console.line(f"  {each.line}")
        if len(found) > len(shown):
            console.line(f"  and {len(found) - len(shown)} more: --all shows them")
    console.line()
    rows = [
        [str(count), cause, rule or "-"]
        for (cause, rule), count in sorted(
            explanation.causes().items(), key=lambda each: (-each[1], each[0])
        )
    ]
    console.table(rows, header=["differences", "cause", "rule"])
