"""One package moves, with what it forces: apk itself says what that is, and nothing else moves."""

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
from build.snapshot.lock import Lock, dump_lock, parse_lock
from build.snapshot.pin import pin
from build.snapshot.solve import parse_simulation
from build.snapshot.store import Store
from tests.apk.makers import APK3, EPOCH, SMALL, key, needs_alpine, real_apk, trusted
from tests.image.test_image import ORIGIN, FakeEngine
from tests.snapshot.served import ARCH, Mirror, Notes, mirror_of
from tests.snapshot.test_archive import archived, installed_by_the_readme
from tests.snapshot.test_pin import as_root, config, engine_for

pytestmark = [needs_alpine, as_root]
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
    """Return all packages of a distribution that is small and hangs together."""
    version, library = f"{number}.0", f"so:libcrypto.so.{number}"
    return [
        one("e2fsprogs", version),
        one("sfdisk", version),
        one("svc", version),
        one("other", version),
        # One source, three packages; one comes by itself, for the very version.
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
    """Let the mirror have these packages and no others, as Alpine's has."""
    place = folder / TAIL / ARCH
    place.mkdir(parents=True, exist_ok=True)
    for path in place.glob("*.apk"):
        path.unlink()
    for content in packages:
        info = read_package(content, trusted(), where="made").info
        (place / f"{info.name}-{info.version}.apk").write_bytes(content)
    (place / INDEX).write_bytes(write_index(packages, key(), description))


class Asking(FakeEngine):
    """An engine that builds nothing, but asks apk what it would install."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.said = folder, ""

    def run(self, job: Job) -> Finished:
        """Ask, and leave the results that the builder would."""
        done = super().run(job)
        packages = next(mount.source for mount in job.mounts if mount.target == "/apk/packages")
        (self.folder / "apk").mkdir()
        (self.folder / "root").mkdir()
        apk = [*real_apk(3, self.folder / "apk"), "--root", str(self.folder / "root")]
        apk += ["--arch", ARCH, "--keys-dir", str(packages / "keys"), "--no-network"]
        apk += ["--repositories-file", "/dev/null", "--no-cache", "--no-progress"]
        plan: Any = self.plan
        for name in plan["repositories"]:
            apk += ["--repository", str(packages / name)]
        for words in (["--initdb", "add"], ["--simulate", "add", *plan["world"]]):
            asked = subprocess.run([*apk, *words], env=PLAIN, check=True, capture_output=True)
        self.said = asked.stdout.decode()
        return done


@dataclass(frozen=True)
class Maintainer:
    """Somebody with a lock of the first generation, whose mirror serves the second by now."""

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
            self.config,
            store=self.store,
            engine_for=engine_for,
            progress=notes or Notes(),
            previous=previous or self.lock,
            only=names,
            sleep=lambda _: None,
        )


@pytest.fixture
def maintainer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maintainer]:
    """Either apk, 3 if not said, comes out of a repository of its own that never changes."""
    with mirror_of(tmp_path / "served") as mirror:
        serve(mirror.folder, generation(1), "first")
        apk = SMALL if getattr(request, "param", 3) == 2 else APK3
        wanted = config(tmp_path, [f"{mirror.url}/{TAIL}", apk], packages=WANTED)
        lock = pin(wanted, store=Store(wanted.store), engine_for=engine_for, progress=Notes())
        serve(mirror.folder, generation(2), "second")
        yield Maintainer(wanted, mirror, lock)


def versions(lock: Lock) -> dict[str, str]:
    return {package.name: package.version for package in lock.closure("droplet")}


@pytest.mark.parametrize(
    ("maintainer", "name", "moved"),
    [
        (3, "svc", {"svc"}),
        # What is built together moves together; a library takes all who link to it along.
        (2, "app", {"app", "libapp", "app-svc", "crypto", "tls-tool", "fresh"}),
        (3, "app", {"app", "libapp", "app-svc", "crypto", "tls-tool", "fresh"}),
        (3, "crypto", {"app", "libapp", "app-svc", "crypto", "tls-tool", "fresh"}),
        (2, "plugin", {"plugin", "other"}),
        (3, "plugin", {"plugin", "other"}),
        # The other way round: what is newer than asked for is no reason to move.
        (3, "other", {"other"}),
    ],
    indirect=["maintainer"],
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
            # Places shift when something is installed before it.
            assert replace(package, order={}) == replace(kept[package.name], order={})
    assert lock.epoch == EPOCH + 2 or lock.epoch == before.epoch > EPOCH
    assert parse_lock(dump_lock(lock), where="lock") == lock


def test_each_package_is_vouched_for_by_the_index_it_names(maintainer: Maintainer) -> None:
    lock, store = maintainer.pin("app"), maintainer.store
    made = [each for each in lock.repositories if each.url.endswith(TAIL)]
    assert [each.description for each in made] == ["first", "second"]
    assert lock.repositories[:2] == maintainer.lock.repositories
    assert dump_lock(maintainer.lock).decode().splitlines()[1] == "format = 1"
    assert dump_lock(lock).decode().splitlines()[1] == "format = 2"
    for package in lock.packages:
        place = lock.repositories[package.repository]
        if place in made:
            index = read_index(store.read(place.index_sha256), trusted(), where="index")
            (record,) = index.records.named(package.name)
            assert (record.version, record.checksum) == (package.version, package.checksum)
            assert len(store.read(package.sha256)) == record.size


def test_again_changes_nothing_and_a_whole_pin_comes_back_to_one_index(
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
        maintainer.config,
        store=maintainer.store,
        engine_for=engine_for,
        progress=Notes(),
        previous=everything,
    )
    assert (len(whole.repositories), "format = 1\n" in dump_lock(whole).decode()) == (2, True)
    assert versions(whole) == versions(everything)


def test_a_builder_of_other_repositories_stays_as_it_is(
    maintainer: Maintainer, tmp_path: Path
) -> None:
    serve(maintainer.mirror.folder, generation(1))
    url = maintainer.config.source.repositories[0]
    # The builder's own apk chooses for it, and is not in the lock.
    wanted = config(tmp_path, [url, APK3], builder=[SMALL], packages=WANTED)
    with_builder = replace(maintainer, config=wanted)
    lock = pin(wanted, store=maintainer.store, engine_for=engine_for, progress=Notes())
    serve(maintainer.mirror.folder, generation(2))
    moved = with_builder.pin("svc", previous=lock)
    assert versions(moved).items() - versions(lock).items() == {("svc", "2.0-r0")}
    assert moved.closure("builder") == tuple(
        replace(package, repository=package.repository + 1) for package in lock.closure("builder")
    )
    assert moved.repositories[-1] == lock.repositories[-1]


def test_what_cannot_move_is_said_in_apks_words(maintainer: Maintainer) -> None:
    broken = [one("svc", "2.0", "nowhere"), *generation(2)[4:]]
    serve(maintainer.mirror.folder, broken)
    with pytest.raises(SnapshotError, match=r"nowhere: no repository brings it, svc-2.0-r0 needs"):
        maintainer.pin("svc")
    with pytest.raises(SnapshotError, match=r"^other: no repository has it any more"):
        maintainer.pin("other")
    with pytest.raises(ConfigError, match=r"^--package unasked: the lock has no package"):
        maintainer.pin("unasked")
    stale = config(maintainer.config.file.parent, ["elsewhere"])
    with pytest.raises(StaleLockError, match="another choice of packages"):
        pin(
            stale,
            store=maintainer.store,
            engine_for=engine_for,
            progress=Notes(),
            previous=maintainer.lock,
            only=["svc"],
        )


@pytest.mark.parametrize("maintainer", [2, 3], indirect=True)
def test_a_stranger_installs_the_archive_of_two_indexes(
    maintainer: Maintainer, tmp_path: Path
) -> None:
    lock = maintainer.pin("app")
    path = archived(tmp_path, lock, maintainer.store)
    _, found = installed_by_the_readme(path, tmp_path / "unpacked")
    assert found == set(versions(lock).items())


def test_an_image_gets_what_the_lock_says_although_newer_is_there(
    maintainer: Maintainer, tmp_path: Path
) -> None:
    """The real apk is shown the folders that the builder gets, and asked as the builder asks."""
    lock, engine = maintainer.pin("plugin"), Asking(tmp_path)
    build_image(
        maintainer.config,
        "droplet",
        lock,
        maintainer.store,
        ORIGIN,
        wanted_engine=None,
        work=tmp_path / "work",
        out=tmp_path / "dist",
        progress=Notes(),
        clock=lambda: 0.0,
        variation=Variation(engine=engine),
    )
    chosen = dict(parse_simulation(engine.said))
    assert chosen == engine.plan["expected"]
    assert versions(lock).items() <= chosen.items()
    assert (chosen["plugin"], chosen["svc"]) == ("2.0-r0", "1.0-r0")
    # Two indexes, one address: a droplet is told it once.
    assert engine.plan["public_repositories"] == [f"{maintainer.mirror.url}/{TAIL}"]
