"""`artifacts`: list dist by digest for the next job, or check it against such lists."""

import argparse

from build.words import counted
from ci.config import read_config
from ci.release.file_list import compare_files, dump_list, list_files, parse_list
from ci.report.actions import write_outputs
from ci.report.console import Console

HELP = "List dist by digest for the next job of a workflow, or check it against such lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `artifacts`."""
    parser.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="LIST",
        help="the lists of earlier jobs, as JSON: dist must have exactly these files",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the files of dist by digest; with --check, compare them first."""
    config = read_config(arguments.config)
    files = list_files(config.dist)
    if arguments.check:
        compare_files(files, [parse_list(text) for text in arguments.check])
    console.table([[sha256, name] for name, sha256 in files.items()])
    console.line(
        f"{counted(len(files), 'file')}, as the jobs that made them list them"
        if arguments.check
        else f"{counted(len(files), 'file')}"
    )
    console.data({"files": files})
    write_outputs(console.environment, {"files": dump_list(files)})
    return 0
