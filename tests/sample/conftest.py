"""The sample distribution of a rehearsal, made once for all tests of this folder."""

from pathlib import Path

import pytest

from build.edges.progress import Silent
from build.errors import ConfigError, RemoteError
from ci.rehearsal.sample.debian import Deb, fetch
from ci.rehearsal.sample.make import Sample, make_sample
from ci.rehearsal.sample.recipes import read_table

WORK = Path(__file__).parents[2] / ".snowdrop" / "sample"
"""The downloads of a rehearsal: the tests use them again."""


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    out = tmp_path_factory.mktemp("sample") / "out"
    try:
        return make_sample(out=out, work=WORK, mirror=None, progress=Silent())
    except (ConfigError, RemoteError) as error:
        pytest.skip(f"no Debian mirror to make the sample from: {error}")


@pytest.fixture(scope="session")
def debs(sample: Sample) -> list[Deb]:
    del sample
    return fetch(read_table(), WORK, mirror=None, progress=Silent())
