"""The command line: `apk [OPTION...] add [NAME...]`, options anywhere."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from build.errors import ConfigError, SnowdropError

from .database import Database
from .dependencies import parse_dependency
from .install import install, print_progress
from .keys import Keys
from .report import format_report
from .repository import Package, read_repository
from .resolver import Resolver

VERSION = "3.0.0_standin"


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, the command and the names of a command line."""
    parser = argparse.ArgumentParser(prog="apk", allow_abbrev=False, add_help=False)
    text = f"apk-tools {VERSION}, compiled for x86_64."
    parser.add_argument("--version", action="version", version=text)
    parser.add_argument("--arch")
    parser.add_argument("--root", type=Path, default=Path("/"))
    parser.add_argument("--keys-dir", default="etc/apk/keys")
    parser.add_argument("--repository", action="append", default=[])
    parser.add_argument("--repositories-file", default="etc/apk/repositories")
    # The last three are the defaults of this apk.
    for name in ("--initdb", "--simulate", "--no-network", "--no-cache", "--no-progress"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("command", choices=["add"])
    parser.add_argument("names", nargs="*")
    return parser.parse_intermixed_args(arguments)


def read_repositories(options: argparse.Namespace, arch: str, keys: Keys) -> list[Package]:
    """Return the packages of the repositories; skip one that cannot be trusted or read."""
    # As in apk, a relative path is one of the root's: joining keeps an absolute one as it is.
    path = options.root / options.repositories_file
    lines = path.read_text().splitlines() if path.exists() else []
    urls = [*options.repository, *(line.strip() for line in lines if line[:1] not in ("#", ""))]
    packages: list[Package] = []
    for number, url in enumerate(urls):
        try:
            packages += read_repository(url, arch, number, keys)
        except (SnowdropError, OSError) as error:
            print(f"WARNING: opening {error}", file=sys.stderr)
    return packages


def add(options: argparse.Namespace) -> int:
    """Choose and install packages for the names; return the exit status."""
    database = Database(options.root.resolve())
    installed = database.read("lib/apk/db/installed")
    if installed is None and (options.simulate or not options.initdb):
        raise ConfigError(f"Unable to read database: {database.root} has none")
    if installed:
        raise ConfigError(f"{database.root}: has packages, this apk fills an empty root only")
    arch = options.arch or (database.read("etc/apk/arch") or "x86_64").strip()
    words = [*(database.read("etc/apk/world") or "").split(), *options.names]
    # The world has each name once; the last request counts.
    world = list({one.name: one for one in map(parse_dependency, words)}.values())
    keys = Keys(options.root / options.keys_dir)
    choice = Resolver(read_repositories(options, arch, keys), world)
    if report := format_report(choice):
        print(f"ERROR: unable to select packages:\n{report}", file=sys.stderr)
        return 1
    packages, errors = choice.order(), 0
    if options.simulate:
        for number, package in enumerate(packages, 1):
            print_progress(number, len(packages), package)
    else:
        errors = install(packages, database, keys)
        database.write(arch, "".join(f"{one.text}\n" for one in choice.world))
        packages = [one.package for one in database.packages]
    size = sum(package.record.installed_size for package in packages) >> 20
    print(f"{f'{errors} errors;' if errors else 'OK:'} {size} MiB in {len(packages)} packages")
    return int(errors > 0)


def main(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit status."""
    try:
        return add(parse_options(arguments))
    except (SnowdropError, OSError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
