"""`mirror`: mirror a signed release to the bucket; print the URL for the import of an image."""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

from build.errors import ConfigError
from ci.config import read_config
from ci.publish.mirror import Mirrored, mirror_release, open_bucket
from ci.publish.plan import import_urls
from ci.publish.release_files import read_release, require_loopback_if_dirty, require_protected
from ci.publish.summary import format_summary, read_summary
from ci.report.actions import write_summary
from ci.report.console import Console
from ci.report.table import size_text

HELP = "Mirror the signed release to the bucket that images are imported from"
SHORT_DIGEST = 16
"""Digits of a digest in the table; the JSON output has all of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments: `mirror` has none."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Mirror the release in dist and print its URLs."""
    config = read_config(arguments.config)
    spaces = config.spaces
    if spaces is None:
        raise ConfigError(
            f"{config.file}: no [spaces], expected the bucket to mirror to",
            hint="add [spaces] with bucket, region, endpoint and public_url",
        )
    with closing(open_bucket(spaces, console.environment)) as client:
        require_protected("spaces.endpoint", spaces.endpoint)
        release = read_release(config, console.progress)
        require_loopback_if_dirty(release.manifest, spaces.endpoint, spaces.public_url)
        mirrored = mirror_release(
            client, spaces, release, progress=console.progress, wait=time.sleep
        )
    urls = import_urls(spaces, release.manifest)
    _print_result(mirrored, urls, console)
    write_summary(console.environment, format_summary(read_summary(config)))
    console.data(
        {
            "version": release.manifest.version,
            "files": [asdict(file) for file in mirrored],
            "import": list(urls),
        }
    )
    return 0


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
