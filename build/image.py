"""The build of an image from a lock: read this module first.

Everything comes out of the store by digest and is unpacked into new folders, which are removed
afterwards. The work itself is done by `build.inside`, in a container without network. Only the
standard library is imported, so that a release's archive can be rebuilt with nothing but Python.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from build.apk.index import INDEX, locked_records, package_folder
from build.apk.package import unpack_data
from build.apk.writing import write_index
from build.config import BuildConfig, ImageConfig, Origin
from build.edges.build_dirs import (
    BuildDirs,
    build_dirs,
    check_free_space,
    copy_program,
    file_errors,
)
from build.edges.container import Choice, Engine, Job, Mount, choose_engine, prepare_root
from build.edges.files import hash_bytes, hash_file, write_file
from build.edges.progress import Progress
from build.edges.variation import USUAL, Variation, copy_reversed
from build.errors import BuildError, NotReproducibleError
from build.firstboot.packages import LocalPackages, local_key, local_packages
from build.inside.listing import Difference, compare_listings
from build.inside.normalise import find_rule
from build.snapshot.lock import Lock
from build.snapshot.store import Store

FORMAT = 1
UUID_NAMESPACE = uuid.UUID("6f1b6b0e-5d0a-5c0e-9d0c-0a5f3c1c7a11")
"""Namespace of every UUID in an image (RFC 9562, version 5)."""
LABEL = "root"
PYTHON = ("/usr/bin/python3", "-I", "-S", "-B", "-c")
"""Isolated from its environment, without site-packages, writing no bytecode."""
START = (
    'import runpy, sys; sys.path.insert(0, "/snowdrop"); '
    'runpy.run_module("build.inside", run_name="__main__")'
)
PROBE = """
import ctypes, hashlib, os, sys
try:
    os.mknod("/apk/build/n", 0o20600, os.makedev(1, 3))
    os.chown("/apk/build/n", 100, 101)
except OSError as error:
    sys.exit(f"no device nodes and owners, which need root of the host: {error.strerror}")
