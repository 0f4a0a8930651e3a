"""`publish`: publish a signed release at GitHub; every byte is read back before it is public."""

import argparse
import time
from dataclasses import asdict

from build.errors import ConfigError
from build.words import counted
from ci.commands import one_run
from ci.config import read_config
from ci.publish.adopt import release_verifier
from ci.publish.attestations import AttestationStore
from ci.publish.github_release import ReleaseHost
from ci.publish.notes import release_notes
from ci.publish.publish import Published, plan_publication, publish_release
from ci.publish.release_files import read_release, require_loopback_if_dirty, require_protected
from ci.publish.summary import format_summary, read_summary
from ci.report.actions import write_summary
from ci.report.console import Console
from ci.report.safe_output import read_secret

HELP = "Publish the signed release at GitHub, after reading back every byte"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `publish`."""
    parser.add_argument("--replace", action="store_true", help="replace different files of a draft")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    parser.add_argument(
        "--notes", action="store_true", help="print the release notes and publish nothing"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Publish the release in dist and print its URL."""
    config = read_config(arguments.config)
    if arguments.notes:
        notes = release_notes(config, read_release(config, console.progress))
        console.line(notes)
        console.data({"notes": notes})
        return 0
    token = read_secret(console.environment, "GITHUB_TOKEN")
    if not token:
        raise ConfigError(
            "GITHUB_TOKEN: not in the environment, expected a token for GitHub",
            hint="use one with the permissions `contents: write` and `attestations: write` in "
            f"{config.repository}",
        )
    require_protected("github.api", config.github_api)
    release = read_release(config, console.progress)
    require_loopback_if_dirty(release.manifest, config.github_api)
    host = ReleaseHost(config.github_api, config.repository, token, wait=time.sleep)
    store = AttestationStore(config.github_api, config.repository, token, wait=time.sleep)
    if arguments.dry_run:
        steps = plan_publication(host, store, release, replace=arguments.replace)
        console.table([list(step) for step in steps])
        console.data({"plan": [list(step) for step in steps]})
        return int(any(action == "refuse" for action, _ in steps))
    # Each of two would find no draft and make one: GitHub allows several of one tag.
    with one_run(config.file, "publish"):
        published = publish_release(
            host,
            store,
            release,
            release_notes(config, release),
            replace=arguments.replace,
            # In the run of a tag, a tag that is gone was deleted to stop the release.
            needs_tag=console.environment.get("GITHUB_REF_TYPE") == "tag",
            verify=release_verifier(config, release.manifest.tag),
            progress=console.progress,
        )
    _print_result(published, console)
    write_summary(console.environment, format_summary(read_summary(config)))
    console.data({"tag": release.manifest.tag, **asdict(published)})
    return 0


def _print_result(published: Published, console: Console) -> None:
    if published.before:
        console.line(
            f"{published.url}: published before, all {len(published.kept)} files are equal"
        )
    else:
        console.line(
            f"{published.url}: published, {counted(len(published.uploaded), 'file')} uploaded, "
            f"{len(published.kept)} kept, all read back"
        )
    if published.attestation != "absent":
        console.line(f"attestation of the provenance: {published.attestation}, read back")
    if not published.immutable:
        console.progress.note(
            "GitHub allows changes of this release: enable immutable releases in the settings"
        )
