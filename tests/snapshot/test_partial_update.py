"""One package moves with what it forces, as apk decides, and nothing else moves."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from build.apk.index import INDEX, read_index
from build.apk.package import read_package
from build.apk.writing import Entry, Recipe, write_index, write_package
from build.config import BuildConfig
from build.edges.container import Job
from build.edges.process import PLAIN, Finished
from build.edges.variation import Variation
from build.errors import ConfigError, SnapshotError, StaleLockError
from build.firstboot.packages import DEPENDS
from build.image import build_image
from build.snapshot.lock import Lock, dump_lock
from build.snapshot.lock_reader import parse_lock
from build.snapshot.pin import PinRequest, pin
from build.snapshot.solve import parse_simulation
from build.snapshot.store import Store
from tests.apk.makers import EPOCH, key, trusted
from tests.distribution import Distribution, apk_repository
from tests.image.test_image import ORIGIN, FakeEngine
from tests.snapshot.served import ARCH, Mirror, Notes, mirror_of
from tests.snapshot.test_archive import archived, installed_by_the_readme
from tests.snapshot.test_pin import as_root, config, engine_for

pytestmark = as_root
WANTED = ("app", "svc", "tls-tool", "plugin", "other", *DEPENDS)
TAIL = "v3.19/made"


def one(
    name: str,
    version: str,
    *depends: str,
    origin: str = "",
    provides: Sequence[str] = (),
    install_if: Sequence[str] = (),
) -> bytes:
    recipe = Recipe(
        name=name,
        version=f"{version}-r0",
        description=name,
        origin=origin,
        epoch=EPOCH + int(version[0]),
        depends=depends,
        provides=tuple(provides),
        install_if=tuple(install_if),
        entries=(Entry(f"usr/share/{name}", 0o644, "file", version.encode()),),
    )
    return write_package(recipe, key())


def generation(number: int) -> list[bytes]:
    """Return all packages of a small consistent distribution."""
    version, library = f"{number}.0", f"so:libcrypto.so.{number}"
    return [
        one("e2fsprogs", version),
        one("sfdisk", version),
        one("svc", version),
        one("other", version),
        # One source, three packages; one is installed automatically, for the exact version.
        one("app", version, f"libapp={version}-r0", library, *(["fresh"] if number > 1 else [])),
        one("libapp", version, origin="app"),
        one("app-svc", version, origin="app", install_if=(f"app={version}-r0", "svc")),
        one("crypto", version, provides=(f"{library}={version}",)),
        one("tls-tool", version, library),
        one("plugin", version, f"other>={version}"),
        *(one(name, "99.0") for name in DEPENDS if name != "sfdisk"),
        *([one("fresh", version), one("unasked", version)] if number > 1 else []),
    ]


def serve(folder: Path, packages: Sequence[bytes], description: str = "made") -> None:
    """Replace the packages of the mirror, as Alpine does."""
    served = folder / TAIL / ARCH
    served.mkdir(parents=True, exist_ok=True)
    for path in served.glob("*.apk"):
        path.unlink()
    for content in packages:
        info = read_package(content, trusted(), where="made").info
        (served / f"{info.name}-{info.version}.apk").write_bytes(content)
    (served / INDEX).write_bytes(write_index(packages, key(), description))


class Asking(FakeEngine):
    """Engine that builds nothing, but asks apk what it would install."""

    def __init__(self, folder: Path, distribution: Distribution) -> None:
        super().__init__()
        self.folder, self.distribution, self.output = folder, distribution, ""

    def run(self, job: Job) -> Finished:
        """Ask apk, and write the results that the builder would write."""
        done = super().run(job)
        packages = next(mount.source for mount in job.mounts if mount.target == "/apk/packages")
        (self.folder / "apk").mkdir()
        (self.folder / "root").mkdir()
        apk = [*self.distribution.make_apk(self.folder / "apk")]
        apk += ["--root", str(self.folder / "root")]
        apk += ["--arch", ARCH, "--keys-dir", str(packages / "keys"), "--no-network"]
        apk += ["--repositories-file", "/dev/null", "--no-cache", "--no-progress"]
        plan: Any = self.plan
        for name in plan["repositories"]:
            apk += ["--repository", str(packages / name)]
        for words in (["--initdb", "add"], ["--simulate", "add", *plan["world"]]):
            asked = subprocess.run([*apk, *words], env=PLAIN, check=True, capture_output=True)
        self.output = asked.stdout.decode()
        return done


@dataclass(frozen=True)
class Maintainer:
    """A lock of the first generation, and a mirror that now serves the second."""

    config: BuildConfig
    mirror: Mirror
    lock: Lock

    @property
    def store(self) -> Store:
        """The store."""
        return Store(self.config.store)

    def pin(self, *names: str, previous: Lock | None = None, notes: Notes | None = None) -> Lock:
        """Return the lock after `--package NAMES`."""
        return pin(
            PinRequest(
                config=self.config,
                store=self.store,
                engine_for=engine_for,
                progress=notes or Notes(),
                previous=previous or self.lock,
                only=names,
                sleep=lambda _: None,
            )
        )


@pytest.fixture
def maintainer(distribution: Distribution, tmp_path: Path) -> Iterator[Maintainer]:
    """The distribution's apk comes from a repository of its own that never changes."""
    with mirror_of(tmp_path / "served") as mirror:
        serve(mirror.folder, generation(1), "first")
        wanted = config(
            tmp_path,
            [f"{mirror.url}/{TAIL}", apk_repository(tmp_path / "apk-repository", distribution)],
            packages=WANTED,
        )
        lock = pin(
            PinRequest(
                config=wanted, store=Store(wanted.store), engine_for=engine_for, progress=Notes()
            )
        )
        serve(mirror.folder, generation(2), "second")
        yield Maintainer(wanted, mirror, lock)


