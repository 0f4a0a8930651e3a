"""The rehearsal's own release.toml, the only difference from a real release.

Every path in it is relative to its folder, so that two clones write the same lock.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

REPOSITORY = "snowdrop-rehearsal/snowdrop"
BUCKET = "mirror"
SAMPLE_BRANCH = "v13"
"""The sample is made from Debian 13: `v13.20251115` has the form of a version with Alpine."""
TEMPLATE = Template(Path(__file__).with_name("release.toml.in").read_text(encoding="utf-8"))
BRANCH = re.compile(r"(?:^|/)(v[0-9]+\.[0-9]+)(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Packages, repositories and keys of the image and its builder."""

    branch: str
    repositories: tuple[str, ...]
    keys: str
    packages: Sequence[str]
    services: Mapping[str, Sequence[str]]
    builder_repositories: tuple[str, ...]
    builder_keys: str
    builder_packages: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """URLs of the embedded services."""

    github: str
    s3: str


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
    dist: str,
    store: str = "store",
    work: str = "work",
) -> str:
    """Return the text of the rehearsal's release.toml; its folders are relative to its own."""
    values = {
        **asdict(contents),
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
    services = [f"{level} = {json.dumps(names)}" for level, names in contents.services.items()]
    return TEMPLATE.substitute(texts, services="\n".join(services))
