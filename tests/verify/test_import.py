"""`import` of a signed release at DigitalOcean's double, from a mirror and by a real S3 server."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from build.edges.files import hash_file
from ci.__main__ import main
from ci.commands import one_run
from ci.rehearsal import s3
from ci.rehearsal.digitalocean import fetch
from ci.rehearsal.digitalocean.server import running
from ci.rehearsal.digitalocean.state import LOG, VIOLATIONS, Account, StoredImage
from ci.rehearsal.http_server import serve
from tests.publish.release import CONFIG
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Scene, stem

TOKEN = "dop_v1_0123456789abcdef"  # noqa: S105 - of the double
SERVER = f"{stem(NEW, 'server')}.qcow2"


@dataclass
class Mirror:
    """A web server with the release, which can serve other bytes of the image."""

    folder: Path
    url: str = ""
    swapped: set[int] = field(default_factory=set)
    """Numbers of the GET requests for the image that get other bytes; the first is 1."""
    gets: int = 0


@dataclass
class World:
    """A release, its mirror, an account and a bucket."""

    mirror: Mirror
    account: Account
    store: s3.ObjectStore
    config: Path
    trust_root: Path
    capsys: pytest.CaptureFixture[str]

    def call(self, *words: str, target: str = "", region: str = "fra1") -> tuple[int, str, str]:
        """Run `import`; return exit status, output and error output."""
        self.capsys.readouterr()
        target = target or f"{self.mirror.url}/{NEW}"
        given = ["--repository", REPOSITORY, "--trust-root", str(self.trust_root)]
        chosen = ["--region", region] if region else []
        config = ["--config", str(self.config)]
        status = main(["import", target, *given, *config, *chosen, *words])
        out, err = self.capsys.readouterr()
        secrets = (TOKEN, self.store.key, self.store.secret)
        assert not [each for each in secrets if each in out + err]
        return status, out, err

    @property
    def via(self) -> tuple[str, ...]:
        """The options of an import by the bucket."""
        return ("--via", f"s3://{self.store.bucket}", "--endpoint", self.store.endpoint)

    def imported(self) -> list[tuple[StoredImage, str]]:
        """Return each custom image and the sha256 of what the service fetched."""
        return [
            (image, hash_file(self.account.path(image)).sha256)
            for image in self.account.images.values()
        ]

    def objects(self) -> list[str]:
        """Return the keys in the bucket."""
        listed = self.store.client().list_objects_v2(Bucket=self.store.bucket)
        return [each["Key"] for each in listed.get("Contents", [])]


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.ObjectStore]:
    with s3.running(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(name="mirror")
def _mirror(scene: Scene) -> Iterator[Mirror]:
    mirror = Mirror(scene.folder)

    @Request.application
    def application(request: Request) -> Response:
        path = mirror.folder / Path(request.path).name
        if request.path != f"/{NEW}/{path.name}" or not path.is_file():
            return Response(status=404)
        content = path.read_bytes()
        if path.name == IMAGE and request.method == "GET":
            mirror.gets += 1
            if mirror.gets in mirror.swapped:
                content = bytes(len(content))
        return Response(content, content_type="application/octet-stream")

    with serve(application) as mirror.url:
        yield mirror


@pytest.fixture(name="world")
def _world(
    scene: Scene,
    mirror: Mirror,
    store: s3.ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    # The images of this release are a few bytes. Their format is the matter of tests/importing.
    monkeypatch.setattr(fetch, "check_disk", lambda path: path.stat().st_size)
    account = Account(tmp_path / "account", TOKEN, lambda: datetime(2026, 11, 26, tzinfo=UTC))
    for name, value in (
        ("DIGITALOCEAN_TOKEN", TOKEN),
        ("SPACES_KEY", store.key),
        ("SPACES_SECRET", store.secret),
    ):
        monkeypatch.setenv(name, value)
    with running(account) as api:
        config = tmp_path / "release.toml"
        config.write_text(
            f'{CONFIG}[import]\napi = "{api}"\nregions = []\nname = "own"\ntags = ["own"]\n'
        )
        yield World(mirror, account, store, config, scene.trust_root, capsys)
    assert not (account.folder / VIOLATIONS).exists()
    assert TOKEN not in (account.folder / LOG).read_text() if account.images else True


def signed(world: World) -> str:
    return hash_file(world.mirror.folder / IMAGE).sha256


def test_the_verified_image_is_imported_once_in_all_regions(world: World) -> None:
    words = ("--variant", "droplet", "--region", "nyc3")
    status, out, _ = world.call(*words)
    ((image, sha256),) = world.imported()
    assert (status, sha256) == (0, signed(world))
    assert (image.name, image.regions) == (f"own-{NEW}", ["fra1", "nyc3"])
    assert image.tags == [f"snowdrop-sha256-{sha256}", "own"]
    assert f"custom image {image.number}: own-{NEW} in fra1, nyc3" in out
    assert f"--image {image.number}" in out
    status, out, _ = world.call(*words, "--json")
    assert json.loads(out)["image"] == image.number
    assert len(world.imported()) == 1


def test_a_bucket_of_the_importer_is_immune_to_a_mirror_that_changes_the_bytes(
    world: World,
) -> None:
    # The GET requests for the image: verification, check, the service, check.
    world.mirror.swapped = {3}
    status, _, err = world.call("--variant", "droplet")
    ((image, sha256),) = world.imported()
    # The API reports no digest: only the warning is left to the importer.
    assert (status, image.status) == (0, "available")
    assert sha256 != signed(world)
    assert "who controls the mirror decides what is imported" in err

    world.mirror.gets, world.mirror.swapped = 0, set(range(2, 9))
    status, _, err = world.call("--variant", "droplet", *world.via)
    _, (private, sha256) = world.imported()
    assert (status, sha256) == (0, signed(world))
    assert (world.mirror.gets, "who controls the mirror" in err) == (1, False)
    assert f"snowdrop-via-sha256-{sha256}" in private.tags
    assert world.objects() == []


def test_other_bytes_at_the_check_are_not_imported(world: World) -> None:
    world.mirror.swapped = {2}
    status, _, err = world.call("--variant", "droplet")
    assert (status, world.imported()) == (1, [])
    assert "--via" in err


def test_a_lasting_change_after_the_check_is_found(world: World) -> None:
    world.mirror.swapped = set(range(3, 20))
    status, _, err = world.call("--variant", "droplet")
    ((image, _),) = world.imported()
    assert (status, f"custom image {image.number} may have them: delete it" in err) == (1, True)


def test_an_image_that_came_by_the_bucket_counts_for_the_mirror_too(world: World) -> None:
    world.call("--variant", "droplet", *world.via)
    assert world.call("--variant", "droplet")[0] == 0
    assert len(world.imported()) == 1


def test_a_plan_and_snippets_are_one_document_too(world: World) -> None:
    words = ("--variant", "droplet", "--json")
    for option, key in (("--dry-run", "plan"), ("--snippets", "snippets")):
        status, out, _ = world.call(*words, option)
        document = json.loads(out)
        assert (status, document["sha256"]) == (0, signed(world))
        assert document[key]
    assert world.imported() == []


def test_a_second_import_of_the_image_is_refused_while_the_first_runs(world: World) -> None:
    with one_run(world.config, f"import of {IMAGE}"):
        client = world.store.client()
        key = f"snowdrop-import/{signed(world)[:16]}/0123/{IMAGE}"
        client.put_object(Bucket=world.store.bucket, Key=key, Body=b"of the first")
        status, _, err = world.call("--variant", "droplet", *world.via)
        assert (status, world.imported(), world.objects()) == (1, [], [key])
        assert f"error: another import of {IMAGE} runs (pid {os.getpid()}, since 20" in err
        # Another image of the same release is none of its business.
        assert world.call("--variant", "server", *world.via)[0] == 0


def test_what_a_killed_import_left_in_the_bucket_is_removed(world: World) -> None:
    left = f"snowdrop-import/{signed(world)[:16]}/0123/{IMAGE}"
    client = world.store.client()
    for key in (left, "other"):
        client.put_object(Bucket=world.store.bucket, Key=key, Body=b"left")
    assert world.call("--variant", "droplet", *world.via)[0] == 0
    assert world.objects() == ["other"]
    # Also when there is nothing to import.
    client.put_object(Bucket=world.store.bucket, Key=left, Body=b"left")
    assert world.call("--variant", "droplet", *world.via)[0] == 0
    assert world.objects() == ["other"]
    client.delete_object(Bucket=world.store.bucket, Key="other")


def test_a_dry_run_prints_the_plan_and_does_nothing(world: World) -> None:
    status, out, _ = world.call("--variant", "droplet", "--region", "nyc3", "--dry-run")
    assert (status, world.imported(), world.objects()) == (0, [], [])
    assert out.splitlines()[-2:] == [
        f"create    own-{NEW} in fra1",
        "transfer  image (new) to nyc3",
    ]


def test_snippets_need_no_token_and_ask_no_service(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIGITALOCEAN_TOKEN")
    status, out, _ = world.call("--variant", "droplet", "--snippets")
    assert (status, (world.account.folder / LOG).exists()) == (0, False)
    assert "--image IMAGE_ID" in out


# Options, the exit status and a part of the message.
REFUSED = {
    "several images": ([], 2, "droplet, server"),
    "no such image": (["--variant", "other"], 2, "droplet, server"),
    "a malformed region": (["--region", "Fra 1"], 2, "expected a region such as fra1"),
    "a bucket in another form": (["--variant", "server", "--via", "bucket"], 2, "s3://BUCKET"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_imports_nothing(name: str, world: World) -> None:
    words, expected, message = REFUSED[name]
    status, _, err = world.call(*words)
    assert (status, world.imported()) == (expected, [])
    assert message in err


def test_a_bucket_that_nobody_can_read_is_reported_and_emptied(world: World) -> None:
    # SeaweedFS makes the bucket; without a policy its objects are private.
    elsewhere = ("--via", "s3://elsewhere", "--endpoint", world.store.endpoint)
    status, _, err = world.call("--variant", "droplet", *elsewhere)
    assert (status, "the import failed: the URL does not answer HEAD" in err) == (1, True)
    listed = world.store.client().list_objects_v2(Bucket="elsewhere")
    assert listed.get("Contents", []) == []
    assert world.call("--variant", "droplet", *world.via)[0] == 0
    failed, imported = world.account.images.values()
    assert (failed.status, imported.status) == ("deleted", "available")


def test_without_a_token_or_a_region_nothing_is_downloaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = world.call(region="")
    assert (status, "no region" in err) == (2, True)
    monkeypatch.delenv("DIGITALOCEAN_TOKEN")
    status, _, err = world.call("--variant", "droplet")
    assert (status, "DIGITALOCEAN_TOKEN: not in the environment" in err) == (2, True)
    assert world.mirror.gets == 0


def test_a_signature_alone_is_not_enough(world: World) -> None:
    status, _, err = world.call(target=str(world.mirror.folder / IMAGE))
    assert (status, "expected a whole release" in err) == (2, True)
    for path in world.mirror.folder.iterdir():
        if path.name not in {IMAGE, f"{IMAGE}.sigstore.json"}:
            path.unlink()
    status, _, _ = world.call(target=f"{world.mirror.url}/{NEW}/{IMAGE}")
    assert status != 0
    assert world.imported() == []


def test_a_release_that_does_not_verify_is_not_imported(world: World) -> None:
    path = world.mirror.folder / IMAGE
    path.write_bytes(path.read_bytes() + b"x")
    status, _, _ = world.call("--variant", "droplet", *world.via)
    assert (status, world.imported(), world.objects()) == (1, [], [])
