"""The sample distribution, pinned once for all tests that build real images from it."""

import os

import pytest

from build.config import BuildConfig
from build.edges.container import choose_engine
from build.edges.progress import Silent
from build.firstboot.packages import DEPENDS
from build.snapshot.lock import Lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.store import Store
from ci.config import ReleaseConfig, read_config
from ci.rehearsal.configuration import SAMPLE_IMAGE, Addresses, Contents, release_toml
from ci.rehearsal.sample import package_lists as lists
from ci.rehearsal.sample.make import make_sample

NOBODY = Addresses(github="http://127.0.0.1:1", s3="http://127.0.0.1:1")


@pytest.fixture(scope="package")
def release(tmp_path_factory: pytest.TempPathFactory) -> ReleaseConfig:
    """Return the configuration of an image of the sample's packages."""
    folder = tmp_path_factory.mktemp("sample")
    sample = make_sample(out=folder / "out", work=folder / "debs", mirror=None, progress=Silent())
    contents = Contents(
        name="snowdrop",
        branch="v13",
        repositories=(str(sample.image),),
        keys=str(sample.keys),
        images=(SAMPLE_IMAGE,),
        builder_repositories=(str(sample.builder),),
        builder_keys=str(sample.keys),
        builder_packages=lists.BUILDER_PACKAGES,
    )
    file = folder / "release.toml"
    file.write_text(release_toml(contents, NOBODY, state=folder, dist="dist"))
    return read_config(file)


@pytest.fixture(scope="package")
def config(release: ReleaseConfig) -> BuildConfig:
    """Return the part of the configuration that a build needs."""
    return release.build


@pytest.fixture(scope="package")
def lock(config: BuildConfig) -> Lock:
    """Return the lock; the store has everything that it names."""
    return pin(
        PinRequest(
            config=config,
            store=Store(config.store),
            engine_for=lambda root, argv: choose_engine(root, argv, caller=os.environ).engine,
            extra_packages=DEPENDS,
            progress=Silent(),
        )
    )
