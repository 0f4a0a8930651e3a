"""A rehearsal of a release.toml with two images, one with packages and files of its own."""

import json
from pathlib import Path

import pytest

from build.apk.writing import write_index, write_package
from build.inspect.inspection import InspectOptions, inspect_image
from ci.rehearsal.sample.package_lists import IMAGE_PACKAGES, SERVICES
from tests.journeys.conftest import Rehearsal, ci, rehearse
from tests.journeys.test_private import KEY, RECIPE

pytestmark = pytest.mark.full

TOML = """
[release]
name = "winter"
github = "OWNER/REPO"

[snapshot]
branch = "v3.24"
repositories = ["https://mirror.example/v3.24/main"]
keys = "keys"

[builder]
packages = ["python3"]
"""
IMAGE = """
[image.{variant}]
arch = "x86_64"
disk = "{disk}"
packages = {packages}
{more}
[image.{variant}.services]
{services}
"""


def _services(*default: str) -> str:
    levels = {**SERVICES, "default": [*SERVICES["default"], *default]}
    return "\n".join(f"{level} = {json.dumps(names)}" for level, names in levels.items())


def _image(variant: str, disk: str, packages: list[str], services: str, more: str = "") -> str:
    return IMAGE.format(
        variant=variant,
        disk=disk,
        packages=json.dumps([*IMAGE_PACKAGES, *packages]),
        services=services,
        more=more,
    )


@pytest.fixture(scope="module", name="variants")
def _variants(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp("variants")
    repository = folder / "repository" / "x86_64"
    repository.mkdir(parents=True)
    package = write_package(RECIPE, KEY)
    (repository / f"{RECIPE.name}-{RECIPE.version}.apk").write_bytes(package)
    (repository / "APKINDEX.tar.gz").write_bytes(write_index([package], KEY, "private"))
    (folder / "keys").mkdir()
    (folder / "keys" / KEY.name).write_bytes(KEY.public_pem())
    (folder / "overlay" / "etc").mkdir(parents=True)
    (folder / "overlay" / "etc" / "motd").write_text("Welcome to winter\n")
    config = folder / "release.toml"
    large = _image("large", "1 GiB", [RECIPE.name], _services("hello"), 'overlay = "overlay"\n')
    config.write_text(TOML + _image("droplet", "512 MiB", [], _services()) + large)
    return rehearse(
        folder / "state",
        *("--config", str(config), "--repository", str(repository.parent)),
        *("--keys", str(folder / "keys")),
    )


def test_two_images_are_released_mirrored_and_verified(variants: Rehearsal) -> None:
    version = variants.told["version"]
    stems = [f"winter-{variant}-{version}-x86_64" for variant in ("droplet", "large")]
    names = set(variants.told["artifacts"])
    assert {f"{stem}.qcow2" for stem in stems} <= names
    assert len(variants.told["import_urls"]) == 2
    for stem, packages in zip(
        stems, (("init", "release"), ("init", "overlay", "release")), strict=True
    ):
        assert [
            name.removeprefix(f"{stem}.snowdrop-").partition("-")[0]
            for name in sorted(names)
            if name.startswith(stem) and name.endswith(".apk")
        ] == list(packages)
    downloaded = {path.name for path in variants.download.iterdir()}
    assert names <= downloaded


def test_each_image_has_its_own_packages_disk_and_files(variants: Rehearsal) -> None:
    documents = {}
    for path in variants.download.glob("*.qcow2"):
        inspected = inspect_image(path, InspectOptions())
        assert inspected.findings == ()
        documents[path.name.split("-")[1]] = inspected.document()
    packages = {
        variant: {each["name"] for each in document["packages"]}
        for variant, document in documents.items()
    }
    assert packages["large"] - packages["droplet"] == {RECIPE.name, "snowdrop-overlay"}
    assert "hello" in documents["large"]["services"]["default"]
    assert "hello" not in documents["droplet"]["services"]["default"]


def test_packages_that_no_repository_has_are_listed_together(tmp_path: Path) -> None:
    config = tmp_path / "release.toml"
    first = _image("droplet", "512 MiB", ["nginx", "postgresql16"], _services())
    config.write_text(TOML + first + _image("large", "1 GiB", ["redis"], _services()))
    done = ci("rehearse", "--folder", str(tmp_path / "state"), "--config", str(config))
    assert done.returncode == 2
    assert "image.droplet: nginx, postgresql16; image.large: redis" in done.stderr
    assert "--repository" in done.stderr
