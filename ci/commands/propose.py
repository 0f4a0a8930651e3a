"""`propose`: one pull request with the new lock, updated in place; or the tag to push.

With `--compare`, tell before anything is kept whether the open pull request has the packages.
"""

import argparse
import time
from pathlib import Path

from build.config import Origin
from build.errors import ConfigError
from build.snapshot.lock import Lock, dump_lock
from build.snapshot.lock_reader import parse_lock
from ci.config import ReleaseConfig, read_config
from ci.publish.github_release import ReleaseHost
from ci.publish.proposal import OpenProposal, Proposal, ProposalHost
from ci.publish.release_files import require_protected
from ci.release.checkout import fresh_lock, git, head_commit, origin_of
from ci.release.lock_diff import compare_locks, format_markdown, is_same_choice
from ci.release.locks import MAX_LOCK, revision_lock
from ci.release.version import version_of
from ci.report.actions import write_outputs, write_summary
from ci.report.console import Console
from ci.report.safe_output import read_secret

HELP = "Propose the new lock as one pull request, or with --tag the tag of the next release"
NOTES = """\
This branch is overwritten by the next refresh. GitHub starts no workflow for a pull request of a
workflow's token: close and open it once, and the checks run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `propose`."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--compare",
        action="store_true",
        help="tell whether the open pull request has the packages of the new lock; change nothing",
    )
    chosen.add_argument(
        "--tag",
        action="store_true",
        help="print the commands that release this commit, if release.toml has `auto = true`",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Open or update the pull request, compare with it, or print the tag."""
    config = read_config(arguments.config)
    if arguments.compare:
        return _compare(config, console)
    return _propose_tag(config, console) if arguments.tag else _propose_lock(config, console)


def _propose_lock(config: ReleaseConfig, console: Console) -> int:
    lock = fresh_lock(config.build)
    before = revision_lock("HEAD", config.build.lock)
    if before and before.id == lock.id:
        console.line(f"{config.build.lock}: as committed, nothing to propose")
        console.data({"state": "unchanged", "url": None})
        return 0
    host = ProposalHost(
        config.github_api,
        config.repository,
        _token(config, console, "contents: write, pull-requests: write"),
        wait=time.sleep,
        permission="contents: write` and `pull-requests: write",
    )
    commit = head_commit(config.build.lock.parent.resolve())
    proposed = host.propose(_proposal(config, before, lock), commit=commit)
    console.line(f"{proposed.url}: {proposed.state}")
    write_summary(console.environment, f"## Pull request\n\n{proposed.url}: {proposed.state}")
    console.data({"state": proposed.state, "url": proposed.url})
    return 0


def _compare(config: ReleaseConfig, console: Console) -> int:
    """Tell later jobs whether the lock is to be kept and proposed."""
    lock = fresh_lock(config.build)
    host = ProposalHost(
        config.github_api,
        config.repository,
        _token(config, console, "contents: read, pull-requests: read"),
        wait=time.sleep,
        permission="contents: read` and `pull-requests: read",
    )
    found = host.find_open()
    reason = _why_other(config, lock, host, found) if found else "no pull request is open"
    url = found.url if found else None
    text = f"changed: {reason}" if reason else f"unchanged: {url} has these packages"
    write_outputs(console.environment, {"changed": "true" if reason else "false"})
    write_summary(console.environment, f"## Comparison\n\n{text}")
    console.line(text)
    console.data({"changed": bool(reason), "url": url})
    return 0


def _why_other(
    config: ReleaseConfig, lock: Lock, host: ProposalHost, found: OpenProposal
) -> str | None:
    """Return why the open pull request is not one of `lock`, None when it is."""
    if found.parents != (head_commit(config.build.lock.parent.resolve()),):
        return f"{found.url} was made from another commit"
    path = _path_in_repository(config.build.lock)
    content = host.read_file(found.tree, path, limit=MAX_LOCK)
    if content is None:
        return f"{found.url} has no {path} of at most {MAX_LOCK} bytes"
    try:
        proposed = parse_lock(content, where=path)
    except ConfigError:
        # The branch may have any text, so no part of it is printed.
        return f"{found.url} has a {path} that `nox -s pin` did not write"
    if not is_same_choice(proposed, lock):
        return f"{found.url} has other packages"
    # Of a run that failed after it had moved the branch, the text is the former one.
    return None if proposed.id in found.body else f"{found.url} does not describe its lock"


def _proposal(config: ReleaseConfig, before: Lock | None, lock: Lock) -> Proposal:
    version = version_of(lock, serial=0, dirty=False)
    # The end may be cut off; `--compare` looks for the digest.
    parts = [f"The lock has sha256 `{lock.id}`.", NOTES]
    if before is not None:
        difference = compare_locks(before, lock, names=("committed", "new"))
        parts.insert(1, format_markdown(difference))
    return Proposal(
        path=_path_in_repository(config.build.lock),
        content=dump_lock(lock).decode(),
        title=f"Pin {version}",
        body="\n\n".join(parts),
    )


def _path_in_repository(lock: Path) -> str:
    folder = lock.parent.resolve()
    prefix = git("rev-parse", "--show-prefix", folder=folder).text.strip()
    return f"{prefix}{lock.name}"


def _propose_tag(config: ReleaseConfig, console: Console) -> int:
    if not config.auto:
        console.line(f"{config.file}: release.auto is false, no tag is proposed")
        console.data({"tag": None})
        return 0
    origin = origin_of(config, fresh_lock(config.build))
    host = ReleaseHost(
        config.github_api,
        config.repository,
        _token(config, console, "contents: read"),
        wait=time.sleep,
        permission="contents: read",
    )
    tagged = host.commit_of(origin.version)
    if origin.dirty or tagged:
        state = _why_no_tag(config, origin, tagged)
        console.line(f"{origin.version}: {state}")
        write_summary(console.environment, f"## No tag\n\n`{origin.version}`: {state}")
        console.data({"tag": None})
        return 0
    # A workflow's token starts no workflow, and a release is a person's decision.
    commands = (
        "git fetch origin",
        f"git tag {origin.version} {origin.commit}",
        f"git push origin {origin.version}",
    )
    console.line("\n".join([f"{origin.version} can be released:", *commands]))
    listed = "\n".join(commands)
    markdown = f"## {origin.version} can be released\n\n```sh\n{listed}\n```"
    write_summary(console.environment, markdown)
    console.data({"tag": origin.version, "commit": origin.commit})
    return 0


def _why_no_tag(config: ReleaseConfig, origin: Origin, tagged: str | None) -> str:
    if origin.dirty:
        return "the working tree has changes, no tag is proposed"
    if tagged == origin.commit:
        return "is tagged already, no tag is proposed"
    # The version is the day of the newest package: several locks can have one.
    return (
        f"is the tag of another commit, no tag is proposed; to release this commit too, set "
        f"`serial = {config.serial + 1}` in {config.file.name} and commit it"
    )


def _token(config: ReleaseConfig, console: Console, permissions: str) -> str:
    token = read_secret(console.environment, "GITHUB_TOKEN")
    if not token:
        raise ConfigError(
            "GITHUB_TOKEN: not in the environment, expected a token for GitHub",
            hint=f"use one with the permissions {permissions} in {config.repository}",
        )
    require_protected("github.api", config.github_api)
    return token
