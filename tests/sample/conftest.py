"""The sample distribution as a rehearsal makes it, and its apk: once for all tests here."""

import shutil
from pathlib import Path

import pytest

from build.apk.writing import SigningKey
from build.edges.progress import Silent
from build.errors import ConfigError, RemoteError
from ci.rehearsal.sample.convert import read_deb
from ci.rehearsal.sample.debian import Deb, fetch
from ci.rehearsal.sample.make import Sample, make_sample
from ci.rehearsal.sample.recipes import read_table
from tests import skips
from tests.alpine import SMALL
from tests.sample.apk_tools import (
    Tool,
    install_apk2,
    install_standin,
    make_key,
)

WORK = Path(__file__).parents[2] / ".snowdrop" / "sample"
"""The downloads of a rehearsal: the tests use them again."""


@pytest.fixture(scope="session")
def debs() -> list[Deb]:
    try:
        return fetch(read_table(), WORK, mirror=None, progress=Silent())
    except (ConfigError, RemoteError) as error:
        pytest.skip(f"{skips.DEBIAN_MIRROR}: {error}")


@pytest.fixture(scope="session")
def sample(debs: list[Deb], tmp_path_factory: pytest.TempPathFactory) -> Sample:
    del debs
    out = tmp_path_factory.mktemp("sample") / "out"
    return make_sample(out=out, work=WORK, mirror=None, progress=Silent())


@pytest.fixture(scope="session")
def busybox(request: pytest.FixtureRequest) -> bytes:
    """Give a static busybox: the host's, or that of Debian, which the sample has too."""
    host = shutil.which("busybox")
    content = Path(host).read_bytes() if host else b""
    if content and b"ld-linux" not in content[:4096]:
        return content
    debs: list[Deb] = request.getfixturevalue("debs")
    (deb,) = [deb for deb in debs if deb.name == "busybox-static"]
    return read_deb(deb.path).files["usr/bin/busybox"].content


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Give the sample's apk."""
    return install_standin(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="session")
def apk2(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Give Alpine's own apk 2.14."""
    if not SMALL.is_dir():
        pytest.skip(skips.ALPINE)
    return install_apk2(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def key() -> SigningKey:
    """Give the key of the repositories made here."""
    return make_key()
