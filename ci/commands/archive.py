"""`archive`: write the snapshot of the lock as one file, with the same bytes each time."""

import argparse
from pathlib import Path

from build.errors import ConfigError
from build.snapshot.archive import write_archive
from build.snapshot.store import Store
from ci.commands import one_run
from ci.config import ReleaseConfig, read_config
from ci.release.checkout import ROOT, fresh_lock, origin_of
from ci.release.manifest import archive_name
from ci.release.snapshots import complete_store
from ci.report.console import Console
from ci.report.table import size_text

HELP = "Write the snapshot as one archive that needs no mirror, for the release"
PUBLIC_ROOT = ROOT / "ci" / "verify" / "trust" / "trusted_root.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `archive`."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the file to write (default: in dist, under the name that `sign` expects)",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the archive of the lock and print its digest."""
    config = read_config(arguments.config)
    with one_run(config.file, "archive"):
        return _run(config, arguments.output, console)


def _run(config: ReleaseConfig, path: Path | None, console: Console) -> int:
    lock, store = fresh_lock(config.build), Store(config.build.store)
    if path is None:
        origin = origin_of(config, lock)
        path = config.dist / archive_name(origin.name, origin.version)
    elif path.is_dir():
        raise ConfigError(f"--output {path}: a folder, expected a file")
    with store.in_use():
        complete_store(config, lock, store, console)
        written = write_archive(
            path, lock, store, trust_root=_trust_root(config), progress=console.progress
        )
    console.line(f"{path}: {size_text(written.size)}")
    console.line(f"  sha256:{written.sha256}")
    console.line(f"  snapshot {lock.id}")
    console.data(
        {"file": str(path), "size": written.size, "sha256": written.sha256, "lock": lock.id}
    )
    return 0


def _trust_root(config: ReleaseConfig) -> bytes | None:
    """Return the public sigstore's trust root; None when another instance signs."""
    # The root of another instance is a file of this machine, which each rehearsal creates again:
    # with it, the same commit and lock would give other archives elsewhere.
    if config.sign.trust_root or not PUBLIC_ROOT.is_file():
        return None
    return PUBLIC_ROOT.read_bytes()
