"""The sample distribution's apk, and a static shell: once for all tests here."""

import shutil
from pathlib import Path

import pytest

from build.apk.writing import SigningKey
from ci.rehearsal.sample.convert import read_deb
from tests import skips
from tests.alpine import SMALL
from tests.sample.apk_tools import (
    Tool,
    install_apk2,
    install_standin,
    make_key,
)


@pytest.fixture(scope="session")
def busybox(request: pytest.FixtureRequest) -> bytes:
    """Give a static busybox: the host's, or that of Debian, which the sample has too."""
    host = shutil.which("busybox")
    content = Path(host).read_bytes() if host else b""
    if content and b"ld-linux" not in content[:4096]:
        return content
    (deb,) = [deb for deb in request.getfixturevalue("debs") if deb.name == "busybox-static"]
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
