"""Which packages: the snapshot's own apk decides, and we read its answer.

apk 2 and apk 3 choose differently, so the program that will install is the one that
solves. It is taken out of the snapshot itself: its package and all it links to, unpacked
into a folder, the apk root, and run there in a container.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from build.apk.index import INDEX, Index, IndexRecord
from build.apk.version import VersionKey, version_key
from build.edges.container import Engine, Job, Mount, prepare_root
from build.edges.process import Finished
from build.errors import SnapshotError
from build.snapshot.solver_errors import explain, is_out_of_step

EngineFor = Callable[[Path, Sequence[str]], Engine]
"""From a root and a program to try in it, the engine that runs it."""
PROGRAMS = ("apk-tools-static", "apk-tools")
"""Packages that bring apk, the better one first: the static one links to nothing."""
STATIC, DYNAMIC = "/sbin/apk.static", "/sbin/apk"
INSTALLING = re.compile(
    r"^\( *(?P<place>\d+)/(?P<count>\d+)\) Installing (?P<name>\S+) \((?P<version>\S+)\)$",
    re.MULTILINE,
)
"""apk 3 pads the place with spaces."""
NAME_OF_DEPENDENCY = re.compile(r"[^<>=~@]+")
WORK = "/work"
"""Where the indexes and keys show up in the container."""
SECONDS = 300.0
REASON_LINES = 40


class UnsolvedError(SnapshotError):
    """apk finds no set of packages; `passing` when repositories seem to be out of step."""

    def __init__(self, asked_by: str, report: str) -> None:
        self.asked_by, self.report = asked_by, (report := _shown(report))
        words = "\n".join(f"  {sentence}" for sentence in explain(report))
        super().__init__(
            f"{asked_by}: apk finds no set of packages that fits:\n{report}"
            + (f"\nin other words:\n{words}" if words else ""),
            hint="change `packages` or `repositories` in release.toml by what apk says",
        )
        self.passing = is_out_of_step(report)


class LackingError(SnapshotError):
    """No repository brings what is `wanted`, which the package `by` needs to run apk."""

    def __init__(self, wanted: str, by: str) -> None:
        super().__init__(f"{wanted}: no repository brings it, {by} needs it")
        self.wanted, self.by = wanted, by


@dataclass(frozen=True, slots=True)
class Offer:
    """A package and the repository that offers it."""

    repository: int
    """Its place in the list of indexes."""
    record: IndexRecord


def bootstrap(indexes: Sequence[Index]) -> tuple[Offer, ...]:
    """Return apk's own package and all it needs, what is needed first.

    Dependencies are followed naively, to the first and newest that has the name: this set
    is unpacked to run apk, never installed.

    Raises:
        SnapshotError: no repository brings apk.
        LackingError: none brings something it needs.
    """
    start = next((name for name in PROGRAMS if _best(name, indexes)), None)
    if start is None:
        raise SnapshotError(
            f"no repository brings {' or '.join(PROGRAMS)}",
            hint="name the repository that does: Alpine's `main`",
        )
    done: dict[str, Offer] = {}
    _follow(start, "the bootstrap", indexes, done, set())
    return tuple(done.values())


def _follow(
    wanted: str, by: str, indexes: Sequence[Index], done: dict[str, Offer], seen: set[str]
) -> None:
    name = name_of(wanted)
    if wanted.startswith("!") or name in seen:
        return
    seen.add(name)
    offer = _best(name, indexes)
    if offer is None:
        raise LackingError(name, by)
    for dependency in offer.record.depends:
        _follow(dependency, offer.record.name, indexes, done, seen)
    done.setdefault(offer.record.name, offer)


def name_of(dependency: str) -> str:
    """Return what a dependency asks for, without the version.

    >>> name_of("so:libz.so.1"), name_of("musl>=1.2")
    ('so:libz.so.1', 'musl')
    """
    match = NAME_OF_DEPENDENCY.match(dependency)
    return match[0] if match else dependency


def _best(name: str, indexes: Sequence[Index]) -> Offer | None:
    """Return the newest package called `name`, or the best of those that provide it."""
    own = [
        (rank(record.version), -number, Offer(number, record))
        for number, index in enumerate(indexes)
        for record in index.records.named(name)
    ]
    others = [
        (rank(_provided(name, record)), record.provider_priority or 0, Offer(number, record))
        for number, index in enumerate(indexes)
        for record in (() if own else index.records.providing(name))
    ]
    ranked = max(own or others, key=lambda row: row[:2], default=None)
    return ranked[2] if ranked else None


def _provided(name: str, record: IndexRecord) -> str:
    """Return the version in which `record` provides `name`, or nothing."""
    pairs = [provided.partition("=") for provided in record.provides]
    return next((version for found, _, version in pairs if found == name), "")


def rank(version: str) -> VersionKey:
    """Return what versions are ordered by; what is no version comes before all of them."""
    try:
        return version_key(version)
    except ValueError:
        return ()


@dataclass(frozen=True, slots=True)
class Solver:
    """The snapshot's own apk, in its root, with the engine that runs it there."""

    root: Path
    program: str
    engine: Engine
    arch: str

    @classmethod
    def prepare(cls, root: Path, engine_for: EngineFor, *, arch: str) -> "Solver":
        """Return the solver in `root`, a folder with the bootstrap's files.

        Raises:
            SnapshotError: there is no apk in it.
            BuildError: no engine runs it.
        """
        prepare_root(root, [WORK])
        program = next((path for path in (STATIC, DYNAMIC) if (root / path[1:]).is_file()), None)
        if program is None:
            raise SnapshotError(
                f"apk: neither {STATIC} nor {DYNAMIC} in the packages that bring it"
            )
        return cls(root, program, engine_for(root, [program, "--version"]), arch)

    def version(self) -> str:
        """Return what apk calls itself, such as `apk-tools 3.0.6`.

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
        asked_by: str,
    ) -> tuple[Offer, ...]:
        """Return what apk would install for `packages`, in its order.

        `keys` are public keys by file name; `work` is a folder for what the program reads;
        `asked_by` names the closure in errors.

        Raises:
            UnsolvedError: apk finds no answer; the message holds its reasons and ours.
            SnapshotError: it gives one that is not in the indexes.
        """
        with TemporaryDirectory(prefix="solve-", dir=work) as folder:
            shared = Path(folder)
            _lay_out(shared, indexes, keys, self.arch)
            repositories = [f"{WORK}/r{number}" for number in range(len(indexes))]
            common = _arguments(self.program, self.arch, repositories)
            # apk does not simulate the making of a database: that is a step of its own.
            self._run([*common, "--initdb", "add"], shared, asked_by)
            done = self._run([*common, "--simulate", "add", *packages], shared, asked_by)
        return _offered(parse_simulation(done.text), indexes)

    def _run(self, argv: Sequence[str], shared: Path, asked_by: str) -> Finished:
        done = self.engine.run(
            Job(root=self.root, argv=argv, mounts=[Mount(shared, WORK)], timeout=SECONDS)
        )
        if done.status != 0:
            raise UnsolvedError(asked_by, done.last_lines(REASON_LINES))
        return done


def parse_simulation(text: str) -> tuple[tuple[str, str], ...]:
    r"""Return names and versions of the packages in the output of `apk --simulate add`.

    >>> parse_simulation("(1/1) Installing musl (1.2.5-r9)\nOK: 0 MiB in 0 packages\n")
    (('musl', '1.2.5-r9'),)

    Raises:
        SnapshotError: the places do not run from the first to the last, so that a package
            would be missing.
    """
    lines = list(INSTALLING.finditer(text))
    places = [(int(match["place"]), int(match["count"])) for match in lines]
    if not lines or places != [(place, len(lines)) for place in range(1, len(lines) + 1)]:
        raise SnapshotError(
            f"apk --simulate: an answer that cannot be read:\n{_shown(text[-2000:])}"
        )
    return tuple((match["name"], match["version"]) for match in lines)


def _shown(text: str) -> str:
    """Return a program's output for a terminal, which it shall not steer."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _arguments(program: str, arch: str, repositories: Sequence[str]) -> list[str]:
    argv = [program, "--arch", arch, "--root", f"{WORK}/root", "--keys-dir", f"{WORK}/keys"]
    for repository in repositories:
        argv += ["--repository", repository]
    return [
        *argv,
        "--repositories-file",
        "/dev/null",
        "--no-network",
        "--no-cache",
        "--no-progress",
    ]


def _lay_out(shared: Path, indexes: Sequence[Index], keys: Mapping[str, bytes], arch: str) -> None:
    (shared / "root").mkdir()
    (shared / "keys").mkdir()
    for name, content in keys.items():
        (shared / "keys" / name).write_bytes(content)
    for number, index in enumerate(indexes):
        folder = shared / f"r{number}" / arch
        folder.mkdir(parents=True)
        (folder / INDEX).write_bytes(index.raw)


def _offered(chosen: Sequence[tuple[str, str]], indexes: Sequence[Index]) -> tuple[Offer, ...]:
    offers = []
    for name, version in chosen:
        found = (
            Offer(number, record)
            for number, index in enumerate(indexes)
            for record in index.records.named(name)
            if record.version == version
        )
        offer = next(found, None)
        if offer is None:
            raise SnapshotError(f"apk chose {name}-{version}: not in the indexes")
        offers.append(offer)
    return tuple(offers)
