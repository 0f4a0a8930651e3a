"""Which package may import which."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STANDARD_LIBRARY_ALONE = (
    "build.config",
    "build.errors",
    "build.image",
    "build.snapshot.lock",
    "build.snapshot.lock_reader",
    "build.snapshot.store",
    "build.apk.writing",
    "build.apk.package",
    "build.firstboot.packages",
    "build.inspect.inspection",
    "build.edges.container",
)
"""The modules that turn a lock and a store into an image."""
ALLOWED = {
    "report": {"report"},
    "release": {"config", "report"},
    "spaces": set(),
    "boot": {"config", "release", "report"},
    "reproduce": {"boot", "config", "release", "report"},
    "attest": {"config", "release", "report"},
    "verify": {"attest", "config", "release", "report"},
    "publish": {"attest", "config", "release", "report", "spaces", "verify"},
    "convert": {"report"},
    "catalogue": {"attest", "config", "publish", "release", "report", "spaces"},
    "importing": {"config", "regions", "report", "spaces"},
    "preflight": {"config", "environment", "publish", "release", "report", "spaces"},
}
"""For each package of `ci`, the others that it may import. `commands` and `rehearsal` may import
all; nothing imports them but `__main__` and each other."""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no module"
    return found


def rooms(path: Path) -> set[str]:
    """Return the packages and modules of `ci` that a module imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("ci.")}


def test_build_never_imports_ci() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("build")
        for name in imports(path)
        if name.split(".")[0] == "ci"
    ]
    assert wrong == []


def test_the_code_in_the_builder_needs_only_the_standard_library() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("build/inside")
        for name in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not name.startswith("build.inside")
        and name != "build"
    ]
    assert wrong == []


def test_the_table_of_arrows_names_every_package_of_ci() -> None:
    packages = {path.parent.name for path in (ROOT / "ci").glob("*/__init__.py")}
    assert packages == ALLOWED.keys() | {"commands", "rehearsal"}


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_of_ci_imports_only_those_before_it(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(f"ci/{package}")
        for name in sorted(rooms(path) - {package} - ALLOWED[package])
    ]
    assert wrong == []


@pytest.mark.parametrize("module", ["config", "environment", "regions"])
def test_the_modules_of_ci_import_no_package_of_it(module: str) -> None:
    assert rooms(ROOT / "ci" / f"{module}.py") <= {"regions"}


@pytest.mark.parametrize("module", STANDARD_LIBRARY_ALONE)
def test_lock_to_image_needs_only_the_standard_library(module: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_noxfile_imports_nothing_of_ours_but_the_environment() -> None:
    ours = {name for name in imports(ROOT / "noxfile.py") if name.split(".")[0] in ("build", "ci")}
    assert ours == {"ci.environment"}


def test_a_session_can_start_before_anything_is_installed() -> None:
    names = set(imports(ROOT / "ci" / "environment.py"))
    ours = {name for name in names if name.split(".")[0] in ("build", "ci")}
    assert ours == {"build.edges.owners"}
    names |= set(imports(ROOT / "build" / "edges" / "owners.py"))
    assert {name.split(".")[0] for name in names - ours} <= sys.stdlib_module_names