def versions(lock: Lock) -> dict[str, str]:
    return {package.name: package.version for package in lock.closure("droplet")}


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("svc", {"svc"}),
        # Packages of one source move together; a library moves all that link to it.
        ("app", {"app", "libapp", "app-svc", "crypto", "tls-tool", "fresh"}),
        ("crypto", {"app", "libapp", "app-svc", "crypto", "tls-tool", "fresh"}),
        ("plugin", {"plugin", "other"}),
        # The reverse: a dependency that is newer than required forces nothing.
        ("other", {"other"}),
    ],
)
def test_a_package_moves_with_what_it_forces_and_nothing_else(
    name: str, moved: set[str], maintainer: Maintainer
) -> None:
    before, lock = maintainer.lock, maintainer.pin(name)
    old, new = versions(before), versions(lock)
    assert {each for each in new if new[each] != old.get(each)} == moved
    assert {new[each] for each in moved} == {"2.0-r0"}
    assert old.keys() <= new.keys()
    kept = {package.name: package for package in before.packages}
    for package in lock.packages:
        if package.name not in moved:
            # Positions shift when something is installed before it.
            assert replace(package, order={}) == replace(kept[package.name], order={})
    assert lock.epoch == EPOCH + 2 or lock.epoch == before.epoch > EPOCH
    assert parse_lock(dump_lock(lock), where="lock") == lock


def test_each_package_is_listed_in_the_index_it_names(maintainer: Maintainer) -> None:
    lock, store = maintainer.pin("app"), maintainer.store
    made = [each for each in lock.repositories if each.url.endswith(TAIL)]
    assert [each.description for each in made] == ["first", "second"]
    assert lock.repositories[:2] == maintainer.lock.repositories
    assert dump_lock(maintainer.lock).decode().splitlines()[1] == "format = 1"
    assert dump_lock(lock).decode().splitlines()[1] == "format = 2"
    for package in lock.packages:
        served = lock.repositories[package.repository]
        if served in made:
            index = read_index(store.read(served.index_sha256), trusted(), where="index")
            (record,) = index.records.named(package.name)
            assert (record.version, record.checksum) == (package.version, package.checksum)
            assert len(store.read(package.sha256)) == record.size