"""
"""What an engine must allow: devices and owners, which root of a user namespace may not."""
TREE = "/apk/build"
TITLES = {
    "unpack": "Unpack builder and apk",
    "collect": "Collect the packages",
    "engine": "Choose the container engine",
    "install": "Install the packages",
    "services": "Enable the services",
    "initramfs": "Make the initramfs",
    "normalise": "Remove differences between builds",
    "list": "List the tree",
    "disk": "Write the disk",
    "digest": "Digest the disk",
    "qcow2": "Compress the disk",
}
"""Displayed title of each step; the names are keys of `seconds` in the build record."""
UNPACKED_RATIO = 5
"""Unpacked packages take at most this many times the space of their files."""
MAX_DIFFERENCES = 4
"""Printed for one cause: the clock alone differs in hundreds of entries."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """The inputs of one image."""

    branch: str
    image: ImageConfig
    lock: Lock
    origin: Origin
    local: LocalPackages

    @property
    def stem(self) -> str:
        return f"{self.origin.name}-{self.image.variant}-{self.origin.version}-{self.image.arch}"

    def package_file(self, name: str) -> str:
        """Return the file beside the image for the local package file `name`.

        It names the image: `snowdrop-release` of two variants has one name and version, and
        different content.
        """
        return f"{self.stem}.{name}"

    def uuid(self, purpose: str) -> uuid.UUID:
        """Return a UUID that depends on lock, variant and purpose only."""
        return uuid.uuid5(UUID_NAMESPACE, f"{self.lock.id}/{self.image.variant}/{purpose}")


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
            task = _task(config, variant, lock, origin)
            _write_repositories(dirs.packages, task, store)
            copy_program(dirs.program)
            plan = {**_plan(task), "without_rules": list(variation.without_rules)}
            (dirs.plan / "plan.json").write_text(json.dumps(plan, sort_keys=True, indent=2))
            for folder in dirs.read_only if variation.reverse else ():
                copy_reversed(folder)
        with steps.step("engine"):
            choice = _choose_engine(dirs, wanted_engine, caller, variation)
        result = _run_builder(choice.engine, dirs, variation, progress)
        record = _record(task, choice, result, steps.seconds, dirs.out / f"{task.stem}.qcow2")
        image = _publish(task, dirs, out, record)
    return replace(image, environment=result.get("environment", {}))


def compare_images(first: Image, second: Image) -> None:
    """Check that two builds gave the same bytes.

    Raises:
        NotReproducibleError: names what differs (tree, raw disk, image file) and the first
            differences between the trees.
    """
    different = [
        name
        for name in ("tree", "raw", "image")
        if first.record[name]["sha256"] != second.record[name]["sha256"]
    ]
    if different:
        title = f"two builds of {first.path.name} differ in: {', '.join(different)}"
        raise NotReproducibleError(
            "\n".join([title, *_describe_differences(first.listing, second.listing)]),
            hint="look for a clock, an order or a random number behind the first of them",
        )


def _describe_differences(first: bytes, second: bytes) -> Iterator[str]:
    """Yield lines for the first differences of each cause, those without a rule first."""
    causes: dict[str, list[Difference]] = {"not covered by any rule": []}
    for difference in compare_listings(first, second):
        rule = find_rule(difference.path, difference.part)
        cause = f"rule `{rule.name}`: {rule.reason}" if rule else next(iter(causes))
        causes.setdefault(cause, []).append(difference)
    for cause, differences in causes.items():
        if differences:
            yield f"  {cause}"
        for each in differences[:MAX_DIFFERENCES]:
            part = "only in one" if each.part == "presence" else each.part
            yield f"    /{each.path}: {part}: {each.first or '-'}, {each.second or '-'}"
        if len(differences) > MAX_DIFFERENCES:
            yield f"    and {len(differences) - MAX_DIFFERENCES} more"


def _size(lock: Lock, *closures: str) -> int:
    return sum(package.size for name in closures for package in lock.closure(name))


def _task(config: BuildConfig, variant: str, lock: Lock, origin: Origin) -> _Task:
    image, closure = config.images[variant], lock.closure(variant)
    local = local_packages(
        variant=variant,
        version=origin.version,
        branch=config.branch,
        arch=image.arch,
        epoch=lock.epoch,
        commit=origin.commit,
        lock_id=lock.id,
        overlay=image.overlay,
        replaces=[package.name for package in closure],
        locked=[f"{package.name}-{package.version}" for package in closure],
    )
    return _Task(branch=config.branch, image=image, lock=lock, origin=origin, local=local)


def _write_repositories(folder: Path, task: _Task, store: Store) -> None:
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


def _plan(task: _Task) -> Mapping[str, Any]:
    """Return all instructions for the builder; none depends on this machine."""
    image, lock, local = task.image, task.lock, task.local
    repositories = {
        f"r{number}": repository.url
        for number, repository in enumerate(lock.repositories)
        if repository.role == "image"
    }
    public = [url for url in repositories.values() if url.startswith(("http://", "https://"))]
    expected = {package.name: package.version for package in lock.closure(image.variant)}
    return {
        "variant": image.variant,
        "arch": image.arch,
        "epoch": lock.epoch,
        "disk": image.disk,
        "label": LABEL,
        "root_uuid": str(task.uuid("root")),
        "hash_seed": str(task.uuid("hash seed")),
        "disk_id": task.uuid("disk").fields[0],
        "kernel_options": image.kernel_options,
        "repositories": ["local", *repositories],
        "public_repositories": list(dict.fromkeys(public)),
        "world": sorted({*image.packages, *local.versions}),
        "expected": {**expected, **local.versions},
        "local_key": local.key_name,
        "services": {level: sorted(names) for level, names in image.services.items()},
        "image": f"{task.stem}.qcow2",
    }


def _choose_engine(
    dirs: BuildDirs, wanted: str | None, caller: Mapping[str, str], variation: Variation
) -> Choice:
    prepare_root(dirs.builder, [*(mount.target for mount in dirs.mounts), TREE])
    prepare_root(dirs.apk, ["/packages", "/build"])
    if variation.engine:
        return Choice(variation.engine, ())
    return choose_engine(
        dirs.builder,
        [*PYTHON, PROBE],
        caller=caller,
        wanted=wanted,
        tmpfs=[TREE],
        last=variation.last_engine,
    )


def _run_builder(
    engine: Engine, dirs: BuildDirs, variation: Variation, progress: Progress
) -> Mapping[str, Any]:
    """Run `build.inside`, display its steps, and return its result.

    Raises:
        BuildError: with the message and the hint of the step that failed.
    """
    errors: list[tuple[str, str]] = []
    with ExitStack() as step:

        def read_event(line: str) -> None:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                # Output of another program, such as a traceback: part of `done.last_lines()`.
                return
            match event:
                case {"step": str(name)}:
                    step.enter_context(progress.step(TITLES.get(name, name)))
                case {"done": str()}:
                    step.close()
                case {"error": str(error), "hint": str(hint)}:
                    errors.append((error, hint))

        tree = [Mount(variation.tree, TREE, scratch=True)] if variation.tree else []
        job = Job(
            root=dirs.builder,
            argv=(*PYTHON, START),
            mounts=[*dirs.mounts, *tree],
            tmpfs=[] if variation.tree else [TREE],
            environment=variation.environment,
            host_name=variation.host_name,
            on_line=read_event,
        )
        done = engine.run(job)
    for error, hint in errors:
        raise BuildError(error, hint=hint)
    if done.status != 0:
        raise BuildError(f"the builder ended with status {done.status}:\n{done.last_lines()}")
    result: Mapping[str, Any] = json.loads((dirs.out / "result.json").read_text())
    return result


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
    task: _Task, choice: Choice, result: Mapping[str, Any], seconds: Mapping[str, float], file: Path
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


def _publish(task: _Task, dirs: BuildDirs, out: Path, record: Mapping[str, Any]) -> Image:
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
