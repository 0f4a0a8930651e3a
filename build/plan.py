"""The instructions for the builder, from lock and configuration: a pure function of both."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from build.config import BuildConfig, ImageConfig, Origin
from build.firstboot.packages import LocalPackages, local_packages
from build.snapshot.lock import Lock

UUID_NAMESPACE = uuid.UUID("6f1b6b0e-5d0a-5c0e-9d0c-0a5f3c1c7a11")
"""Namespace of every UUID in an image (RFC 9562, version 5)."""
LABEL = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The inputs of one image."""

    branch: str
    image: ImageConfig
    lock: Lock
    origin: Origin
    local: LocalPackages

    @property
    def stem(self) -> str:
        """Name of the image's files, without an ending."""
        return f"{self.origin.name}-{self.image.variant}-{self.origin.version}-{self.image.arch}"

    def package_file(self, name: str) -> str:
        """Return the file beside the image for the local package file `name`.

        It names the image: `snowdrop-release` of two variants has one name and version, and
        different content.
        """
        return f"{self.stem}.{name}"

    def uuid(self, purpose: str) -> uuid.UUID:
        """Return a UUID that depends on lock, variant and purpose only."""
        return uuid.uuid5(UUID_NAMESPACE, f"{self.lock.id}/{self.image.variant}/{purpose}")


def make_task(config: BuildConfig, variant: str, lock: Lock, origin: Origin) -> Task:
    """Return the inputs of the image `variant`, with the local packages made for it."""
    image, closure = config.images[variant], lock.closure(variant)
    local = local_packages(
        variant=variant,
        version=origin.version,
        branch=config.branch,
        arch=image.arch,
        epoch=lock.epoch,
        commit=origin.commit,
        lock_id=lock.id,
        overlay=image.overlay,
        replaces=[package.name for package in closure],
        locked=[f"{package.name}-{package.version}" for package in closure],
    )
    return Task(branch=config.branch, image=image, lock=lock, origin=origin, local=local)


def make_plan(task: Task) -> Mapping[str, Any]:
    """Return all instructions for the builder; none depends on this machine."""
    image, lock, local = task.image, task.lock, task.local
    repositories = {
        f"r{number}": repository.url
        for number, repository in enumerate(lock.repositories)
        if repository.role == "image"
    }
    public = [url for url in repositories.values() if url.startswith(("http://", "https://"))]
    expected = {package.name: package.version for package in lock.closure(image.variant)}
    return {
        "variant": image.variant,
        "arch": image.arch,
        "epoch": lock.epoch,
        "disk": image.disk,
        "label": LABEL,
        "root_uuid": str(task.uuid("root")),
        "hash_seed": str(task.uuid("hash seed")),
        "disk_id": task.uuid("disk").fields[0],
        "kernel_options": image.kernel_options,
        "repositories": ["local", *repositories],
        "public_repositories": list(dict.fromkeys(public)),
        "world": sorted({*image.packages, *local.versions}),
        "expected": {**expected, **local.versions},
        "local_key": local.key_name,
        "services": {level: sorted(names) for level, names in image.services.items()},
        "image": f"{task.stem}.qcow2",
    }
