"""Which release this checkout builds: its version, its source commit, its records."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from build.config import BuildConfig, Origin
from build.edges.process import PLAIN, Finished, run
from build.errors import ConfigError, SnowdropError
from build.snapshot.lock import Lock, read_lock
from ci.config import ReleaseConfig

ROOT = Path(__file__).resolve().parents[2]
DIRTY = "-dirty"


def version_of(lock: Lock, *, serial: int, dirty: bool) -> str:
    """Return the version of a release: branch, date of the lock's epoch, serial, dirty mark.

    The epoch is the newest build time of any package in the lock, in UTC: the version says how
    new the packages are, and no clock of this machine has a part in it.
    """
    day = datetime.fromtimestamp(lock.epoch, tz=UTC).strftime("%Y%m%d")
    parts = [lock.branch, day, *([str(serial)] if serial else [])]
    return ".".join(parts) + (DIRTY if dirty else "")


def git(*words: str, folder: Path = ROOT, check: bool = True, stdin: bytes = b"") -> Finished:
    """Return what git says in `folder`, which is a checkout or in one.

    Raises:
        ProcessError: it ended with another status than 0, and `check` is true.
    """
    # Ownership of a checkout in a CI container differs at times; git then needs to be told.
    argv = ["git", "-c", f"safe.directory={ROOT}", "-c", f"safe.directory={folder}"]
    environment = {**PLAIN, "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    argv += ["-C", str(folder), *words]
    return run(argv, environment=environment, check=check, stdin=stdin)


def source_commit(root: Path = ROOT) -> tuple[str, bool]:
    """Return the commit of the sources in `root`, and whether they were changed since.

    Raises:
        ConfigError: `root` is no git work tree with a commit.
    """
    try:
        commit = git("rev-parse", "--verify", "HEAD", folder=root).text.strip()
        changes = git("status", "--porcelain", folder=root).text
    except SnowdropError as error:
        raise ConfigError(
            f"{root}: git does not tell the source commit: {error}",
            hint="build from a git checkout: an image names the commit it was built from",
        ) from None
    return commit, bool(changes.strip())


def origin_of(config: ReleaseConfig, lock: Lock) -> Origin:
    """Return the name, version and source of what is built here now."""
    commit, dirty = source_commit()
    return Origin(
        name=config.name,
        version=version_of(lock, serial=config.serial, dirty=dirty),
        commit=commit,
        dirty=dirty,
    )


def build_records(config: ReleaseConfig) -> list[Path]:
    """Return the build records of this release in dist, one a variant, sorted by variant.

    Raises:
        ConfigError: a variant of release.toml has no record; with the command to run.
    """
    lock = read_lock(config.build.lock)
    origin = origin_of(config, lock)
    paths = []
    for variant, image in config.build.images.items():
        path = config.dist / f"{origin.name}-{variant}-{origin.version}-{image.arch}.build.json"
        if not path.is_file():
            raise ConfigError(f"{path}: no such build record", hint="run `nox -s build`")
        paths.append(path)
    return paths


def read_record(path: Path) -> Mapping[str, Any]:
    """Return a build record or boot report, whose format version must be 1.

    Raises:
        ConfigError: it cannot be read, or is another format.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(record, dict) or record.get("format") != 1:
        raise ConfigError(f"{path}: not a record of format 1", hint="run `nox -s build` again")
    return record


def fresh_lock(config: BuildConfig) -> Lock:
    """Return the lock, which must have been made from this release.toml.

    Raises:
        ConfigError: there is no lock, or it is damaged.
        StaleLockError: release.toml chose other packages since.
    """
    from build.snapshot.lock import check_fresh

    lock = read_lock(config.lock)
    check_fresh(lock, config)
    return lock
