"""Choice of packages: made by the snapshot's own apk, whose output is read here.

apk 2 and apk 3 choose differently, so the program that will install is the one that
solves. It is taken out of the snapshot itself: its package and all it links to, unpacked
into a folder and run there in a container.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build.apk.index import INDEX, Index, IndexRecord
from build.apk.version import VersionKey, version_key
from build.edges.container import Engine, Job, Mount, prepare_root
from build.edges.process import Finished
from build.edges.temporary import temporary_folder
from build.errors import SnapshotError
from build.snapshot.solver_errors import explain, is_out_of_step

EngineFor = Callable[[Path, Sequence[str]], Engine]
"""Returns the engine that can run a program in a root folder."""
PROGRAMS = ("apk-tools-static", "apk-tools")
"""Packages that contain apk, the better one first: the static one needs no library."""
STATIC, DYNAMIC = "/sbin/apk.static", "/sbin/apk"
INSTALLING = re.compile(
    r"^\( *(?P<position>\d+)/(?P<count>\d+)\) Installing (?P<name>\S+) \((?P<version>\S+)\)$",
    re.MULTILINE,
)
"""apk 3 pads the position with spaces."""
WORK = "/work"
"""Folder in the container with the indexes and keys."""
ROOT = "/target"
"""Root of the simulated installation. Not below WORK, which is read-only: docker copies into no
volume that lies in a read-only mount."""
OPTIONS = (
    f"--root {ROOT} --keys-dir {WORK}/keys --repositories-file /dev/null "
    "--no-network --no-cache --no-progress"
).split()
"""Only the given repositories: nothing from the root's own list, the network or a cache."""
SECONDS = 300.0
REASON_LINES = 40


class UnsolvedError(SnapshotError):
    """apk finds no set of packages for `closure`; `report` is its output."""

    def __init__(self, closure: str, report: str) -> None:
        self.closure, self.report = closure, (report := _printable(report))
        words = "\n".join(f"  {sentence}" for sentence in explain(report))
        super().__init__(
            f"{closure}: apk finds no set of packages that fits:\n{report}"
            + (f"\nin other words:\n{words}" if words else ""),
            hint="change `packages` or `repositories` in release.toml by what apk says",
        )
        self.is_out_of_step = is_out_of_step(report)


class MissingDependencyError(SnapshotError):
    """No repository has what is `wanted`, which `needed_by` needs to run apk."""

    def __init__(self, wanted: str, needed_by: str) -> None:
        super().__init__(f"{wanted}: no repository has it, {needed_by} needs it")
        self.wanted, self.needed_by = wanted, needed_by


@dataclass(frozen=True, slots=True)
class Offer:
    """Package and the repository that offers it."""

    repository: int
    """Position in the list of indexes."""
    record: IndexRecord


def bootstrap(indexes: Sequence[Index]) -> tuple[Offer, ...]:
    """Return apk's own package and all it needs, dependencies first.

    Each dependency is resolved to the first and newest package of that name, versions ignored:
    this set is only unpacked to run apk, never installed.

    Raises:
        SnapshotError: no repository has apk.
        MissingDependencyError: none has something apk needs.
    """
    start = next((name for name in PROGRAMS if _best(name, indexes)), None)
    if start is None:
        raise SnapshotError(
            f"no repository has {' or '.join(PROGRAMS)}",
            hint="name the repository that has: Alpine's `main`",
        )
    done, seen = dict[str, Offer](), set[str]()

    def follow(wanted: str, by: str) -> None:
        name = dependency_name(wanted)
        if wanted.startswith("!") or name in seen:  # `!name` is a conflict, not a dependency
            return
        seen.add(name)
        offer = _best(name, indexes)
        if offer is None:
            raise MissingDependencyError(name, by)
        for dependency in offer.record.depends:
            follow(dependency, offer.record.name)
        done.setdefault(offer.record.name, offer)

    follow(start, "the bootstrap")
    return tuple(done.values())


def dependency_name(dependency: str) -> str:
    """Return the name in a dependency, without the version.

    >>> dependency_name("so:libz.so.1"), dependency_name("musl>=1.2")
    ('so:libz.so.1', 'musl')
    """
    return re.split("[<>=~@]", dependency, maxsplit=1)[0] or dependency


def _best(name: str, indexes: Sequence[Index]) -> Offer | None:
    """Return the newest package called `name`, or the best of those that provide it.

    Providers rank by the version in which they provide it, then by `provider_priority`.
    """

    def rank(offer: Offer) -> tuple[VersionKey, int]:
        provided = (each.partition("=") for each in offer.record.provides)
        version = next((version for found, _, version in provided if found == name), "")
        return version_rank(version), offer.record.provider_priority or 0

    numbered = list(enumerate(indexes))
    # Of two equal offers `max` returns the first: that of the first repository.
    if own := [Offer(n, record) for n, each in numbered for record in each.records.named(name)]:
        return max(own, key=lambda offer: version_rank(offer.record.version))
    others = [Offer(n, record) for n, each in numbered for record in each.records.providing(name)]
    return max(others, key=rank, default=None)


