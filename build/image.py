"""The build of an image from a lock: read this module first.

Everything comes out of the store by digest and is unpacked into new folders, which are removed
afterwards. The work itself is done by `build.inside`, in a container without network. Only the
standard library is imported, so that a release's archive can be rebuilt with nothing but Python.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from build.apk.index import INDEX, locked_records, package_folder
from build.apk.unpack import unpack_data
from build.apk.writing import write_index
from build.builder import TITLES, choose_builder_engine, run_builder
from build.config import BuildConfig, Origin
from build.edges.build_dirs import (
    BuildDirs,
    build_dirs,
    check_free_space,
    copy_program,
    file_errors,
)
from build.edges.container import Choice
from build.edges.files import hash_bytes, hash_file, write_file
from build.edges.progress import Progress
from build.edges.variation import USUAL, Variation, copy_reversed
from build.firstboot.packages import local_key
from build.plan import Task, make_plan, make_task
from build.snapshot.lock import Lock
from build.snapshot.store import Store

FORMAT = 1
UNPACKED_RATIO = 5
"""Unpacked packages take at most this many times the space of their files."""


@dataclass(frozen=True, slots=True)
class Image:
    """A finished image and its build record."""

    path: Path
    record_path: Path
    record: Mapping[str, Any]
    listing: bytes = field(default=b"", repr=False)
    """The listing of the tree, see `build.inside.listing`."""
    environment: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the builder could read of its machine; not in the record, since it may not matter."""


def build_image(
    config: BuildConfig,
    variant: str,
    lock: Lock,
    store: Store,
    origin: Origin,
    *,
    wanted_engine: str | None,
    caller: Mapping[str, str],
    work: Path,
    out: Path,
    progress: Progress,
    clock: Callable[[], float],
    variation: Variation = USUAL,
) -> Image:
    """Build the image of `variant`; write it, its record and the local packages to `out`.

    `caller` is the caller's environment, for the engine (see `choose_engine`). Temporary folders
    are made in `work`; `clock` returns seconds, for the record only.

    Raises:
        VerificationError: a blob of the store does not have the digest that the lock names.
        BuildError: no engine works here, or a step failed.
    """
    steps = _Steps(progress, clock)
    with file_errors(work), build_dirs(work, out) as dirs:
        check_free_space(dirs.builder, UNPACKED_RATIO * _size(lock, "builder", "apk"))
        # An upper bound for the compressed image, from the sizes of compressed packages.
        check_free_space(dirs.out, _size(lock, variant) * 3 // 2)
        with steps.step("unpack"):
            for closure, folder in (("builder", dirs.builder), ("apk", dirs.apk)):
                for package in lock.closure(closure):
                    unpack_data(store.read(package.sha256), folder)
        with steps.step("collect"):
            task = make_task(config, variant, lock, origin)
            _write_repositories(dirs.packages, task, store)
            copy_program(dirs.program)
            plan = {**make_plan(task), "without_rules": list(variation.without_rules)}
            (dirs.plan / "plan.json").write_text(json.dumps(plan, sort_keys=True, indent=2))
            for folder in dirs.read_only if variation.reverse else ():
                copy_reversed(folder)
        with steps.step("engine"):
            choice = choose_builder_engine(dirs, wanted_engine, caller, variation)
        result = run_builder(choice.engine, dirs, variation, progress)
        record = _record(task, choice, result, steps.seconds, dirs.out / f"{task.stem}.qcow2")
        image = _publish(task, dirs, out, record)
    return replace(image, environment=result.get("environment", {}))


def _size(lock: Lock, *closures: str) -> int:
    return sum(package.size for name in closures for package in lock.closure(name))


def _write_repositories(folder: Path, task: Task, store: Store) -> None:
    """Write the repositories as apk reads them: indexes, packages of the closure, keys.

    The indexes list the closure and nothing else: apk prefers the newest version that an index
    offers, and the lock may name an older one. The repository did not sign such a subset, so it
    is signed with the key of the local packages, which is public.
    """
    lock, local = task.lock, task.local
    closure = lock.closure(task.image.variant)
    for number, repository in enumerate(lock.repositories):
        if repository.role == "image":
            target = folder / f"r{number}" / repository.arch
            target.mkdir(parents=True)
            records = locked_records(store.read(repository.index_sha256), where=repository.url)
            chosen = {(each.name, each.version) for each in closure if each.repository == number}
            subset = write_index(records.texts(chosen), local_key(), repository.description)
            (target / INDEX).write_bytes(subset)
            store.link(repository.key_sha256, folder / "keys" / repository.key)
    for package in closure:
        arch = package_folder(package.arch, lock.repositories[package.repository].arch)
        target = folder / f"r{package.repository}" / arch
        target.mkdir(exist_ok=True)
        store.link(package.sha256, target / package.file)
    target = folder / "local" / lock.arch
    target.mkdir(parents=True)
    (target / INDEX).write_bytes(local.index)
    (folder / "keys" / local.key_name).write_bytes(local.public_pem)
    for name, content in local.packages:
        (target / name).write_bytes(content)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Displays the steps of the host, and measures their seconds for the record."""

    progress: Progress
    clock: Callable[[], float]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Display a step of TITLES while the context is open."""
        start = self.clock()
        with self.progress.step(TITLES[name]):
            yield
        self.seconds[name] = round(self.clock() - start, 3)


def _record(
    task: Task, choice: Choice, result: Mapping[str, Any], seconds: Mapping[str, float], file: Path
) -> Mapping[str, Any]:
    """Return the build record: the digests of the results, and their inputs."""
    origin, image = task.origin, task.image
    return {
        "format": FORMAT,
        "name": origin.name,
        "variant": image.variant,
        "version": origin.version,
        "arch": image.arch,
        "branch": task.branch,
        "lock": {"id": task.lock.id},
        "source": {"commit": origin.commit, "dirty": origin.dirty},
        "epoch": task.lock.epoch,
        "image": {"file": file.name, **asdict(hash_file(file))},
        "raw": result["raw"],
        "tree": result["tree"],
        "packages": [
            {"file": task.package_file(name), **asdict(hash_bytes(content))}
            for name, content in task.local.packages
        ],
        "engine": {
            "name": choice.engine.name,
            "version": choice.engine.version,
            "refused": [{"name": name, "reason": reason} for name, reason in choice.refused],
        },
        "seconds": {**seconds, **result["seconds"]},
    }


def _publish(task: Task, dirs: BuildDirs, out: Path, record: Mapping[str, Any]) -> Image:
    """Move the image to `out` with a rename, the local packages beside it, the record last."""
    target, record_path = out / f"{task.stem}.qcow2", out / f"{task.stem}.build.json"
    listing = (dirs.out / "tree.txt").read_bytes()
    # A crash between the two renames must not leave a record that describes another image.
    record_path.unlink(missing_ok=True)
    for name, content in task.local.packages:
        write_file(out / task.package_file(name), content)
    (dirs.out / target.name).replace(target)
    target.chmod(0o644)
    write_file(record_path, (json.dumps(record, sort_keys=True, indent=2) + "\n").encode())
    return Image(target, record_path, record, listing)
