"""`pin`: write release.lock and fill the store; `pin --check` reports whether it would change."""

import argparse
import os
import time
from pathlib import Path

from build.edges.build_dirs import file_errors
from build.edges.container import choose_engine
from build.errors import ConfigError, StaleLockError
from build.firstboot.packages import DEPENDS
from build.snapshot.archive import Archive, open_archive
from build.snapshot.lock import Lock, check_fresh, dump_lock, read_lock, write_lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.store import Store
from ci.commands import one_run
from ci.commands.diff import print_difference
from ci.config import ReleaseConfig, read_config
from ci.preflight.abilities import check_writable
from ci.release.lock_diff import compare_locks, document
from ci.release.locks import revision_lock
from ci.release.snapshots import complete_store
from ci.report.console import Console

HELP = "Pin the current packages: write release.lock and fill the store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `pin`."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="write no lock; exit 3 when a newer snapshot would change it",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--package",
        nargs="+",
        dest="packages",
        metavar="NAME",
        help="update only these packages, those of the same source, and their dependencies; "
        "the rest stays as locked",
    )
    source.add_argument(
        "--from",
        dest="archive",
        type=Path,
        metavar="ARCHIVE",
        help="pin the contents of an archive: verify every signature again, and use no mirror",
    )
    parser.add_argument(
        "--allow-older",
        action="store_true",
        help="accept all mirrors, however much older than the lock, to go back on purpose",
    )
    parser.add_argument(
        "--allow",
        nargs="+",
        default=[],
        metavar="NAME",
        help="accept that this package, or a repository such as v3.24/main, is older than in the "
        "lock or withdrawn; alpine-release: that the distribution has moved on",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace a damaged lock; the committed one, if there is one, must not be newer",
    )
    parser.add_argument("--engine", choices=["docker", "podman", "unshare"], help="use only this")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Pin, then print the changes; return 0, or 3 with --check when the lock is out of date."""
    config = read_config(arguments.config)
    check_writable([config.file.parent, config.build.work, config.build.store])
    with file_errors(config.build.work), one_run(config.file, "pin"):
        return _run(config, arguments, console)


def _run(config: ReleaseConfig, arguments: argparse.Namespace, console: Console) -> int:
    before = _previous(config.build.lock, arguments, console)
    if before is None and (arguments.check or arguments.packages):
        read_lock(config.build.lock)  # raises: there is none, with the command to run
    archive = open_archive(arguments.archive) if arguments.archive else None
    store = Store(config.build.store)
    # Until the lock is written, only this shared lock keeps `store gc` from the new blobs.
    with store.in_use():
        if before is not None and arguments.packages:
            # Report a stale choice before anything is fetched.
            check_fresh(before, config.build)
            complete_store(config, before, store, console)
        lock = _pin(config, store, archive, before, arguments, console)
        _print_lock(config, lock, before, console)
        if not arguments.check:
            write_lock(config.build.lock, lock)
    if arguments.check and before is not None and before.id != lock.id:
        raise StaleLockError(
            f"{config.build.lock}: a newer snapshot would change it",
            hint="run `nox -s pin` and review the difference",
        )
    return 0


def _previous(path: Path, arguments: argparse.Namespace, console: Console) -> Lock | None:
    """Return the lock to go on from; with --replace, the committed one if the file is damaged."""
    note, committed = console.progress.note, None
    try:
        return read_lock(path) if path.exists() else None
    except ConfigError as error:
        if not arguments.replace or not path.is_file():
            raise
        note(f"{error}: it is replaced")
    try:
        committed = revision_lock("HEAD", path)
    except ConfigError as error:
        note(str(error))
    note(f"{path}: {'compared with HEAD' if committed else 'no committed lock to compare with'}")
    return committed


def _pin(
    config: ReleaseConfig,
    store: Store,
    archive: Archive | None,
    before: Lock | None,
    arguments: argparse.Namespace,
    console: Console,
) -> Lock:
    # An archive may be older than the lock, and needs nothing of it. One that has several indexes
    # of a repository can only be pinned as it is: no index lists which packages were kept.
    previous, only = (None, None) if archive else (before, arguments.packages)
    if archive and archive.lock.mixed:
        previous, only = archive.lock, ()
        archive.fill(store, console.progress)
    request = PinRequest(
        config=config.build,
        store=store,
        engine_for=lambda root, argv: (
            choose_engine(root, argv, caller=os.environ, wanted=arguments.engine).engine
        ),
        extra_packages=DEPENDS,
        previous=previous,
        only=only,
        progress=console.progress,
        fetcher=archive.fetcher(config.build.source.base) if archive else None,
        allow_older=arguments.allow_older,
        allowed=frozenset(arguments.allow),
        now=time.time(),
    )
    lock = pin(request)
    if archive and archive.lock.id != lock.id:
        console.progress.note(
            f"not the lock of {archive.path}: release.toml or its keys changed since"
        )
    return lock


def _print_lock(config: ReleaseConfig, lock: Lock, before: Lock | None, console: Console) -> None:
    """Print the difference from the previous lock, and the contents of the new one."""
    closures = {name: len(lock.closure(name)) for name in lock.closures}
    same = before is not None and dump_lock(before) == dump_lock(lock)
    change = compare_locks(before, lock, names=("before", "after")) if before else None
    if change and not same:
        print_difference(change, console)
        console.line()
    console.line(
        f"{config.build.lock}: {'unchanged, ' if same else ''}"
        + ", ".join(f"{name} {count} packages" for name, count in closures.items())
        + f", {lock.apk_version}"
    )
    console.line(f"snapshot sha256:{lock.id}")
    console.data(
        {
            "lock": lock.id,
            "closures": closures,
            "changed": not same,
            "difference": document(change) if change else None,
        }
    )