def test_a_second_update_changes_nothing_and_a_full_pin_has_one_index(
    maintainer: Maintainer,
) -> None:
    first = maintainer.pin("plugin")
    assert maintainer.pin("plugin", previous=first).id == first.id
    serve(maintainer.mirror.folder, [*generation(2)[:-1], one("svc", "3.0")], "third")
    third = maintainer.pin("svc", previous=first)
    made = [each.description for each in third.repositories if each.url.endswith(TAIL)]
    assert made == ["first", "second", "third"]
    everything = maintainer.pin(*versions(maintainer.lock), previous=third)
    assert set(versions(everything).values()) == {"2.0-r0", "3.0-r0", "99.0-r0"}
    whole = pin(
        PinRequest(
            config=maintainer.config,
            store=maintainer.store,
            engine_for=engine_for,
            progress=Notes(),
            previous=everything,
        )
    )
    assert (len(whole.repositories), "format = 1\n" in dump_lock(whole).decode()) == (2, True)
    assert versions(whole) == versions(everything)


def test_a_builder_with_its_own_repositories_does_not_move(
    maintainer: Maintainer, distribution: Distribution, tmp_path: Path
) -> None:
    serve(maintainer.mirror.folder, generation(1))
    url = maintainer.config.source.repositories[0]
    # The builder's own apk chooses its packages and is not in the lock.
    wanted = config(
        tmp_path,
        [url, tmp_path / "apk-repository"],
        builder=[distribution.repository],
        packages=WANTED,
    )
    with_builder = replace(maintainer, config=wanted)
    lock = pin(
        PinRequest(config=wanted, store=maintainer.store, engine_for=engine_for, progress=Notes())
    )
    serve(maintainer.mirror.folder, generation(2))
    moved = with_builder.pin("svc", previous=lock)
    assert versions(moved).items() - versions(lock).items() == {("svc", "2.0-r0")}
    assert moved.closure("builder") == tuple(
        replace(package, repository=package.repository + 1) for package in lock.closure("builder")
    )
    assert moved.repositories[-1] == lock.repositories[-1]


def test_a_package_that_cannot_move_is_reported_in_apks_words(maintainer: Maintainer) -> None:
    broken = [one("svc", "2.0", "nowhere"), *generation(2)[4:]]
    serve(maintainer.mirror.folder, broken)
    with pytest.raises(SnapshotError, match=r"nowhere: no repository has it, svc-2.0-r0 needs"):
        maintainer.pin("svc")
    with pytest.raises(SnapshotError, match=r"^other: no repository has it any more"):
        maintainer.pin("other")
    with pytest.raises(ConfigError, match=r"^--package unasked: the lock has no package"):
        maintainer.pin("unasked")
    stale = config(maintainer.config.file.parent, ["elsewhere"])
    with pytest.raises(StaleLockError, match="another choice of packages"):
        pin(
            PinRequest(
                config=stale,
                store=maintainer.store,
                engine_for=engine_for,
                progress=Notes(),
                previous=maintainer.lock,
                only=["svc"],
            )
        )


def test_the_readme_of_an_archive_with_two_indexes_installs(
    maintainer: Maintainer, tmp_path: Path
) -> None:
    lock = maintainer.pin("app")
    path = archived(tmp_path, lock, maintainer.store)
    _, found = installed_by_the_readme(path, tmp_path / "unpacked")
    assert found == set(versions(lock).items())


def test_an_image_gets_the_locked_version_although_a_newer_one_is_listed(
    maintainer: Maintainer, distribution: Distribution, tmp_path: Path
) -> None:
    """An apk is run on the builder's folders with the builder's arguments."""
    lock, engine = maintainer.pin("plugin"), Asking(tmp_path, distribution)
    build_image(
        maintainer.config,
        "droplet",
        lock,
        maintainer.store,
        ORIGIN,
        wanted_engine=None,
        caller={},
        work=tmp_path / "work",
        out=tmp_path / "dist",
        progress=Notes(),
        clock=lambda: 0.0,
        variation=Variation(engine=engine),
    )
    chosen = dict(parse_simulation(engine.output))
    assert chosen == engine.plan["expected"]
    assert versions(lock).items() <= chosen.items()
    assert (chosen["plugin"], chosen["svc"]) == ("2.0-r0", "1.0-r0")
    # Two indexes with one address: a droplet gets it once.
    assert engine.plan["public_repositories"] == [f"{maintainer.mirror.url}/{TAIL}"]
