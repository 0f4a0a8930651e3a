"""The file that DigitalOcean's double fetched is the signed image, and it boots."""

import json
import shutil
from pathlib import Path

import pytest

from build.edges.files import hash_file
from ci.release.manifest import MANIFEST, parse_manifest
from tests.journeys.conftest import Rehearsal, ci

pytestmark = pytest.mark.full


def test_head_and_get_were_of_the_mirror_and_then_of_the_importers_bucket(
    rehearsal: Rehearsal,
) -> None:
    log = (rehearsal.state / "digitalocean" / "requests.jsonl").read_text().splitlines()
    fetched = [each for each in map(json.loads, log) if "method" in each]
    assert [(each["method"], each["status"]) for each in fetched] == [
        ("HEAD", 200),
        ("GET", 200),
    ] * 2
    (mirror, same), (private, again) = (
        [each["url"] for each in fetched[:2]],
        [each["url"] for each in fetched[2:]],
    )
    assert (mirror, private) == (same, again)
    assert [mirror] == rehearsal.told["import_urls"]
    # A random name that nobody can guess, and the name of the image at the end.
    folder, digest, name, file = private.split("/")[-4:]
    assert (folder, len(name), file) == ("snowdrop-import", 32, rehearsal.image.name)
    assert hash_file(rehearsal.image).sha256.startswith(digest)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", ["mirror", "bucket"])
def test_the_very_file_that_was_fetched_boots(
    rehearsal: Rehearsal, tmp_path: Path, way: str
) -> None:
    files = sorted((rehearsal.state / "digitalocean" / "images").glob("*.img"))
    assert len(files) == 2
    fetched = files[("mirror", "bucket").index(way)]
    manifest = parse_manifest((rehearsal.download / MANIFEST).read_bytes())
    (image,) = manifest.of_role("image")
    assert hash_file(fetched).sha256 == image.sha256
    (record,) = rehearsal.dist.glob("*.build.json")
    # The boot report is written beside the record: that of the release stays as it is.
    copy = Path(shutil.copy(record, tmp_path))
    booted = ci(
        *("boot", str(copy), "--image", str(fetched)),
        *("--config", str(rehearsal.config), "--timeout", "900", "--json"),
    )
    assert booted.returncode == 0, booted.stderr[-6000:]
    (report,) = json.loads(booted.stdout)["reports"]
    assert (report["passed"], report["image"]["sha256"]) == (True, image.sha256)
