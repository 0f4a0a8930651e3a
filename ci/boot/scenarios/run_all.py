"""The walk: the table of cases -> rows of the boot report (read me first)."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from build.edges.progress import Progress
from ci.boot.boot_image import BootOptions, checked_disk
from ci.boot.checks import Check, Fault
from ci.boot.scenarios.runner import Key, Played, Stage, log_name, play
from ci.boot.scenarios.scenarios import CASES, FIRST, KEYS, Case
from ci.boot.ssh import make_key
from ci.release.checkout import read_record

WAITING_AT_ONCE = 2
"""Cases that mostly wait: one after the other they would take longer than all the rest."""
NOT_TRIED = Check(name="boot", passed=False, expected="comes up", found="not tried: no first boot")


@dataclass(frozen=True, slots=True)
class Row:
    """A case with what came of it."""

    case: Case
    played: Played
    logs: tuple[Path, ...]
    """The consoles of its boots."""

    @property
    def fault(self) -> Fault:
        """The line of the boot report."""
        return self.played.row(self.case.name)


def boot_under_faults(
    record_path: Path,
    here: BootOptions,
    progress: Progress,
    *,
    image: Path | None = None,
    cases: Sequence[Case] = CASES,
    at_once: int | None = None,
) -> tuple[Row, ...]:
    """Boot the image of a build record in each of the `cases`; return a row for each.

    `at_once` cases are played at a time (as many as there are cores), and beside them two that
    mostly wait. The first case of the table is played before all others, and also when it is
    not asked for, where one of them begins with its disk or is compared with it.

    Raises:
        VerificationError: the image is not the one that the record names.
        MissingToolError: QEMU or another program is not on this machine.
    """
    record = read_record(record_path)
    disk = checked_disk(record, image or record_path.parent / record["image"]["file"])
    logs = here.work / "faults" / disk.stem
    logs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="faults-", dir=here.work.absolute()) as folder:
        stage = Stage(
            image=disk.absolute(),
            folder=Path(folder),
            logs=logs,
            keys=_made_keys(Path(folder), here),
            here=here,
            given_up=threading.Event(),
        )
        found = _play_all(cases, stage, progress, at_once or len(os.sched_getaffinity(0)))
    return tuple(
        Row(case, found[case.name], tuple(sorted(logs.glob(f"{log_name(case, 0)}-[0-9].log"))))
        for case in cases
    )


def _made_keys(folder: Path, here: BootOptions) -> dict[str, Key]:
    keys = {}
    for name in KEYS:
        place = folder / f"key-{name}"
        place.mkdir()
        keys[name] = Key(place, make_key(place, here.environment))
    return keys


def _play_all(
    cases: Sequence[Case], stage: Stage, progress: Progress, at_once: int
) -> dict[str, Played]:
    """Return what came of each case by its name."""
    found: dict[str, Played] = {}
    rest = [case for case in cases if case.name != FIRST]
    needs_first = any(case.needs_first for case in cases)
    with progress.step("Boot under faults", total=needs_first + len(rest), unit="") as step:

        def tell(case: Case, played: Played) -> None:
            found[case.name] = played
            progress.note(_told(case, played))
            step.advance(1)

        if needs_first:
            (first,) = [case for case in CASES if case.name == FIRST]
            played = play(first, stage)
            tell(first, played)
            if not played.seen:
                return found | {case.name: replace(played, checks=(NOT_TRIED,)) for case in rest}
            stage = replace(stage, first=played)
        for case, played in _side_by_side(rest, stage, at_once):
            tell(case, played)
    return found


def _side_by_side(
    cases: Sequence[Case], stage: Stage, at_once: int
) -> Iterator[tuple[Case, Played]]:
    with _pool(stage, at_once) as busy, _pool(stage, WAITING_AT_ONCE) as waiting:
        futures: dict[Future[Played], Case] = {
            (waiting if case.waits else busy).submit(play, case, stage): case for case in cases
        }
        for future in as_completed(futures):
            yield futures[future], future.result()


@contextmanager
def _pool(stage: Stage, at_once: int) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(at_once, thread_name_prefix="case") as pool:
        try:
            yield pool
        except BaseException:
            # Whoever is at it ends its machine, and nobody begins.
            stage.given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _told(case: Case, played: Played) -> str:
    word = "ok" if all(check.passed for check in played.checks) else "FAILED"
    return f"{word} {case.name} ({played.seconds:.0f} s)"
