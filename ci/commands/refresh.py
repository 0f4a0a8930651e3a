"""`refresh`: pin, and hand what changed to later jobs; with `--take`, receive it there."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from build.errors import OutOfStepError, StaleLockError
from build.snapshot.archive import open_archive
from build.snapshot.lock import Lock, write_lock
from build.snapshot.lock_reader import read_lock
from build.snapshot.store import Store
from ci.commands import archive, pin
from ci.config import ReleaseConfig, read_config
from ci.release.lock_diff import compare_locks, format_markdown, is_same_choice
from ci.release.manifest import LOCK
from ci.report.actions import write_outputs, write_summary
from ci.report.console import Console

HELP = "Pin, and write lock and snapshot to dist for later jobs; --take receives them there"
SNAPSHOT = "snapshot.tar"
"""Name of the archive in dist; no release has a file of this name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `refresh`."""
    parser.add_argument(
        "--take",
        action="store_true",
        help=f"take {LOCK} and {SNAPSHOT} from dist, as another job wrote them, and pin nothing",
    )
    parser.add_argument("--engine", choices=["docker", "podman", "unshare"], help="use only this")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Pin, or take what was pinned; return 0 also when nothing changed."""
    config = read_config(arguments.config)
    if arguments.take:
        return _take(config, console)
    before = read_lock(config.build.lock) if config.build.lock.exists() else None
    try:
        engine = ("--engine", arguments.engine) if arguments.engine else ()
        _run_command(pin.add_arguments, pin.run, arguments.config, console, *engine)
    except OutOfStepError as error:
        # The next run finds the mirrors in one state; until then the lock stays as it is.
        console.progress.note(f"{error}")
        return _finish(config, console, None, f"waiting for the mirrors: {error}")
    lock = read_lock(config.build.lock)
    if before and is_same_choice(before, lock):
        # Alpine signs an index again several times a day. The snapshot of the old lock is kept.
        write_lock(config.build.lock, before)
        return _finish(config, console, None, "unchanged: the mirrors have nothing newer")
    words = ("--output", str(config.dist / SNAPSHOT))
    _run_command(archive.add_arguments, archive.run, arguments.config, console, *words)
    write_lock(config.dist / LOCK, lock)
    return _finish(config, console, lock, _describe(before, lock))


def _finish(config: ReleaseConfig, console: Console, lock: Lock | None, text: str) -> int:
    """Report the result, also to later jobs; `lock` is None when nothing changed."""
    values = {
        "changed": "true" if lock else "false",
        "mirror": "true" if config.spaces else "false",
    }
    write_outputs(console.environment, values)
    write_summary(console.environment, f"## Refresh\n\n{text}")
    console.line(text.splitlines()[0])
    console.data({"changed": lock is not None, "lock": lock.id if lock else None})
    return 0


def _take(config: ReleaseConfig, console: Console) -> int:
    lock, snapshot = read_lock(config.dist / LOCK), open_archive(config.dist / SNAPSHOT)
    if snapshot.lock.id != lock.id:
        raise StaleLockError(
            f"{snapshot.path}: has the snapshot {snapshot.lock.id}, "
            f"{config.dist / LOCK} is {lock.id}"
        )
    store = Store(config.build.store)
    with store.in_use():
        snapshot.fill(store, console.progress)
        write_lock(config.build.lock, lock)
    console.line(f"{config.build.lock}: {lock.id}, its snapshot is in {store.folder}")
    console.data({"lock": lock.id})
    return 0


def _run_command(
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run_command: Callable[[argparse.Namespace, Console], int],
    config: Path,
    console: Console,
    *words: str,
) -> None:
    """Run another command in this process; its errors are this command's."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(words)
    arguments.config = config
    # As text also with --json, whose one document is that of `refresh`.
    plain = replace(console, out=console.err, environment={}, json=False)
    run_command(arguments, plain)


def _describe(before: Lock | None, lock: Lock) -> str:
    if before is None:
        return f"the first lock, {lock.id}"
    return format_markdown(compare_locks(before, lock, names=("before", "now")))
