"""What apk chose for the same question before, so that a pin of unchanged indexes starts no apk.

The choice depends on the apk, the indexes, the keys and the names alone, which are all part of the
key of an answer. One small file in the work folder, like the HTTP cache: without it, or with a
damaged one, apk is asked again. The lock is no source: `pin --check` finds a lock that was changed
by hand.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from build.apk.index import Index
from build.edges.files import write_file
from build.errors import SnapshotError
from build.snapshot.solve import OPTIONS, Offer, Solver, find_offers

FORMAT = 1
"""To be increased when apk is asked or read in another way."""


@dataclass(frozen=True, slots=True)
class Solutions:
    """Answers of apk by the digest of the question."""

    path: Path
    answers: Mapping[str, object]
    used: dict[str, object] = field(default_factory=dict)
    """Those of this run, the only ones that are kept."""

    @classmethod
    def load(cls, path: Path) -> "Solutions":
        """Return the answers in `path`; none if the file is missing or not readable."""
        try:
            answers = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            answers = {}
        return cls(path, answers if isinstance(answers, dict) else {})

    def save(self) -> None:
        """Write the answers of this run."""
        if self.used and self.used != self.answers:
            write_file(self.path, (json.dumps(self.used, sort_keys=True) + "\n").encode())


@dataclass(frozen=True)
class CachedSolver:
    """A solver that is prepared when a question is new."""

    prepare: Callable[[], Solver]
    apk: Sequence[str]
    """SHA-256 of the packages that the solver is unpacked from."""
    solutions: Solutions

    @cached_property
    def _solver(self) -> Solver:
        return self.prepare()

    def version(self) -> str:
        """Return name and version of the program; see `Solver.version`."""
        key = _digest(["version", *self.apk])
        answer = self.solutions.answers.get(key)
        version = answer if isinstance(answer, str) else self._solver.version()
        self.solutions.used[key] = version
        return version

    def solve(
        self,
        packages: Sequence[str],
        indexes: Sequence[Index],
        keys: Mapping[str, bytes],
        work: Path,
        *,
        closure: str,
    ) -> tuple[Offer, ...]:
        """Return what apk would install for `packages`, in its order; see `Solver.solve`."""
        key = _digest(
            [
                *("solve", self.apk, packages, OPTIONS),
                [hashlib.sha256(index.raw).hexdigest() for index in indexes],
                {name: hashlib.sha256(content).hexdigest() for name, content in keys.items()},
            ]
        )
        offers = _known_offers(self.solutions.answers.get(key), indexes)
        if offers is None:
            offers = self._solver.solve(packages, indexes, keys, work, closure=closure)
        self.solutions.used[key] = [[each.record.name, each.record.version] for each in offers]
        return offers


def _digest(question: object) -> str:
    text = json.dumps([FORMAT, question], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _known_offers(answer: object, indexes: Sequence[Index]) -> tuple[Offer, ...] | None:
    """Return the offers of an earlier answer; None if there is none, or it is damaged."""
    chosen: list[tuple[str, str]] = []
    for pair in answer if isinstance(answer, list) else ():
        match pair:
            case [str(name), str(version)]:
                chosen.append((name, version))
            case _:
                return None
    try:
        return find_offers(chosen, indexes) or None
    except SnapshotError:
        return None
