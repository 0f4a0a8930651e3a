"""The rehearsal's own release.toml, the only difference from a real release.

Every path in it is relative to its folder, so that two clones write the same lock.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REPOSITORY = "snowdrop-rehearsal/snowdrop"
BUCKET = "mirror"
SAMPLE_BRANCH = "v13"
"""The sample is made from Debian 13: `v13.20251115` has the form of a version with Alpine."""
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


def release_toml(contents: Contents, addresses: Addresses, *, dist: str) -> str:
    """Return the text of the rehearsal's release.toml."""
    tables: dict[str, dict[str, object]] = {
        "release": {"name": "snowdrop", "github": REPOSITORY, "dist": dist},
        "snapshot": {
            "branch": contents.branch,
            "repositories": contents.repositories,
            "keys": contents.keys,
            "store": "store",
            "work": "work",
        },
        "builder": {
            "repositories": contents.builder_repositories,
            "keys": contents.builder_keys,
            "packages": contents.builder_packages,
        },
        "image.droplet": {"arch": "x86_64", "disk": "512 MiB", "packages": contents.packages},
        "image.droplet.services": dict(contents.services),
        "sign": {
            "trust_root": "sigstore/trusted_root.json",
            "signing_config": "sigstore/signing_config.json",
        },
        "github": {"api": addresses.github},
        "spaces": {
            "bucket": BUCKET,
            "region": "rehearsal",
            "prefix": "releases/",
            "endpoint": addresses.s3,
            "public_url": f"{addresses.s3}/{BUCKET}",
        },
    }
    blocks = ["# Written by `nox -s rehearse`. The next one overwrites it."]
    for name, values in tables.items():
        lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
        blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _toml(value: object) -> str:
    # JSON's strings and lists of strings are TOML's too (TOML 1.0, strings and arrays).
    return json.dumps(value if isinstance(value, str) else list(value))  # type: ignore[call-overload]
