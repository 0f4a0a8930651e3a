"""`mirror`: a signed release -> the bucket, and the URL that an image is imported from."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict

from build.errors import ConfigError
from ci.config import read_config
from ci.publish.mirror import Mirrored, access_from, mirror_release, open_bucket
from ci.publish.plan import import_urls
from ci.publish.release_files import read_release, require_loopback_if_dirty, require_protected
from ci.report.console import Console
from ci.report.table import size_text

HELP = "Mirror the signed release to the bucket that images are imported from"
SHORT = 16
"""Digits of a digest in the table; all of them are in the output as JSON."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `mirror` takes: nothing of its own."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Mirror what dist holds, and tell where it is."""
    config = read_config(arguments.config)
    spaces = config.spaces
    if spaces is None:
        raise ConfigError(
            f"{config.file}: no [spaces], expected the bucket to mirror to",
            hint="add [spaces] with bucket, region, endpoint and public_url",
        )
    access = access_from(console.environment)
    require_protected("spaces.endpoint", spaces.endpoint)
    release = read_release(config, console.progress)
    require_loopback_if_dirty(release.manifest, spaces.endpoint, spaces.public_url)
    client = open_bucket(spaces, access)
    try:
        mirrored = mirror_release(
            client, spaces, release, progress=console.progress, wait=time.sleep
        )
    finally:
        client.close()
    urls = import_urls(spaces, release)
    _tell(mirrored, urls, console)
    console.data(
        {
            "version": release.manifest.version,
            "files": [asdict(file) for file in mirrored],
            "import": list(urls),
        }
    )
    return 0


def _tell(mirrored: Sequence[Mirrored], urls: Sequence[str], console: Console) -> None:
    console.table(
        [
            [file.name, size_text(file.size), file.sha256[:SHORT], file.state, file.url]
            for file in mirrored
        ],
        header=["file", "size", "sha256", "", "URL"],
    )
    for url in urls:
        console.line(f"import URL: {url}")
