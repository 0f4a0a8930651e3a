"""Prove that a build repeats: the walk of `build --prove`, read me first.

The first build is as any. The second is made by a process, in a place and in a container that
are unlike the first in everything that must not matter. With `--another-day` a third is made
in a machine of its own, under another kernel and with its clock more than a year ahead.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from build.edges.process import PATH
from build.edges.progress import Silent
from build.edges.variation import Variation
from build.errors import BuildError, NotReproducibleError
from build.image import Image, compare_images
from build.snapshot.lock import dump_lock
from ci.release.build_job import Order, build_variant
from ci.release.checkout import ROOT
from ci.report.console import Console
from ci.reproduce.environment_report import Built, Row, compare_sights, look_here
from ci.reproduce.kernel_modules import kernel_of
from ci.reproduce.vm import VirtualMachine, find_qemu
from ci.reproduce.workspace import Place, other_place

ENTER = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    'runpy.run_module("ci.reproduce.varied_build", run_name="__main__", alter_sys=True)'
)
DAYS = 431
"""How far ahead the other day is: another year, another weekday, another side of summer time."""
KEPT = "not-reproducible"
"""Folder of `work` in which an image that came out differently is kept."""
NOISE = {
    "COLUMNS": "31",
    "E2FSPROGS_FAKE_TIME": "1",
    "GZIP_OPT": "-1",
    "HOSTNAME": "another",
    "MKE2FS_CONFIG": "/nonexistent",
    "MKE2FS_SYNC": "7",
    "POSIXLY_CORRECT": "1",
    "SOURCE_DATE_EPOCH": "1",
    "TAR_OPTIONS": "--mtime=@1",
    "USER": "somebody",
    "XZ_OPT": "-0",
    "ZSTD_CLEVEL": "1",
}
"""Variables that programs on the way to an image would listen to."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Several builds that gave the same bytes, or did not, and what was different about them."""

    builds: tuple[Built, ...]
    rows: tuple[Row, ...]
    differences: tuple[NotReproducibleError, ...]

    def data(self) -> Mapping[str, Any]:
        """Return the report as JSON can hold it."""
        digests = ("tree", "raw", "image")
        return {
            "passed": not self.differences,
            "builds": [
                {
                    "title": built.title,
                    **{name: built.image.record[name]["sha256"] for name in digests},
                }
                for built in self.builds
            ],
            "varied": [
                {"thing": row.thing, "values": row.values} for row in self.rows if row.varied
            ],
            "not_varied": [
                {"thing": row.thing, "value": row.values[0], "why": row.why_not}
                for row in self.rows
                if not row.varied
            ],
            "differences": [str(error) for error in self.differences],
        }


def prove(
    order: Order,
    variant: str,
    first: Image,
    console: Console,
    *,
    another_day: bool,
    without_rules: Sequence[str] = (),
) -> Proof:
    """Build `first` again in other ways, and return what came of it; images that differ are kept.

    `without_rules` is for tests: what `first` was built without.

    Raises:
        BuildError: another build could not be made at all.
        MissingToolError: another day was asked for, and there is no QEMU.
    """
    work = order.config.build.work
    builds = [Built("plain", first, look_here(work))]
    differences: list[NotReproducibleError] = []

    def judge(built: Built) -> None:
        builds.append(built)
        try:
            compare_images(first, built.image)
        except NotReproducibleError as error:
            differences.append(_explained(error, first, _keep(built, work)))

    with other_place(work, ROOT) as place:
        judge(_build_varied(order, variant, first, place, console, without_rules))
    if another_day:
        with TemporaryDirectory(prefix="day-", dir=work) as folder:
            judge(_build_later(order, variant, Path(folder), console, without_rules))
    return Proof(tuple(builds), compare_sights(builds), tuple(differences))


def _build_varied(
    order: Order,
    variant: str,
    first: Image,
    place: Place,
    console: Console,
    without_rules: Sequence[str],
) -> Built:
    """Build in another process (see `other_process`), which answers in a file."""
    request_path, answer_path = place.home / "request.json", place.home / "answer.json"
    lock_path = place.home / "lock"
    lock_path.write_bytes(dump_lock(order.lock))
    request = {
        "config": str(order.config.file.resolve()),
        "lock": str(lock_path),
        "store": str(order.store.folder.resolve()),
        "origin": asdict(order.origin),
        "variant": variant,
        "work": str(place.work),
        "out": str(place.out),
        "tree": str(place.tree) if place.tree else "",
        "engine": first.record["engine"]["name"],
        "without_rules": list(without_rules),
        "why_not": dict(place.why_not),
        "silent": console.json,
        "answer": str(answer_path),
    }
    request_path.write_text(json.dumps(request), encoding="utf-8")
    console.progress.note("Once more, with everything else different:")
    argv = [sys.executable, "-c", ENTER, str(place.sources), str(request_path)]
    _wait_for(argv, place)
    if not answer_path.exists():
        raise BuildError("the other build ended without an answer; its last words are above")
    answer = json.loads(answer_path.read_text(encoding="utf-8"))
    if "error" in answer:
        raise BuildError(f"the other build: {answer['error']}", hint=answer["hint"])
    image = Image(
        Path(answer["image"]),
        Path(answer["record_path"]),
        answer["record"],
        Path(answer["listing"]).read_bytes(),
        answer["seen"],
    )
    return Built("varied", image, answer["here"], answer["why_not"])


def _wait_for(argv: Sequence[str], place: Place) -> None:
    """Run the other process; when we are interrupted, it is given the time to clear up."""
    with subprocess.Popen(
        argv,
        cwd=place.home,
        env=other_environment(place.home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            raise


def other_environment(home: Path) -> Mapping[str, str]:
    """Return an environment that has nothing in common with ours but where programs are."""
    odd = "Pacific/Kiritimati" if os.environ.get("TZ") != "Pacific/Kiritimati" else "Asia/Tokyo"
    return {
        **NOISE,
        "PATH": os.environ.get("PATH", PATH),
        **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        "HOME": str(home),
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "20815",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": odd,
    }


def _build_later(
    order: Order, variant: str, out: Path, console: Console, without_rules: Sequence[str]
) -> Built:
    """Build in a machine whose clock is `DAYS` ahead, and passes midnight on the way."""
    work, version = order.config.build.work, find_qemu()
    day = datetime.now(tz=UTC) + timedelta(days=DAYS)
    console.progress.note(f"Once more on {day:%Y-%m-%d}, in a machine of its own:")
    with kernel_of(order.lock, variant, order.store, work) as kernel:
        engine = VirtualMachine(
            kernel=kernel,
            day=day.replace(hour=23, minute=59, second=40, microsecond=0),
            work=work,
            version=version,
        )
        variation = Variation(engine=engine, without_rules=tuple(without_rules))
        progress = Silent() if console.json else console.progress
        image = build_variant(order, variant, out, progress, variation)
    return Built("another day", image, look_here(work))


def _keep(built: Built, work: Path) -> Image:
    """Move an image that came out differently to where `explain` can read it."""
    folder = work / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    image = built.image
    kept = folder / f"{image.path.stem}.{built.title.replace(' ', '-')}.qcow2"
    kept.write_bytes(image.path.read_bytes())
    return Image(kept, image.record_path, image.record, image.listing, image.environment)


def _explained(error: NotReproducibleError, first: Image, second: Image) -> NotReproducibleError:
    return NotReproducibleError(
        str(error), hint=f"run `nox -s explain -- {first.path} {second.path}`"
    )