def version_rank(version: str) -> VersionKey:
    """Return the sort key of a version; a string that is no version sorts before all."""
    try:
        return version_key(version)
    except ValueError:
        return ()


@dataclass(frozen=True, slots=True)
class Solver:
    """The snapshot's own apk, in its root folder, with the engine that runs it there."""

    root: Path
    program: str
    engine: Engine
    arch: str

    @classmethod
    def prepare(cls, root: Path, engine_for: EngineFor, *, arch: str) -> "Solver":
        """Return the solver in `root`, a folder with the bootstrap's files.

        Raises:
            SnapshotError: there is no apk in it.
            BuildError: no engine can run it.
        """
        prepare_root(root, [WORK, ROOT])
        program = next((path for path in (STATIC, DYNAMIC) if (root / path[1:]).is_file()), None)
        if program is None:
            raise SnapshotError(f"apk: neither {STATIC} nor {DYNAMIC} in its packages")
        return cls(root, program, engine_for(root, [program, "--version"]), arch)

    def version(self) -> str:
        """Return name and version of the program, such as `apk-tools 3.0.6`.

        Raises:
            SnapshotError: it does not start.
        """
        done = self.engine.run(
            Job(root=self.root, argv=[self.program, "--version"], timeout=SECONDS)
        )
        if done.status != 0 or not done.text.startswith("apk-tools "):
            raise SnapshotError(
                f"apk --version failed with status {done.status}:\n{done.last_lines()}"
            )
        return done.text.split(",")[0].strip()

    def solve(
        self,
        packages: Sequence[str],
        indexes: Sequence[Index],
        keys: Mapping[str, bytes],
        work: Path,
        *,
        closure: str,
    ) -> tuple[Offer, ...]:
        """Return what apk would install for `packages`, in its order.

        `keys` are public keys by file name; `work` is a folder for what the program reads;
        `closure` is its name in errors.

        Raises:
            UnsolvedError: apk finds no solution; the message has its report, explained.
            SnapshotError: apk's output names a package that is not in the indexes.
        """
        with temporary_folder("solve-", work) as folder:
            shared = Path(folder)
            inputs, root = shared / "inputs", shared / "root"
            inputs.mkdir()
            root.mkdir()
            _write_inputs(inputs, indexes, keys, self.arch)
            mounts = (Mount(inputs, WORK, read_only=True), Mount(root, ROOT))
            common = [self.program, "--arch", self.arch, *OPTIONS]
            for number in range(len(indexes)):
                common += ["--repository", f"{WORK}/r{number}"]
            # --initdb together with --simulate fails (status 99): a step of its own.
            self._run([*common, "--initdb", "add"], mounts, closure)
            done = self._run([*common, "--simulate", "add", *packages], mounts, closure)
        return find_offers(parse_simulation(done.text), indexes)

    def _run(self, argv: Sequence[str], mounts: Sequence[Mount], closure: str) -> Finished:
        done = self.engine.run(Job(root=self.root, argv=argv, mounts=mounts, timeout=SECONDS))
        if done.status != 0:
            raise UnsolvedError(closure, done.last_lines(REASON_LINES))
        return done


def parse_simulation(text: str) -> tuple[tuple[str, str], ...]:
    r"""Return names and versions of the packages in the output of `apk --simulate add`.

    >>> parse_simulation("(1/1) Installing musl (1.2.5-r9)\nOK: 0 MiB in 0 packages\n")
    (('musl', '1.2.5-r9'),)

    Raises:
        SnapshotError: the positions do not run from 1 to the count, so a package may be
            missing.
    """
    lines = list(INSTALLING.finditer(text))
    positions = [(int(match["position"]), int(match["count"])) for match in lines]
    if not lines or positions != [(n, len(lines)) for n in range(1, len(lines) + 1)]:
        raise SnapshotError(
            f"apk --simulate: output that cannot be read:\n{_printable(text[-2000:])}"
        )
    return tuple((match["name"], match["version"]) for match in lines)


def _printable(text: str) -> str:
    """Return a program's output without control characters, which could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _write_inputs(
    folder: Path, indexes: Sequence[Index], keys: Mapping[str, bytes], arch: str
) -> None:
    (folder / "keys").mkdir()
    for name, content in keys.items():
        (folder / "keys" / name).write_bytes(content)
    for number, index in enumerate(indexes):
        target = folder / f"r{number}" / arch
        target.mkdir(parents=True)
        (target / INDEX).write_bytes(index.raw)


def find_offers(chosen: Sequence[tuple[str, str]], indexes: Sequence[Index]) -> tuple[Offer, ...]:
    """Return each package of `chosen`, name and version, with the first repository that offers it.

    Raises:
        SnapshotError: no repository offers one.
    """
    offers = []
    for name, version in chosen:
        for number, index in enumerate(indexes):
            found = [each for each in index.records.named(name) if each.version == version]
            if found:
                offers.append(Offer(number, found[0]))
                break
        else:
            raise SnapshotError(f"apk chose {name}-{version}: not in the indexes")
    return tuple(offers)
