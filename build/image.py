"""The walk from a lock to an image: read me first.

Everything comes out of the store by digest, everything is unpacked anew into folders that are
gone afterwards, and the work itself is done in a container without network by `build.inside`.
Only the standard library is imported, so that the archive of a release can be built again
with nothing but a Python.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.apk.index import INDEX, locked_records
from build.apk.package import unpack_data
from build.config import BuildConfig, ImageConfig, Origin
from build.edges.build_dirs import BuildDirs, build_dirs, check_room, copy_program, told
from build.edges.container import Choice, Mount, prepare_root
from build.edges.files import hash_file, write_file
from build.edges.progress import Progress
from build.edges.variation import USUAL, Variation, choose, lay_out_anew
from build.errors import BuildError, NotReproducibleError
from build.firstboot.packages import LocalPackages, local_packages
from build.inside.normalise import rule_of
from build.inside.tree import Difference, compare_listings
from build.snapshot.index_subset import excerpt
from build.snapshot.lock import Lock, LockedPackage
from build.snapshot.store import Store

FORMAT = 1
SNOWDROP = uuid.UUID("6f1b6b0e-5d0a-5c0e-9d0c-0a5f3c1c7a11")
"""Namespace of every UUID in an image (RFC 9562, version 5)."""
LABEL = "root"
PYTHON = ("/usr/bin/python3", "-I", "-S", "-B", "-c")
"""Isolated from its environment, without site-packages, writing no bytecode."""
ENTER = (
    'import runpy, sys; sys.path.insert(0, "/snowdrop"); '
    'runpy.run_module("build.inside", run_name="__main__")'
)
PROBE = (
    "import ctypes, hashlib, os; os.mknod('/apk/build/n', 0o20600, os.makedev(1, 3)); "
    "os.chown('/apk/build/n', 100, 101)"
)
"""What an engine must allow: devices and owners, which root of a user namespace may not."""
TREE = "/apk/build"
TITLES = {
    "install": "Install the packages",
    "services": "Enable the services",
    "initramfs": "Make the initramfs",
    "normalise": "Take out what differs between runs",
    "list": "List the tree",
    "disk": "Write the disk",
    "digest": "Digest the disk",
    "qcow2": "Compress the disk",
}
UNPACKED = 5
"""Unpacked packages take at most this many times the space of their files."""
SHOWN_DIFFERENCES = 4
"""Of one cause: the clock alone differs in hundreds of entries."""


@dataclass(frozen=True, slots=True)
class Image:
    """A finished image and what is known about it."""

    path: Path
    record_path: Path
    record: Mapping[str, Any]
    listing: bytes = field(default=b"", repr=False)
    """Every entry of the tree on a line, for telling what differs."""
    seen: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the builder saw of its machine; no part of the record, since none of it may matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What is to be built."""

    branch: str
    image: ImageConfig
    lock: Lock
    origin: Origin
    local: LocalPackages

    @property
    def stem(self) -> str:
        return f"{self.origin.name}-{self.image.variant}-{self.origin.version}-{self.image.arch}"


