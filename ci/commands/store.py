"""`store`: verify the blobs, delete unneeded ones, add those of an archive, or push a snapshot."""

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

from build.edges.build_dirs import file_errors
from build.edges.temporary import temporary_folder
from build.errors import ConfigError
from build.snapshot.archive import open_archive
from build.snapshot.lock import Lock
from build.snapshot.lock_reader import read_lock
from build.snapshot.restore import names_of
from build.snapshot.store import Store
from ci.commands import one_run
from ci.config import ReleaseConfig, read_config
from ci.publish.github_release import ReleaseHost
from ci.publish.kept import Kept, keep_at_github, keep_in_space, write_snapshot
from ci.publish.mirror import open_bucket
from ci.publish.release_files import ReleaseFile, require_protected
from ci.release.locks import release_locks
from ci.release.snapshots import complete_store
from ci.report.actions import write_summary
from ci.report.console import Console
from ci.report.safe_output import read_secret
from ci.report.table import size_text

HELP = "Maintain the store: verify it, delete unneeded blobs, add an archive, or push the snapshot"
KEEP = 3
"""Releases whose blobs are kept by default."""
UNKNOWN = "named by no lock of the last releases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `store`."""
    parser.add_argument(
        "action",
        choices=["verify", "gc", "take", "push"],
        help="verify: hash every blob, and move damaged ones to the quarantine; "
        "gc: delete blobs that neither the lock nor a kept release needs; "
        "take: add the blobs of a snapshot archive, of any release; "
        "push: keep the snapshot of the lock in the Space, or without one at GitHub",
    )
    parser.add_argument(
        "archive", nargs="?", type=Path, metavar="ARCHIVE", help="take: the snapshot archive"
    )
    parser.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help=f"gc: releases to keep besides the lock, newest tags first (default: {KEEP})",
    )
    parser.add_argument("--dry-run", action="store_true", help="gc: delete nothing, only print")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify the store (1 when a blob is damaged), sweep it, add an archive, or push."""
    config = read_config(arguments.config)
    store, action = Store(config.build.store), arguments.action
    if action != "gc" and (arguments.dry_run or arguments.keep is not None):
        raise ConfigError(f"store {action}: takes neither --keep nor --dry-run")
    if (action == "take") != (arguments.archive is not None):
        raise ConfigError("ARCHIVE: expected by `store take` alone")
    with file_errors(store.folder):
        if action == "take":
            return _take(arguments.archive, store, console)
        if action == "push":
            with one_run(config.file, "store push"):
                return _push(config, store, console)
        if action == "verify":
            return _verify(config, store, console)
        keep = KEEP if arguments.keep is None else arguments.keep
        return _sweep(config, store, keep, arguments.dry_run, console)


def _verify(config: ReleaseConfig, store: Store, console: Console) -> int:
    locks = _locks(config, KEEP, needed=False)
    names = {sha256: name for lock in locks.values() for sha256, name in names_of(lock).items()}
    blobs = list(store.blobs())
    total = sum(size for _, size in blobs)
    damaged: dict[str, str] = {}
    with console.progress.step(f"Hash {len(blobs)} blobs", total=total) as step:
        for sha256, size in blobs:
            if not store.whole(sha256) and (aside := store.quarantine(sha256)):
                damaged[sha256] = str(aside)
            step.advance(size)
    missing = sorted(sha256 for sha256 in names if not store.has(sha256))
    if damaged:
        rows = [[names.get(sha256, UNKNOWN), aside] for sha256, aside in damaged.items()]
        console.table(rows, header=["damaged", "moved to"])
        console.line("`nox -s build` fetches those again that it needs")
    console.line(
        f"{store.folder}: {len(blobs) - len(damaged)} blobs intact, {len(damaged)} damaged, "
        f"{size_text(total)} hashed"
    )
    if lost := [names[sha256] for sha256 in missing if sha256 not in damaged]:
        console.line(f"{len(lost)} more that {', '.join(locks)} name are not in the store")
    console.data(
        {
            "blobs": len(blobs),
            "bytes": total,
            "damaged": {
                sha256: {"name": names.get(sha256), "moved_to": aside}
                for sha256, aside in damaged.items()
            },
            "missing": {sha256: names[sha256] for sha256 in missing},
        }
    )
    return 1 if damaged else 0


def _take(path: Path, store: Store, console: Console) -> int:
    archive = open_archive(path)
    with store.in_use():
        archive.fill(store, console.progress)
    console.line(f"{store.folder}: contains {path}, snapshot {archive.lock.id}")
    console.data({"archive": str(path), "lock": archive.lock.id, "blobs": len(archive.members)})
    return 0


def _push(config: ReleaseConfig, store: Store, console: Console) -> int:
    lock, work = read_lock(config.build.lock), config.build.work
    with ExitStack() as stack:
        keep = _open_target(config, console, stack)
        stack.enter_context(store.in_use())
        complete_store(config, lock, store, console)
        stack.enter_context(file_errors(work))
        folder = stack.enter_context(temporary_folder("push-", work))
        kept = keep(lock, write_snapshot(folder, lock, store, console.progress))
    text = f"{kept.url}: {kept.state}, {size_text(kept.size)}"
    console.line(text)
    console.line(f"  snapshot {kept.lock}")
    write_summary(console.environment, f"## Kept snapshot\n\n{text}")
    console.data(asdict(kept))
    return 0


def _open_target(
    config: ReleaseConfig, console: Console, stack: ExitStack
) -> Callable[[Lock, ReleaseFile], Kept]:
    """Return what keeps an archive in the Space of release.toml, without [spaces] at GitHub.

    Raises:
        ConfigError: the key of the Space or the token is missing; it names the variable.
    """
    if spaces := config.spaces:
        require_protected("spaces.endpoint", spaces.endpoint)
        client = stack.enter_context(closing(open_bucket(spaces, console.environment)))
        return partial(keep_in_space, client, spaces, progress=console.progress, wait=time.sleep)
    token = read_secret(console.environment, "GITHUB_TOKEN")
    if not token:
        raise ConfigError(
            "GITHUB_TOKEN: not in the environment, expected a token for GitHub, since "
            f"{config.file} has no [spaces]",
            hint=f"use one with the permission `contents: write` in {config.repository}",
        )
    require_protected("github.api", config.github_api)
    host = ReleaseHost(config.github_api, config.repository, token, wait=time.sleep)
    return partial(keep_at_github, host, progress=console.progress)


def _sweep(config: ReleaseConfig, store: Store, keep: int, dry_run: bool, console: Console) -> int:
    # Under the exclusive lock no other process can write a release.lock whose blobs go here.
    with store.alone():
        # Without a lock nothing would be kept: it is needed here.
        locks = _locks(config, keep, needed=True)
        needed = {sha256 for lock in locks.values() for sha256 in names_of(lock)}
        swept = store.sweep(needed, dry_run=dry_run)
    freed_bytes = swept.blob_bytes + swept.leftover_bytes
    leftovers = f", {swept.leftovers} damaged or half-written files" if swept.leftovers else ""
    console.line(f"kept for {', '.join(locks)}")
    console.line(
        f"{store.folder}: {'would free' if dry_run else 'freed'} {size_text(freed_bytes)} "
        f"({len(swept.blobs)} blobs{leftovers}), "
        f"kept {size_text(swept.kept_bytes)} ({swept.kept} blobs)"
    )
    console.data(
        {
            "dry_run": dry_run,
            "kept_for": list(locks),
            "freed": list(swept.blobs),
            "freed_bytes": freed_bytes,
            "leftovers": swept.leftovers,
            "kept": swept.kept,
            "kept_bytes": swept.kept_bytes,
        }
    )
    return 0


def _locks(config: ReleaseConfig, keep: int, *, needed: bool) -> Mapping[str, Lock]:
    """Return the current lock and those of the `keep` newest releases, by file name or tag.

    Raises:
        ConfigError: there is no lock, and it is `needed`.
    """
    path = config.build.lock
    locks = {str(path): read_lock(path)} if needed or path.exists() else {}
    return locks | dict(release_locks(path, keep))


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 0")
    return int(text)
