"""The release that this checkout builds: its source commit, lock and records."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from build.config import BuildConfig, Origin
from build.edges.process import PLAIN, Finished, run
from build.errors import ConfigError, SnowdropError
from build.snapshot.lock import Lock, check_fresh
from build.snapshot.lock_reader import read_lock
from build.words import did_you_mean
from ci.config import ReleaseConfig
from ci.release.version import parse_tag, version_of

ROOT = Path(__file__).resolve().parents[2]


def git(*words: str, folder: Path = ROOT, check: bool = True, stdin: bytes = b"") -> Finished:
    """Run git in `folder`, which is a checkout or in one, and return its result.

    Raises:
        ProcessError: it ended with another status than 0, and `check` is true.
    """
    # In a CI container the checkout may belong to another user, which git refuses (git-config,
    # safe.directory). No configuration of the user or the system may change the output.
    argv = ["git", "-c", f"safe.directory={ROOT}", "-c", f"safe.directory={folder}"]
    environment = {**PLAIN, "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    argv += ["-C", str(folder), *words]
    return run(argv, environment=environment, check=check, stdin=stdin)


def release_tags(folder: Path, *filters: str) -> list[str]:
    """Return the tags of the checkout in `folder` that may be of releases, the newest first.

    `filters` are options of git-for-each-ref(1). Outside a checkout there are no tags.
    """
    # The last --sort is the primary key: the version decides between tags of one second.
    words = ("--sort=-version:refname", "--sort=-creatordate", "--format=%(refname:strip=2)")
    listed = git("for-each-ref", *words, *filters, "refs/tags", folder=folder, check=False)
    return [tag for tag in listed.text.split() if parse_tag(tag)] if listed.status == 0 else []


def head_commit(folder: Path = ROOT) -> str:
    """Return the commit of the checkout in `folder`.

    Raises:
        ProcessError: it is no git work tree with a commit.
    """
    return git("rev-parse", "--verify", "HEAD", folder=folder).text.strip()


def changes(folder: Path, outputs: Iterable[Path] = ()) -> list[str]:
    """Return what differs from the commit of the checkout `folder`, as git-status(1) writes it.

    New files in the folders `outputs` do not count, unless files of such a folder are committed:
    then it has sources, too.

    Raises:
        ProcessError: it is no git work tree.
    """
    prefix = git("rev-parse", "--show-prefix", folder=folder).text.strip()
    own = []
    for output in outputs:
        path = output.resolve()
        if path != folder and path.is_relative_to(folder):
            name = str(path.relative_to(folder))
            if not git("ls-files", "--", f":(literal){name}", folder=folder).text:
                own.append(f"?? {prefix}{name}/")
    listed = git("status", "--porcelain", "-z", "--untracked-files=all", folder=folder).text
    return [entry for entry in listed.split("\0") if entry and not entry.startswith(tuple(own))]


def origin_of(config: ReleaseConfig, lock: Lock) -> Origin:
    """Return the name, version and source of a release built from this checkout.

    Raises:
        ConfigError: ROOT is no git work tree with a commit.
    """
    try:
        commit = head_commit()
        dirty = bool(changes(ROOT, (config.dist, config.build.store, config.build.work)))
    except SnowdropError as error:
        raise ConfigError(
            f"{ROOT}: git does not report the source commit: {error}",
            hint="build in a git checkout: an image names the commit it was built from",
        ) from None
    return Origin(
        name=config.name,
        version=version_of(lock, serial=config.serial, prerelease=config.prerelease, dirty=dirty),
        commit=commit,
        dirty=dirty,
    )


def chosen_variants(config: ReleaseConfig, wanted: str | None) -> list[str]:
    """Return the variant `wanted`, or all variants of release.toml for None.

    Raises:
        ConfigError: release.toml has no such variant.
    """
    variants = list(config.build.images)
    if wanted is None:
        return variants
    if wanted not in variants:
        raise ConfigError(
            f"{config.file}: image.{wanted}: no such variant{did_you_mean(wanted, variants)}, "
            f"expected one of: {', '.join(variants)}"
        )
    return [wanted]


def build_records(config: ReleaseConfig, wanted: str | None = None) -> list[Path]:
    """Return the build records of this release in dist, one for each variant or that of `wanted`.

    Raises:
        ConfigError: there is no such variant, or it has no record; the hint names the command.
    """
    lock = read_lock(config.build.lock)
    origin = origin_of(config, lock)
    paths = []
    for variant in chosen_variants(config, wanted):
        image = config.build.images[variant]
        path = config.dist / f"{origin.name}-{variant}-{origin.version}-{image.arch}.build.json"
        if not path.is_file():
            options = f" -- --variant {wanted}" if wanted else ""
            raise ConfigError(f"{path}: no such build record", hint=f"run `nox -s build{options}`")
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
    """Return the lock, which must have been written for this release.toml.

    Raises:
        ConfigError: there is no lock, or it is damaged.
        StaleLockError: release.toml chooses other packages since.
    """
    lock = read_lock(config.lock)
    check_fresh(lock, config)
    return lock