def build_image(
    config: BuildConfig,
    variant: str,
    lock: Lock,
    store: Store,
    origin: Origin,
    *,
    wanted_engine: str | None,
    work: Path,
    out: Path,
    progress: Progress,
    clock: Callable[[], float],
    variation: Variation = USUAL,
) -> Image:
    """Return the image of `variant`, its build record and local packages written to `out`.

    `work` is for folders that are gone afterwards; `clock` gives seconds, for the record only;
    `manner` is what must make no difference.

    Raises:
        VerificationError: a blob of the store is not what the lock says.
        BuildError: no engine works here, or a step failed.
    """
    seconds = _Stopwatch(clock)
    with told(work), build_dirs(work, out) as shop:
        check_room(shop.builder, UNPACKED * _size(lock, "builder", "apk"))
        check_room(shop.out, _size(lock, variant) * 3 // 2)
        with progress.step("Unpack builder and apk"), seconds.of("unpack"):
            _unpack(lock.closure("builder"), store, shop.builder)
            _unpack(lock.closure("apk"), store, shop.apk)
        with progress.step("Collect the packages"), seconds.of("collect"):
            task = _task(config, variant, lock, origin)
            _collect(shop.packages, task, store)
            copy_program(shop.program)
            plan = {**_plan(task), "without_rules": list(variation.without_rules)}
            (shop.plan / "plan.json").write_text(json.dumps(plan, sort_keys=True, indent=2))
            if variation.reverse:
                for folder in shop.read_only:
                    lay_out_anew(folder)
        with progress.step("Choose the container engine"), seconds.of("engine"):
            choice = _choose_engine(shop, wanted_engine, variation)
        result = _run(choice, shop, variation, progress)
        record = _record(task, choice, result, seconds.taken, shop.out / f"{task.stem}.qcow2")
        return _publish(task, shop, out, record, result.get("machine", {}))


def compare_images(first: Image, second: Image) -> None:
    """Check that two builds gave the same bytes.

    Raises:
        NotReproducibleError: naming what differs: tree, raw disk, image file, and the first
            entries of the tree that do.
    """
    different = [
        what
        for what in ("tree", "raw", "image")
        if first.record[what]["sha256"] != second.record[what]["sha256"]
    ]
    if different:
        lines = [f"two builds of {first.path.name} differ in: {', '.join(different)}"]
        raise NotReproducibleError(
            "\n".join(lines + _differences(first.listing, second.listing)),
            hint="look for a clock, an order or a random number behind the first of them",
        )


def _differences(first: bytes, second: bytes) -> list[str]:
    """Return lines for the first differences of each cause, those without a rule before all."""
    causes: dict[str, list[Difference]] = {"no rule is there for these": []}
    for found in compare_listings(first, second):
        rule = rule_of(found.path, found.part)
        cause = f"rule `{rule.name}`: {rule.reason}" if rule else next(iter(causes))
        causes.setdefault(cause, []).append(found)
    lines = []
    for cause, differences in causes.items():
        if differences:
            lines.append(f"  {cause}")
        for found in differences[:SHOWN_DIFFERENCES]:
            where = "only in one" if found.part == "presence" else found.part
            values = f"{found.first or '-'}, {found.second or '-'}"
            lines.append(f"    /{found.path}: {where}: {values}")
        more = len(differences) - SHOWN_DIFFERENCES
        lines += [f"    and {more} more"] if more > 0 else []
    return lines


def _size(lock: Lock, *closures: str) -> int:
    return sum(package.size for name in closures for package in lock.closure(name))


def _unpack(packages: Sequence[LockedPackage], store: Store, into: Path) -> None:
    for package in packages:
        unpack_data(store.read(package.sha256), into)


def _task(config: BuildConfig, variant: str, lock: Lock, origin: Origin) -> _Task:
    image = config.images[variant]
    local = local_packages(
        variant=variant,
        version=origin.version,
        branch=config.branch,
        arch=image.arch,
        epoch=lock.epoch,
        commit=origin.commit,
        lock_id=lock.id,
        overlay=image.overlay,
        replaces=[package.name for package in lock.closure(variant)],
        locked=[f"{package.name}-{package.version}" for package in lock.closure(variant)],
    )
    return _Task(branch=config.branch, image=image, lock=lock, origin=origin, local=local)


def _collect(folder: Path, task: _Task, store: Store) -> None:
    """Lay out the repositories as apk reads them: indexes, files of the closure, keys.

    The indexes name the closure and nothing else: one that is newer than a package of the lock
    would have apk look for the newer one.
    """
    lock, local = task.lock, task.local
    closure = lock.closure(task.image.variant)
    for number, repository in enumerate(lock.repositories):
        if repository.place == "image":
            place = folder / f"r{number}" / repository.arch
            place.mkdir(parents=True)
            records = locked_records(store.read(repository.index_sha256), where=repository.url)
            taken = {(each.name, each.version) for each in closure if each.repository == number}
            (place / INDEX).write_bytes(excerpt(records, taken, repository.description))
            store.link(repository.key_sha256, folder / "keys" / repository.key)
    for package in closure:
        place = folder / f"r{package.repository}" / lock.repositories[package.repository].arch
        store.link(package.sha256, place / package.file)
    place = folder / "local" / lock.arch
    place.mkdir(parents=True)
    (place / INDEX).write_bytes(local.index)
    (folder / "keys" / local.key_name).write_bytes(local.public_pem)
    for name, content in local.packages:
        (place / name).write_bytes(content)


def _plan(task: _Task) -> Mapping[str, Any]:
    """Return all that the builder is told; nothing in it depends on this machine."""
    image, lock, local = task.image, task.lock, task.local
    repositories = [
        (number, repository)
        for number, repository in enumerate(lock.repositories)
        if repository.place == "image"
    ]
    expected = {package.name: package.version for package in lock.closure(image.variant)}
    return {
        "variant": image.variant,
        "arch": image.arch,
        "epoch": lock.epoch,
        "disk": image.disk,
        "label": LABEL,
        "root_uuid": str(uuid.uuid5(SNOWDROP, f"{lock.id}/{image.variant}/root")),
        "hash_seed": str(uuid.uuid5(SNOWDROP, f"{lock.id}/{image.variant}/hash seed")),
        "disk_id": uuid.uuid5(SNOWDROP, f"{lock.id}/{image.variant}/disk").fields[0],
        "kernel_options": image.kernel_options,
        "repositories": ["local", *(f"r{number}" for number, _ in repositories)],
        "public_repositories": list(
            dict.fromkeys(
                repository.url
                for _, repository in repositories
                if repository.url.startswith(("http://", "https://"))
            )
        ),
        "world": sorted({*image.packages, *local.names}),
        "expected": expected | dict(_name_and_version(name) for name, _ in local.packages),
        "local_key": local.key_name,
        "services": {level: sorted(names) for level, names in image.services.items()},
        "image": f"{task.stem}.qcow2",
    }


def _name_and_version(file: str) -> tuple[str, str]:
    """Return name and version of `NAME-VERSION-rN.apk`.

    >>> _name_and_version("snowdrop-init-1.2-r0.apk")
    ('snowdrop-init', '1.2-r0')
    """
    name, version, release = file.removesuffix(".apk").rsplit("-", 2)
    return name, f"{version}-{release}"


def _choose_engine(shop: BuildDirs, wanted: str | None, variation: Variation) -> Choice:
    targets = [mount.target for mount in shop.mounts]
    prepare_root(shop.builder, [*targets, TREE])
    prepare_root(shop.apk, ["/packages", "/build"])
    return choose(variation, shop.builder, [*PYTHON, PROBE], wanted=wanted, tmpfs=[TREE])


def _run(
    choice: Choice, shop: BuildDirs, variation: Variation, progress: Progress
) -> Mapping[str, Any]:
    """Run the inside program, telling its steps, and return its result.

    Raises:
        BuildError: with the sentence and the hint of the step that failed.
    """
    watcher = _Watcher(progress)
    with watcher.steps:
        done = choice.engine.run(
            shop.builder,
            [*PYTHON, ENTER],
            mounts=[*shop.mounts, *([Mount(variation.tree, TREE)] if variation.tree else [])],
            tmpfs=[] if variation.tree else [TREE],
            environment=variation.environment,
            on_line=watcher.take,
        )
    if watcher.error:
        raise BuildError(watcher.error, hint=watcher.hint)
    if done.status != 0:
        raise BuildError(f"the builder ended with status {done.status}:\n{done.last_lines()}")
    result: Mapping[str, Any] = json.loads((shop.out / "result.json").read_text())
    return result


class _Watcher:
    """Turns the builder's JSON lines into steps that somebody sees."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.steps = ExitStack()
        self.error = ""
        self.hint = ""

    def take(self, line: str) -> None:
        """Take one line; one that is not JSON is left for the error message."""
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            return
        match event:
            case {"step": str(name)}:
                self.steps.enter_context(self.progress.step(TITLES.get(name, name)))
            case {"done": str()}:
                self.steps.close()
            case {"error": str(error), "hint": str(hint)}:
                self.error, self.hint = error, hint
            case _:
                pass


class _Stopwatch:
    """Seconds of each step, for the record."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.taken: dict[str, float] = {}

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Keep how long the context is open."""
        start = self.clock()
        yield
        self.taken[step] = round(self.clock() - start, 3)


def _record(
    task: _Task, choice: Choice, result: Mapping[str, Any], seconds: Mapping[str, float], file: Path
) -> Mapping[str, Any]:
    """Return the build record: what came out, and what it was made from."""
    origin, image, made = task.origin, task.image, hash_file(file)
    refused = [{"name": name, "reason": reason} for name, reason in choice.refused]
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
        "image": {"file": file.name, "size": made.size, "sha256": made.sha256},
        "raw": result["raw"],
        "tree": result["tree"],
        "packages": [
            {"file": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in task.local.packages
        ],
        "engine": {
            "name": choice.engine.name,
            "version": choice.engine.version,
            "refused": refused,
        },
        "seconds": {**seconds, **result["seconds"]},
    }


def _publish(
    task: _Task, shop: BuildDirs, out: Path, record: Mapping[str, Any], seen: Mapping[str, Any]
) -> Image:
    """Move the image to `out` with a rename, the local packages beside it, the record last."""
    target, record_path = out / f"{task.stem}.qcow2", out / f"{task.stem}.build.json"
    listing = (shop.out / "tree.txt").read_bytes()
    # No record is better than one that speaks of another image.
    record_path.unlink(missing_ok=True)
    for name, content in task.local.packages:
        write_file(out / name, content)
    (shop.out / target.name).replace(target)
    target.chmod(0o644)
    write_file(record_path, (json.dumps(record, sort_keys=True, indent=2) + "\n").encode())
    return Image(target, record_path, record, listing, seen)
