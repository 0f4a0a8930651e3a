"""Prove that a build is reproducible: `build --prove` (read first).

The first build varies nothing. The second runs in a process, in folders and in a container that are
unlike the first in everything that must not change the output. With `--another-day` a third runs
in a virtual machine, under another kernel and with its clock more than a year ahead.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from build.compare import compare_images
from build.edges.container import client_environment
from build.edges.parent import with_parent
from build.edges.process import PATH
from build.edges.progress import Silent
from build.edges.temporary import temporary_folder
from build.edges.variation import Variation
from build.errors import BuildError, NotReproducibleError
from build.image import Image
from build.snapshot.lock import dump_lock
from ci.release.build_job import BuildJob, build_variant
from ci.release.checkout import ROOT
from ci.report.console import Console
from ci.reproduce.environment_report import (
    ComparedBuild,
    Row,
    compare_environments,
    describe_host,
)
from ci.reproduce.kernel_modules import unpack_kernel
from ci.reproduce.vm import VirtualMachine, find_qemu
from ci.reproduce.workspace import Workspace, create_workspace

ENTER = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    'runpy.run_module("ci.reproduce.varied_build", run_name="__main__", alter_sys=True)'
)
"""Runs the varied build from the copied sources, which `-m` would not look for."""
DAYS = 431
"""How far ahead the other day is: another year, another weekday, another side of summer time."""
KEPT = "not-reproducible"
"""Folder of `work` in which an image with other bytes is kept."""
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
    "USER": "builder",
    "XZ_OPT": "-0",
    "ZSTD_CLEVEL": "1",
}
"""Variables that change the output of programs which the build runs, if one of them is passed."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The builds that were compared, their environments, and the images that differ."""

    builds: tuple[ComparedBuild, ...]
    rows: tuple[Row, ...]
    differences: tuple[NotReproducibleError, ...]

    def data(self) -> Mapping[str, Any]:
        """Return the report as values for JSON."""
        varied = [row for row in self.rows if row.varied]
        same = [row for row in self.rows if not row.varied]
        names = ("tree", "raw", "image")
        return {
            "passed": not self.differences,
            "builds": [
                {"title": each.title, **{name: each.image.record[name]["sha256"] for name in names}}
                for each in self.builds
            ],
            "varied": [{"thing": row.name, "values": row.values} for row in varied],
            "not_varied": [
                {"thing": row.name, "value": row.values[0], "why": row.reason} for row in same
            ],
            "differences": [str(error) for error in self.differences],
        }


def prove(
    job: BuildJob,
    variant: str,
    first: Image,
    console: Console,
    *,
    another_day: bool,
    without_rules: Sequence[str] = (),
) -> Proof:
    """Build `first` again in other ways and return the comparison; images that differ are kept.

    `without_rules` is for tests: the rules that `first` was built without.

    Raises:
        BuildError: another build failed.
        MissingToolError: another day was requested, and there is no QEMU.
    """
    work = job.config.build.work
    builds = [ComparedBuild("plain", first, describe_host(work))]
    with create_workspace(work, ROOT) as workspace:
        varied = _build_varied(job, variant, first, workspace, console, without_rules)
        builds.append(varied)
        differences = _compare(first, varied, work)
    if another_day:
        with temporary_folder("day-", work) as folder:
            later = _build_later(job, variant, folder, console, without_rules)
            builds.append(later)
            differences += _compare(first, later, work)
    return Proof(tuple(builds), compare_environments(builds), tuple(differences))


def _compare(first: Image, build: ComparedBuild, work: Path) -> list[NotReproducibleError]:
    """Return the difference, if any, after moving the image to where `explain` can read it."""
    try:
        compare_images(first, build.image)
    except NotReproducibleError as error:
        title = build.title.replace(" ", "-")
        kept = work / KEPT / f"{build.image.path.stem}.{title}.qcow2"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(build.image.path, kept)
        hint = f"run `nox -s explain -- {first.path} {kept}`"
        return [NotReproducibleError(str(error), hint=hint)]
    return []


def _build_varied(
    job: BuildJob,
    variant: str,
    first: Image,
    workspace: Workspace,
    console: Console,
    without_rules: Sequence[str],
) -> ComparedBuild:
    """Build in another process (`varied_build`), which writes its answer to a file."""
    home = workspace.home
    (home / "lock").write_bytes(dump_lock(job.lock))
    request = {
        "config": str(job.config.file.resolve()),
        "store": str(job.store.folder.resolve()),
        "origin": asdict(job.origin),
        "variant": variant,
        "work": str(workspace.work),
        "out": str(workspace.out),
        "tree": str(workspace.tree) if workspace.tree else "",
        "engine": first.record["engine"]["name"],
        # The other process has another HOME; the engine's own settings are where ours says.
        "caller": client_environment(job.caller),
        "without_rules": list(without_rules),
        "silent": console.json,
    }
    (home / "request.json").write_text(json.dumps(request), encoding="utf-8")
    console.progress.note("Building again, with everything varied:")
    _run([sys.executable, "-c", ENTER, str(workspace.sources), str(home)], home)
    if not (home / "answer.json").exists():
        raise BuildError("the varied build ended without an answer; its last output is above")
    answer = json.loads((home / "answer.json").read_text(encoding="utf-8"))
    if "error" in answer:
        raise BuildError(f"the varied build: {answer['error']}", hint=answer["hint"])
    image = Image(
        Path(answer["image"]),
        Path(answer["record_path"]),
        answer["record"],
        answer["listing"].encode(errors="surrogateescape"),
        answer["environment"],
    )
    reasons = {**workspace.reasons, **answer["reasons"]}
    return ComparedBuild("varied", image, answer["host"], reasons)


def _run(argv: Sequence[str], home: Path) -> None:
    """Run the other process to its end; on an interrupt it gets a minute to clean up."""
    with subprocess.Popen(
        argv,
        cwd=home,
        env=with_parent(varied_environment(home)),
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


def varied_environment(home: Path) -> Mapping[str, str]:
    """Return an environment that shares with ours only where programs are."""
    zone = "Pacific/Kiritimati" if os.environ.get("TZ") != "Pacific/Kiritimati" else "Asia/Tokyo"
    return {
        **NOISE,
        "PATH": os.environ.get("PATH", PATH),
        **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        "HOME": str(home),
        # Turkish has a dotless i: case conversion by locale breaks "I" and "i".
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "20815",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": zone,
    }


def _build_later(
    job: BuildJob, variant: str, out: Path, console: Console, without_rules: Sequence[str]
) -> ComparedBuild:
    """Build in a virtual machine whose clock is `DAYS` ahead."""
    work, version = job.config.build.work, find_qemu()
    day = datetime.now(tz=UTC) + timedelta(days=DAYS)
    console.progress.note(f"Building again on {day:%Y-%m-%d}, in a virtual machine:")
    with unpack_kernel(job.lock, variant, job.store, work) as kernel:
        engine = VirtualMachine(
            kernel=kernel,
            # Twenty seconds before midnight: the date changes during the build.
            day=day.replace(hour=23, minute=59, second=40, microsecond=0),
            work=work,
            version=version,
        )
        variation = Variation(engine=engine, without_rules=tuple(without_rules))
        progress = Silent() if console.json else console.progress
        image = build_variant(job, variant, out, progress, variation)
    return ComparedBuild("another day", image, describe_host(work))
