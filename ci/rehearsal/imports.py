"""The last steps of a rehearsal: DigitalOcean's double imports the verified images, both ways."""

import json
from pathlib import Path
from typing import Protocol

import requests

from build.edges.files import hash_file
from build.errors import VerificationError
from build.words import counted
from ci.config import ReleaseConfig
from ci.rehearsal.configuration import BUCKET
from ci.rehearsal.digitalocean.state import LOG
from ci.release.manifest import Artifact, Manifest, variant_of

VIA_REGION = "nyc3"
SECONDS = 10.0


class Run(Protocol):
    """Runs one command of the rehearsal as a step."""

    def __call__(self, *words: str, result: "Result") -> None:
        """Run `python -m ci WORDS`; `result` describes what it made."""


class Result(Protocol):
    """Describes the result of a step in one line."""

    def __call__(self) -> str:
        """Return the line."""


def rehearse_imports(
    run: Run, config: ReleaseConfig, manifest: Manifest, *, mirror: str, policy: Path, double: Path
) -> None:
    """Import each image from the mirror, and the first one by a bucket of the importer.

    `mirror` is the URL of the mirrored release, `double` the folder of DigitalOcean's double.

    Raises:
        VerificationError: the double fetched other bytes than the signed ones, or not by HEAD and
            GET of the image, or the bucket still has them.
    """
    assert config.spaces is not None  # for the type checker: release_toml writes [spaces]
    endpoint = config.spaces.endpoint
    images = manifest.of_role("image")
    for image in images:
        options = ("--policy", str(policy), "--variant", variant_of(manifest, image))
        run("import", mirror, *options, result=lambda image=image: describe(double, image))
    image = images[0]
    options = ("--policy", str(policy), "--variant", variant_of(manifest, image))
    via = ("--region", VIA_REGION, "--via", f"s3://{BUCKET}", "--endpoint", endpoint)
    run("import", manifest.tag, *options, *via, result=lambda: describe_via(double, image))


def describe(double: Path, image: Artifact) -> str:
    """Return a line about the newest import, after a comparison with the signed image."""
    number, _ = _check_newest(double, image)
    return f"image {number} from the mirror, {image.sha256[:12]} as signed"


def describe_via(double: Path, image: Artifact) -> str:
    """Return a line about an import by a bucket; the object must be gone by now."""
    number, url = _check_newest(double, image)
    status = requests.head(url, timeout=SECONDS).status_code
    if status != 404:
        raise VerificationError(f"{url}: HEAD returns {status} after the import, expected 404")
    return f"image {number} by a bucket, {image.sha256[:12]} as signed"


def _check_newest(double: Path, image: Artifact) -> tuple[int, str]:
    """Return number and URL of the newest import."""
    stored = max((double / "images").glob("*.img"), key=lambda path: int(path.stem))
    sha256 = hash_file(stored).sha256
    if sha256 != image.sha256:
        raise VerificationError(
            f"{stored}: the imported image has sha256 {sha256}, the signed one {image.sha256}"
        )
    lines: list[dict[str, object]] = [
        json.loads(line) for line in (double / LOG).read_text(encoding="utf-8").splitlines()
    ]
    fetched = [line for line in lines if "method" in line][-2:]
    url = str(fetched[-1]["url"]) if fetched else ""
    expected = [{"method": method, "url": url, "status": 200} for method in ("HEAD", "GET")]
    if fetched != expected or not url.endswith(f"/{image.name}"):
        raise VerificationError(
            f"{double / LOG}: {counted(len(fetched), 'request')} for {url or 'nothing'}, expected "
            f"HEAD and GET of {image.name}"
        )
    return int(stored.stem), url
