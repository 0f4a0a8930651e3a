"""`publish`: a signed release -> a release at GitHub, whole and read back before anyone sees it."""

import argparse
import time
from dataclasses import asdict

from build.errors import ConfigError
from ci.config import read_config
from ci.publish.github_release import ReleaseHost
from ci.publish.notes import release_notes
from ci.publish.publish import Published, publish_release
from ci.publish.release_files import read_release, require_loopback_if_dirty, require_protected
from ci.report.console import Console

HELP = "Publish the signed release at GitHub, after reading back every byte"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `publish` takes."""
    parser.add_argument(
        "--replace", action="store_true", help="exchange files of a draft that differ"
    )
    parser.add_argument(
        "--notes", action="store_true", help="print the release notes and publish nothing"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Publish what dist holds, and tell where it is."""
    config = read_config(arguments.config)
    if arguments.notes:
        notes = release_notes(config, read_release(config, console.progress))
        console.line(notes)
        console.data({"notes": notes})
        return 0
    token = console.environment.get("GITHUB_TOKEN", "")
    if not token:
        raise ConfigError(
            "GITHUB_TOKEN: not in the environment, expected a token for GitHub",
            hint=f"give one that may write contents of {config.repository}",
        )
    require_protected("github.api", config.github_api)
    release = read_release(config, console.progress)
    require_loopback_if_dirty(release.manifest, config.github_api)
    published = publish_release(
        ReleaseHost(config.github_api, config.repository, token, wait=time.sleep),
        release,
        release_notes(config, release),
        replace=arguments.replace,
        progress=console.progress,
    )
    _tell(published, console)
    console.data({"tag": release.manifest.tag, **asdict(published)})
    return 0


def _tell(published: Published, console: Console) -> None:
    if published.before:
        console.line(f"{published.url}: published already, all {len(published.kept)} files agree")
    else:
        console.line(
            f"{published.url}: published, {len(published.uploaded)} files uploaded, "
            f"{len(published.kept)} kept, all read back"
        )
    if not published.immutable:
        console.progress.note(
            "GitHub lets this release be changed: switch on immutable releases in the settings"
        )
