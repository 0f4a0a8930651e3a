"""`import`: verify a release, then make its image a custom image at DigitalOcean."""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from build.edges.download import Downloader, Request, bearer
from build.edges.temporary import temporary_folder
from build.errors import ConfigError, VerificationError
from ci.commands import one_run, parse_text, verify
from ci.config import ReleaseConfig, read_config
from ci.importing.api import Api
from ci.importing.plan import Wanted, describe, plan
from ci.importing.private import PrivateImage, private_bucket, remove_leftovers, upload
from ci.importing.run import ImportJob, run_import
from ci.importing.snippets import format_snippets
from ci.publish.mirror import open_bucket
from ci.publish.plan import mirror_url
from ci.regions import check_regions
from ci.release.github import web_of
from ci.report.console import Console
from ci.verify.target import Remote, locate
from ci.verify.verified import VerifiedImage, verify_image_of

HELP = "Verify a release, then import its image as a custom image at DigitalOcean"
API = "https://api.digitalocean.com"
TAG, VIA_TAG = "snowdrop-sha256-", "snowdrop-via-sha256-"
"""Before the digest of the image: a later run finds by it what an earlier one imported.

The second one is on images that came by a bucket of the importer. With `--via` only those count,
since an image that was fetched from a mirror may have other bytes than were checked.
"""
GITHUB_FILES = "/releases/download/"
"""In the address of files at GitHub, which redirects: DigitalOcean does not import from there."""
MAX_SECONDS = 7200.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `import`: those of `verify`, and where to import to."""
    verify.add_target_arguments(parser)
    parser.add_argument("--variant", type=parse_text, help="the image, if the release has several")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        type=parse_text,
        metavar="SLUG",
        help="where the image is to be, such as fra1; repeatable, the first one imports it",
    )
    parser.add_argument(
        "--unlisted-region",
        action="store_true",
        help="accept a region that is newer than the list of this checkout",
    )
    parser.add_argument("--name", type=parse_text, help="of the custom image")
    parser.add_argument(
        "--via",
        type=parse_text,
        metavar="s3://BUCKET",
        help="import from a bucket of your own, where nobody else can change the bytes",
    )
    parser.add_argument(
        "--endpoint", type=parse_text, metavar="URL", help="of that bucket (default: Spaces)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=MAX_SECONDS,
        metavar="S",
        help="limit in seconds for an import and for a copy (default: %(default)g)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    parser.add_argument(
        "--snippets", action="store_true", help="print commands that use the image; ask no API"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify, import and print the number of the image."""
    config = read_config(arguments.config) if arguments.config else None
    regions = _regions(arguments, config)
    work = config.build.work if config else Path(".snowdrop") / "work"
    with temporary_folder("import-", work) as folder, ExitStack() as stack:
        if not arguments.snippets:
            url = config.imports.api if config and config.imports else API
            api = Api(url, console.environment, time.sleep)
        found = verify_image_of(arguments, folder / "release", console, variant=arguments.variant)
        name = arguments.name or _name(found, config)
        if arguments.snippets:
            snippets = format_snippets(image="IMAGE_ID", name=name, regions=regions)
            console.line(snippets)
            console.data({"snippets": snippets, "sha256": found.image.sha256})
            return 0
        digest = found.image.sha256
        wanted = Wanted(tag=(VIA_TAG if arguments.via else TAG) + digest, regions=regions)
        if arguments.dry_run:
            steps = [describe(action, name) for action in plan(wanted, api.find(wanted.tag))]
            console.line("\n".join(steps))
            console.data({"plan": steps, "sha256": digest})
            return 0
        # Two at once would find no custom image of this digest and import it twice, and the first
        # to end would remove the object in the bucket that the other is imported from.
        place = arguments.config or Path("release.toml")
        stack.enter_context(one_run(place, f"import of {found.image.name}"))
        source = _source(arguments, config, regions[0], found, stack, console)
        job = ImportJob(
            api=api,
            wanted=wanted,
            name=name,
            description=f"{found.manifest.repository} {found.manifest.version}, "
            f"sha256 {found.image.sha256}",
            tags=(
                *([TAG + digest] if arguments.via else []),
                *(config.imports.tags if config and config.imports else ()),
            ),
            url=source.prepare,
            seconds=arguments.timeout,
            progress=console.progress,
        )
        image = run_import(job)
        source.confirm(image.number)
    console.line(f"custom image {image.number}: {image.name} in {', '.join(image.regions)}\n")
    console.line(format_snippets(image=str(image.number), name=name, regions=regions))
    console.data(
        {"image": image.number, "regions": list(image.regions), "sha256": found.image.sha256}
    )
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the service fetches the image from."""

    prepare: Callable[[], str]
    """Returns the URL, after its bytes were compared with the verified image."""
    confirm: Callable[[int], None]
    """Checks the source again when the custom image of this number is there."""


def _regions(arguments: argparse.Namespace, config: ReleaseConfig | None) -> tuple[str, ...]:
    regions = tuple(dict.fromkeys(arguments.region))
    if not regions and config and config.imports:
        regions = config.imports.regions
    if not regions:
        raise ConfigError("import: no region", hint="name one with `--region`, such as fra1")
    if arguments.region:  # those of the configuration were checked when it was read
        check_regions(
            regions, "--region", unlisted=arguments.unlisted_region, accept="--unlisted-region"
        )
    return regions


def _name(found: VerifiedImage, config: ReleaseConfig | None) -> str:
    prefix = config.imports.name if config and config.imports else found.manifest.name
    return f"{prefix}-{found.manifest.version}"


def _source(
    arguments: argparse.Namespace,
    config: ReleaseConfig | None,
    region: str,
    found: VerifiedImage,
    stack: ExitStack,
    console: Console,
) -> Source:
    """Return where to import from: a bucket of the importer, or a public URL."""
    if arguments.via:
        bucket = private_bucket(arguments.via, region=region, endpoint=arguments.endpoint)
        client = stack.enter_context(closing(open_bucket(bucket, console.environment)))
        image = PrivateImage(path=found.path, sha256=found.image.sha256)
        # Whether or not something is imported this time: an earlier run may have been killed.
        stack.callback(remove_leftovers, client, bucket, image)
        return Source(
            prepare=lambda: upload(client, bucket, image, console.progress),
            confirm=lambda _: None,
        )
    web = web_of(config.github_api if config else "https://api.github.com")
    target = locate(arguments.target, repository=found.manifest.repository, web=web)
    if isinstance(target, Remote) and GITHUB_FILES not in target.base:
        url = f"{target.base}/{found.image.name}"
    elif config and config.spaces:
        url = mirror_url(config.spaces, found.manifest.version, found.image.name)
    else:
        raise ConfigError(
            f"{arguments.target}: no URL that DigitalOcean can import from",
            hint="verify the mirror's URL instead, name a release.toml with [spaces] by "
            "`--config`, or use a bucket of your own: `--via s3://BUCKET`",
        )
    return Source(
        prepare=lambda: _checked(url, found, console),
        confirm=lambda number: _confirm(url, found, console, number),
    )


def _checked(url: str, found: VerifiedImage, console: Console) -> str:
    """Return `url` after its bytes were downloaded and compared with the verified image."""
    _compare(url, found, console, hint="use `--via s3://BUCKET`")
    console.progress.note(
        "the bytes were right a moment ago: from here on, who controls the mirror decides what is "
        "imported; `--via s3://BUCKET` excludes that"
    )
    return url


def _confirm(url: str, found: VerifiedImage, console: Console, number: int) -> None:
    """Compare the bytes once more: a lasting change since the first time is found."""
    hint = f"custom image {number} may have them: delete it, then use `--via s3://BUCKET`"
    _compare(url, found, console, hint=hint)


def _compare(url: str, found: VerifiedImage, console: Console, *, hint: str) -> None:
    image = found.image
    with console.progress.step(f"Check {url}", total=image.size) as step:
        request = Request(url=url, limit=image.size, exact=True, auth=bearer(None), redirects=0)
        sha256 = Downloader(time.sleep, "").fetch(request, watch=step.advance).sha256
    if sha256 != image.sha256:
        raise VerificationError(
            f"{url}: has sha256 {sha256}, the verified image has {image.sha256}",
            hint=f"the mirror serves other bytes: {hint}, and report it",
        )
