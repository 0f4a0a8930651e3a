"""apk's reports of unsolvable packages, and their explanations."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from build.apk.writing import Entry, Recipe, write_index, write_package
from build.edges.process import PLAIN
from build.snapshot.solver_errors import explain, is_out_of_step, parse_reasons
from tests.apk.makers import key, needs_alpine, real_apk
from tests.sample.apk_tools import install_standin

MAIN: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "musl": ("1.0-r0", (), ()),
    "libfoo": ("2.0-r0", ("musl",), ("so:libfoo.so.2=2.0",)),
    "busybox": ("1.36-r0", (), ()),
    "uclibc": ("1.0-r0", ("!musl",), ()),
    "dev-a": ("1.0-r0", (), ("device-manager=1",)),
    "dev-b": ("1.0-r0", (), ("device-manager=2",)),
    "sh1": ("1.0-r0", (), ("anysh",)),
    "sh2": ("1.0-r0", (), ("anysh",)),
    "tool": ("1.0-r0", ("so:libfoo.so.3",), ()),
    "newtool": ("1.0-r0", ("libfoo>=3.0",), ()),
    "wantsmusl": ("1.0-r0", ("musl", "uclibc"), ()),
}
"""Version, depends, provides."""

CASES: dict[tuple[str, ...], tuple[bool, tuple[str, ...]]] = {
    ("nosuch",): (False, ("nosuch: no repository has it, release.toml asks for it",)),
    ("tool",): (True, ("so:libfoo.so.3: no repository has it, tool-1.0-r0 needs it",)),
    ("newtool",): (
        True,
        ("newtool-1.0-r0 needs libfoo>=3.0, the repositories have libfoo-2.0-r0",),
    ),
    ("busybox>2",): (
        False,
        ("release.toml asks for busybox>2, the repositories have busybox-1.36-r0",),
    ),
    ("wantsmusl",): (
        False,
        ("uclibc-1.0-r0 conflicts with musl-1.0-r0, which wantsmusl-1.0-r0 wants",),
    ),
    ("musl", "uclibc"): (
        False,
        ("uclibc-1.0-r0 conflicts with musl-1.0-r0, which release.toml wants",),
    ),
    ("dev-a", "dev-b"): (
        False,
        ("dev-a-1.0-r0 and dev-b-1.0-r0 both provide device-manager, which only one package may",),
    ),
    ("anysh",): (False, ("anysh: several packages provide it (sh1, sh2): name one of them",)),
}


Simulate = list[str]
"""The words that ask an apk what it would add from the packages above."""


@pytest.fixture(scope="module")
def simulate_standin(tmp_path_factory: pytest.TempPathFactory) -> Simulate:
    return simulation_of(
        lambda folder: install_standin(folder).command, tmp_path_factory.mktemp("standin")
    )


@pytest.fixture(scope="module")
def simulate_alpine(tmp_path_factory: pytest.TempPathFactory) -> Simulate:
    return simulation_of(real_apk, tmp_path_factory.mktemp("alpine"))


def simulation_of(make_apk: Callable[[Path], Sequence[str]], folder: Path) -> Simulate:
    main = folder / "main/x86_64"
    for path in (main, folder / "keys", folder / "root", folder / "apk"):
        path.mkdir(parents=True)
    packages = [
        write_package(
            Recipe(
                name=name,
                version=version,
                description="",
                epoch=0,
                depends=depends,
                provides=provides,
                entries=(Entry(f"usr/{name}", 0o644, "file", b"x"),),
            ),
            key(),
        )
        for name, (version, depends, provides) in MAIN.items()
    ]
    (main / "APKINDEX.tar.gz").write_bytes(write_index(packages, key(), "main"))
    (folder / "keys" / key().name).write_bytes(key().public_pem())
    start = make_apk(folder / "apk")
    options = {"arch": "x86_64", "root": folder / "root", "keys-dir": folder / "keys"}
    options |= {"repository": main.parent, "repositories-file": Path("/dev/null")}
    words = [f"--{name}={value}" for name, value in options.items()]
    common = [*start, *words, "--no-network", "--no-cache", "--no-progress"]
    subprocess.run([*common, "--initdb", "add"], env=PLAIN, capture_output=True)
    return [*common, "--simulate", "add"]


@pytest.mark.root
@pytest.mark.parametrize("asked", CASES.keys(), ids=" ".join)
def test_a_report_of_the_samples_apk_is_explained(
    asked: tuple[str, ...], simulate_standin: Simulate
) -> None:
    check_explained(asked, simulate_standin)


@needs_alpine
@pytest.mark.root
def test_the_reports_of_alpines_apk_are_explained(simulate_alpine: Simulate) -> None:
    for asked in CASES:
        check_explained(asked, simulate_alpine)


def check_explained(asked: tuple[str, ...], simulate: Simulate) -> None:
    done = subprocess.run([*simulate, *asked], env=PLAIN, capture_output=True, text=True)
    report = done.stdout + done.stderr
    assert done.returncode != 0, report
    transient, sentences = CASES[asked]
    assert explain(report) == sentences, report
    assert is_out_of_step(report) == transient


def test_wrapped_lists_are_read_completely() -> None:
    report = (
        "ERROR: unable to select packages:\n"
        "  so:libcrypto.so.9 (no such package):\n"
        "    required by: one-1.0-r0[so:libcrypto.so.9]\n"
        "                 two-1.0-r0[so:libcrypto.so.9]\n"
    )
    (reason,) = parse_reasons(report)
    assert [by for by, _ in reason.needs("required by")] == ["one-1.0-r0", "two-1.0-r0"]
    assert is_out_of_step(report)


def test_other_text_gives_no_reasons() -> None:
    assert explain("ERROR: Unable to lock database: Permission denied\n") == ()
    assert not is_out_of_step("")
