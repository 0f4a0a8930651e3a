"""Attacks on a release, a named row each: what is done, and which check must catch it.

`content` changes bytes, `packages` the lists of packages; `bundles` and `statements` change
signatures and what they sign; `identity` signs as somebody else; `trust` changes the trust
root, the policy, and which release is served; `fields` gives values that a path, name, pattern or
size is made of; `unopened` changes files that must then not be opened. `one_run` mixes bundles of
several runs; `one_image` gives a single image fewer files or another name; `rollback` offers an
older release; `facts` signs statements that contradict the release; `sources` names trust inside
the target, and the network with `--offline`; `forms` writes
bundles as no client does, `windows` uses keys when they were not valid; `rules` gives a release to
somebody whose policy file demands another one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.verify.stage import Scene


@dataclass(frozen=True)
class Attack:
    """One attack."""

    name: str
    do: Callable[[Scene], object]
    check: str
    """Name of the check that must fail; empty when the command must not even begin."""
    found: str
    """Part of what it finds, or of the error, or of the names of missing files."""
    code: int = 0
    """Exit code; 0: 1 for a failed check, 2 without one."""


def deep(*steps: Callable[[Scene], object]) -> Callable[[Scene], None]:
    """Return what takes all steps, and lets the release be verified with --deep."""

    def do(scene: Scene) -> None:
        for step in steps:
            step(scene)
        scene.words += ["--deep"]

    return do


def seal(scene: Scene) -> None:
    """Make all that is signed fit the files, as only the trusted job could."""
    scene.seal()
