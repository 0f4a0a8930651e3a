"""Run `build.inside` in the builder: choose the engine, pass on the steps, return the result."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from build.edges.build_dirs import BuildDirs
from build.edges.container import Choice, Engine, Job, Mount, choose_engine, prepare_root
from build.edges.progress import Progress
from build.edges.variation import Variation
from build.errors import BuildError

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


def choose_builder_engine(
    dirs: BuildDirs, wanted: str | None, caller: Mapping[str, str], variation: Variation
) -> Choice:
    """Return the engine that runs the builder, and why those before it do not.

    Each engine is tried with PROBE. An engine of `variation` is taken without a trial.

    Raises:
        BuildError: no engine works here.
    """
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


def run_builder(
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
