"""Repositories of real packages for tests: Alpine's when they are at hand, else the sample's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from build.apk.index import INDEX, Index, read_index
from build.apk.signature import Keyring
from build.apk.writing import write_index
from build.snapshot.solve import bootstrap
from ci.rehearsal.configuration import SAMPLE_BRANCH
from ci.rehearsal.sample.make import ARCH, rehearsal_key
from tests.alpine import ALPINE, SMALL
from tests.apk.makers import key, real_apk
from tests.sample.apk_tools import install_standin

SAMPLE_WORK = Path(__file__).parents[1] / ".snowdrop" / "sample"
"""Where a rehearsal keeps what it fetched: the tests fetch nothing twice."""

Command = Sequence[str]


@dataclass(frozen=True)
class Distribution:
    """A repository of real packages, which has its own apk."""

    repository: Path
    """The folder above x86_64, called BRANCH/REPOSITORY as on a mirror."""
    apk_version: str
    """What the lock and `--version` name."""
    libc: str
    """The package of the C library."""
    make_apk: Callable[[Path], Command]
    """Unpacks the apk into a folder and returns the command that starts it there."""

    @property
    def mirror(self) -> Path:
        """The folder that a mirror would serve."""
        return self.repository.parents[1]

    @property
    def packages(self) -> Path:
        """The folder of the packages and the index."""
        return self.repository / ARCH

    def index(self) -> Index:
        """Return the repository's index, its signature checked."""
        return read_index((self.packages / INDEX).read_bytes(), trusted_keys(), where=INDEX)


BRANCH = "v3.19" if SMALL.is_dir() else SAMPLE_BRANCH
"""What release.toml names for it: `alpine-release` of the sample is of no branch of Alpine's."""


def alpine_distribution() -> Distribution:
    """Return the small repository of Alpine's packages."""
    return Distribution(SMALL, "apk-tools 2.14.0", "musl", real_apk)


def sample_distribution(image: Path, base: Path) -> Distribution:
    """Return the sample's repository `image`, by a link below `base`."""
    repository = base / "v3.19" / "main"
    repository.parent.mkdir(parents=True)
    repository.symlink_to(image)
    return Distribution(
        repository,
        "apk-tools 3.0.0_standin",
        "libc6",
        lambda folder: install_standin(folder).command,
    )


def trusted_keys() -> Keyring:
    """Return the keys of both distributions and of the tests."""
    keys = [(path.name, path.read_bytes()) for path in (ALPINE / "keys").glob("*.pub")]
    keys += [(each.name, each.public_pem()) for each in (rehearsal_key(), key())]
    return Keyring("the keys of the tests", dict(keys))


def write_keys(folder: Path) -> None:
    """Write these keys into `folder`."""
    folder.mkdir(exist_ok=True)
    for name, content in trusted_keys().files.items():
        (folder / name).write_bytes(content)


def apk_repository(folder: Path, distribution: Distribution) -> Path:
    """Return a repository with the distribution's apk and what it needs, and nothing more."""
    arch = folder / ARCH
    arch.mkdir(parents=True)
    names = [offer.record.file_name for offer in bootstrap([distribution.index()])]
    packages = {name: (distribution.packages / name).read_bytes() for name in names}
    for name, content in packages.items():
        (arch / name).write_bytes(content)
    (arch / INDEX).write_bytes(write_index(packages.values(), key(), "apk"))
    return folder
