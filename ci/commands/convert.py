"""`convert`: write a verified image in another disk format."""

import argparse
from contextlib import nullcontext
from pathlib import Path

from build.edges.temporary import temporary_folder
from ci.commands import parse_path, parse_text, verify
from ci.convert.convert import Source, convert_image
from ci.convert.formats import FORMATS
from ci.report.console import Console
from ci.report.table import size_text

HELP = "Write a verified image in another disk format, for other clouds and hypervisors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `convert`: those of `verify`, and the format."""
    verify.add_target_arguments(parser)
    parser.add_argument(
        "--to", required=True, choices=list(FORMATS), help="the format that is written"
    )
    parser.add_argument("--variant", type=parse_text, help="the image, if the release has several")
    parser.add_argument(
        "--output", type=parse_path, metavar="FILE", help="default: the image's name in this folder"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify the release, convert the image and print its digests."""
    output: Path | None = arguments.output
    folder = output.parent if output else Path()
    with temporary_folder(".verified-", folder) as work:
        with verify.no_socket() if arguments.offline else nullcontext():
            # Imported here: urllib3 opens a socket on import, to find out whether IPv6 works.
            from ci.verify.verified import verify_image_of

            found = verify_image_of(arguments, work / "release", console, variant=arguments.variant)
        size, sha256 = found.raw()
        source = Source(
            image=found.path, raw_size=size, raw_sha256=sha256, epoch=found.manifest.epoch
        )
        target = output or folder / (found.path.stem + FORMATS[arguments.to].suffix)
        made = convert_image(source, arguments.to, target, console.progress)
    console.line(f"{made.path}: {size_text(made.size)}, of {found.image.name}")
    console.line(f"  file  sha256:{made.sha256}")
    console.line(f"  disk  sha256:{sha256}, as the signed build record says")
    console.data(
        {
            "file": str(made.path),
            "sha256": made.sha256,
            "image": found.image.name,
            "raw_sha256": sha256,
        }
    )
    return 0
