"""The rehearsal's own release.toml, the only difference from a real release.

Every path in it is relative to its folder, so that two clones write the same lock.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from build.config import MIB, ImageConfig
from ci.rehearsal.sample.package_lists import IMAGE_PACKAGES, SERVICES

REPOSITORY = "snowdrop-rehearsal/snowdrop"
BUCKET = "mirror"
SAMPLE_BRANCH = "v13"
"""The sample is made from Debian 13: `v13.20251115` has the form of a version with Alpine."""
TEMPLATE = Template(Path(__file__).with_name("release.toml.in").read_text(encoding="utf-8"))
BRANCH = re.compile(r"(?:^|/)(v[0-9]+\.[0-9]+)(?:/|$)")
SAMPLE_IMAGE = ImageConfig(
    variant="droplet",
    arch="x86_64",
    disk=512 * MIB,
    packages=IMAGE_PACKAGES,
    services=SERVICES,
    overlay=None,
    kernel_options="",
)
"""The image of a rehearsal without a release.toml of one's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Images, repositories and keys of a rehearsal, and the packages of its builder."""

    name: str
    branch: str
    repositories: tuple[str, ...]
    keys: str
    images: tuple[ImageConfig, ...]
    builder_repositories: tuple[str, ...]
    builder_keys: str
    builder_packages: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """URLs of the embedded services."""

    github: str
    s3: str
    digitalocean: str = "http://127.0.0.1:1"
    """By default nothing listens there: not every rehearsal imports."""


def find_branch(urls: Sequence[str]) -> str:
    """Return Alpine's branch from the first URL that contains one, else `v0`.

    >>> find_branch(["mirror/alpine/v3.19/main"])
    'v3.19'
    """
    for url in urls:
        if match := BRANCH.search(url):
            return match[1]
    return "v0"


def release_toml(
    contents: Contents,
    addresses: Addresses,
    *,
    state: Path,
    dist: str,
    store: str = "store",
    work: str = "work",
) -> str:
    """Return the text of the rehearsal's release.toml, which will be in the folder `state`.

    The folders `dist`, `store` and `work` are relative to it.
    """
    values = {
        **{key: value for key, value in asdict(contents).items() if key != "images"},
        **asdict(addresses),
        "repository": REPOSITORY,
        "bucket": BUCKET,
        "public_url": f"{addresses.s3}/{BUCKET}",
        "dist": dist,
        "store": store,
        "work": work,
    }
    # JSON's strings and lists of strings are TOML's too (TOML 1.0, strings and arrays).
    texts = {key: json.dumps(value) for key, value in values.items()}
    images = "\n".join(_image_table(image, state) for image in contents.images)
    return TEMPLATE.substitute(texts, images=images)


def _image_table(image: ImageConfig, state: Path) -> str:
    values = {
        "arch": image.arch,
        "disk": f"{image.disk // MIB} MiB",
        "packages": image.packages,
        "overlay": image.overlay and os.path.relpath(image.overlay, state),
        "kernel_options": image.kernel_options,
        "accept": image.accept,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value]
    services = [f"{level} = {json.dumps(names)}" for level, names in image.services.items()]
    return "\n".join(
        [f"[image.{image.variant}]", *lines, f"\n[image.{image.variant}.services]", *services, ""]
    )
