"""Packages and services that a rehearsal's release.toml requests, from request.toml."""

import tomllib

from ci.rehearsal.sample.recipes import HERE

_REQUEST = tomllib.loads((HERE / "request.toml").read_text(encoding="utf-8"))
BUILDER_PACKAGES: tuple[str, ...] = tuple(_REQUEST["builder_packages"])
IMAGE_PACKAGES: tuple[str, ...] = tuple(_REQUEST["image_packages"])
BESIDE_ALPINE: tuple[str, ...] = tuple(_REQUEST["beside_alpine"])
SERVICES: dict[str, tuple[str, ...]] = {
    runlevel: tuple(names) for runlevel, names in _REQUEST["services"].items()
}
