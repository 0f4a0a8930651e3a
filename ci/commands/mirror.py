"""`mirror`: mirror a signed release to the bucket; print the URL for the import of an image."""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from build.errors import ConfigError
from ci.catalogue.catalogue import PAGE, Catalogue
from ci.catalogue.entry import make_entry
from ci.catalogue.upload import CatalogueBucket, plan_catalogue, update_catalogue
from ci.commands import parse_text
from ci.config import ReleaseConfig, SpacesConfig, read_config
from ci.publish.mirror import Mirrored, mirror_release, open_bucket, plan_mirror
from ci.publish.plan import import_urls
from ci.publish.release_files import (
    ReleaseFiles,
    read_release,
    require_loopback_if_dirty,
    require_protected,
)
from ci.publish.summary import format_summary, read_summary
from ci.report.actions import write_summary
from ci.report.console import Console
from ci.report.table import size_text

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

HELP = "Mirror the signed release to the bucket that images are imported from"
SHORT_DIGEST = 16
"""Digits of a digest in the table; the JSON output has all of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mirror`."""
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    parser.add_argument(
        "--withdraw",
        type=parse_text,
        metavar="TAG",
        help="mark a release in the catalogue as withdrawn; its files stay",
    )
    parser.add_argument("--reason", type=parse_text, metavar="TEXT", help="of the withdrawal")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Mirror the release in dist and print its URLs; or withdraw a release."""
    config = read_config(arguments.config)
    spaces = config.spaces
    if spaces is None:
        raise ConfigError(
            f"{config.file}: no [spaces], expected the bucket to mirror to",
            hint="add [spaces] with bucket, region, endpoint and public_url",
        )
    if bool(arguments.withdraw) != bool(arguments.reason):
        raise ConfigError("expected --withdraw and --reason together")
    with closing(open_bucket(spaces, console.environment)) as client:
        require_protected("spaces.endpoint", spaces.endpoint)
        title = f"{config.name}: images of {config.repository}"
        bucket = CatalogueBucket(client=client, spaces=spaces, title=title)
        if arguments.withdraw:
            tag, reason = arguments.withdraw, arguments.reason
            return _change(
                bucket, lambda old: old.with_withdrawn(tag, reason), arguments.dry_run, console
            )
        release = read_release(config, console.progress)
        require_loopback_if_dirty(release.manifest, spaces.endpoint, spaces.public_url)
        # Made first: a statement in another form is found before anything is uploaded.
        entry = make_entry(config.dist, release.manifest, spaces)
        if arguments.dry_run:
            return _print_plan(client, bucket, release, lambda old: old.with_entry(entry), console)
        mirrored = mirror_release(
            client, spaces, release, progress=console.progress, wait=time.sleep
        )
        update_catalogue(
            bucket,
            lambda old: old.with_entry(entry),
            progress=console.progress,
            wait=time.sleep,
        )
    _report(config, spaces, release, mirrored, bucket.url(PAGE), console)
    return 0


def _change(
    bucket: CatalogueBucket,
    change: Callable[[Catalogue], Catalogue],
    dry_run: bool,
    console: Console,
) -> int:
    """Change the catalogue alone."""
    if dry_run:
        steps = plan_catalogue(bucket, change)
        console.table([list(step) for step in steps])
        console.data({"plan": [list(step) for step in steps]})
        return 0
    catalogue = update_catalogue(bucket, change, progress=console.progress, wait=time.sleep)
    withdrawn = [entry.version for entry in catalogue.entries if entry.withdrawn]
    console.line(f"{bucket.url(PAGE)}: withdrawn: {', '.join(withdrawn)}")
    console.data({"catalogue": bucket.url(PAGE), "withdrawn": withdrawn})
    return 0


def _print_plan(
    client: "S3Client",
    bucket: CatalogueBucket,
    release: ReleaseFiles,
    change: Callable[[Catalogue], Catalogue],
    console: Console,
) -> int:
    """Print what `mirror` would do; return 1 when it would refuse."""
    steps = plan_mirror(client, bucket.spaces, release) + plan_catalogue(bucket, change)
    console.table([list(step) for step in steps])
    console.data({"plan": [list(step) for step in steps]})
    return int(any(action == "refuse" for action, _ in steps))


def _report(
    config: ReleaseConfig,
    spaces: SpacesConfig,
    release: ReleaseFiles,
    mirrored: Sequence[Mirrored],
    page: str,
    console: Console,
) -> None:
    urls = import_urls(spaces, release.manifest)
    _print_result(mirrored, urls, console)
    console.line(f"catalogue: {page}")
    write_summary(console.environment, format_summary(read_summary(config)))
    console.data(
        {
            "version": release.manifest.version,
            "files": [asdict(file) for file in mirrored],
            "import": list(urls),
            "catalogue": page,
        }
    )


def _print_result(mirrored: Sequence[Mirrored], urls: Sequence[str], console: Console) -> None:
    console.table(
        [
            [file.name, size_text(file.size), file.sha256[:SHORT_DIGEST], file.state, file.url]
            for file in mirrored
        ],
        header=["file", "size", "sha256", "", "URL"],
    )
    for url in urls:
        console.line(f"import URL: {url}")
