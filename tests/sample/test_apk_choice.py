"""The sample's apk chooses the packages that a real apk chooses, in an order of its own."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.apk.version import version_key
from build.apk.writing import Recipe, SigningKey, write_index, write_package
from build.snapshot.solver_errors import parse_reasons
from ci.rehearsal.sample.programs.apk.dependencies import parse_dependency
from tests.alpine import FULL, SMALL
from tests.sample.apk_tools import (
    Imported,
    Repositories,
    Tool,
    alpine,
    make_key,
    publish,
    recipe,
)
from tests.snapshot.server_sets import SETS

DRAWN = 20


@dataclass(frozen=True)
class Case:
    """Packages of one or two repositories, what is asked for, and what is chosen."""

    words: str
    expected: str
    """Labels in the order of installation."""
    first: Sequence[Recipe]
    second: Sequence[Recipe] = ()


@pytest.fixture
def chooser() -> Tool:
    """Give the sample's apk; that it runs by itself too is tested in test_apk_trust."""
    return Imported("standin", ())


CASES = {
    "dependencies-first": Case(
        "a z",
        "d-1-r0 c-1-r0 b-1-r0 a-1-r0 z-1-r0",
        [
            recipe("a", depends=("b", "c")),
            recipe("b", depends=("c",)),
            recipe("c", depends=("d",)),
            recipe("d"),
            recipe("z", depends=("a",)),
            recipe("unasked"),
        ],
    ),
    "circle": Case(
        "a", "b-1-r0 a-1-r0", [recipe("a", depends=("b",)), recipe("b", depends=("a",))]
    ),
    "newest-version-of-two-repositories": Case(
        "a", "a-1.10-r0", [recipe("a", "1.9-r3")], [recipe("a", "1.10-r0")]
    ),
    "version-bounds": Case(
        "a~1.2 b<2 c>=1.5",
        "a-1.2.9-r0 b-1.5-r0 c-2-r0",
        [recipe("a", "1.2.9-r0"), recipe("b", "1.5-r0"), recipe("c", "1-r0")],
        [recipe("a", "1.20-r0"), recipe("b", "2-r0"), recipe("c", "2-r0")],
    ),
    "bound-of-a-dependency": Case(
        "a b",
        "b-1-r0 a-1-r0",
        [recipe("a", depends=("b=1-r0",)), recipe("b", "1-r0")],
        [recipe("b", "2-r0")],
    ),
    "new-version-that-lacks-a-dependency": Case(
        "a", "a-1-r0", [recipe("a", "1-r0")], [recipe("a", "2-r0", depends=("nosuch",))]
    ),
    "library": Case(
        "a",
        "l-1-r0 a-1-r0",
        [recipe("a", depends=("so:l.so.1",)), recipe("l", provides=("so:l.so.1=1.0",))],
    ),
    "highest-provided-version": Case(
        "v",
        "b-1-r0",
        [recipe("a", "9-r0", provides=("v=1",)), recipe("b", provides=("v=2",))],
    ),
    "provider-priority": Case(
        "v",
        "b-1-r0",
        [
            recipe("a", "9-r0", provides=("v",), provider_priority=5),
            recipe("b", provides=("v",), provider_priority=10),
        ],
    ),
    "priority-before-a-version-that-only-one-has": Case(
        "v",
        "b-1-r0",
        [
            recipe("a", "9-r0", provides=("v=9",)),
            recipe("b", provides=("v",), provider_priority=10),
        ],
    ),
    "first-repository-among-equals": Case(
        "a v",
        "a-2-r0 b-1-r0",
        [recipe("a", "1-r0"), recipe("b", "1-r0", provides=("v",), provider_priority=5)],
        [recipe("a", "2-r0"), recipe("c", "9-r0", provides=("v",), provider_priority=5)],
    ),
    "provider-that-is-asked-for": Case(
        "a z",
        "z-1-r0 a-1-r0",
        [
            recipe("a", depends=("v",)),
            recipe("b", provides=("v",), provider_priority=10),
            recipe("z", provides=("v",)),
        ],
    ),
    "two-unversioned-providers": Case(
        "a b", "a-1-r0 b-1-r0", [recipe("a", provides=("v",)), recipe("b", provides=("v",))]
    ),
    "provider-that-a-conflict-excludes": Case(
        "a v",
        "a-1-r0 c-1-r0",
        [
            recipe("a", depends=("!b",)),
            recipe("b", provides=("v",), provider_priority=10),
            recipe("c", provides=("v",), provider_priority=5),
        ],
    ),
    "conflict-with-what-it-provides-itself": Case(
        "a", "a-1-r0", [recipe("a", depends=("!v",), provides=("v",)), recipe("b")]
    ),
    "install-if": Case(
        "a b c",
        "a-1-r0 b-1-r0 lib-1-r0 a-b-1-r0 c-1-r0",
        [
            *map(recipe, ("a", "b", "c", "lib")),
            recipe("a-b", install_if=("a=1-r0", "b"), depends=("lib",)),
            recipe("a-d", install_if=("a", "d")),
            recipe("a-2", install_if=("a=2-r0",)),
        ],
    ),
    "install-if-absent": Case(
        "a",
        "a-1-r0 a-alone-1-r0",
        [
            *map(recipe, ("a", "b")),
            recipe("a-alone", install_if=("a", "!b")),
            recipe("a-none", install_if=("a", "!a-alone")),
        ],
    ),
    "install-if-that-cannot-be": Case(
        "a", "a-1-r0", [recipe("a"), recipe("x", install_if=("a",), depends=("nosuch",))]
    ),
    "install-if-fills-a-name": Case(
        "a v",
        "a-1-r0 x-1-r0",
        [
            recipe("a"),
            recipe("b", provides=("v",), provider_priority=10),
            recipe("x", provides=("v",), install_if=("a",), provider_priority=5),
        ],
    ),
}

NOT_FOUND_BY_APK2 = (
    "new-version-that-lacks-a-dependency",
    "conflict-with-what-it-provides-itself",
    "install-if-that-cannot-be",
)
"""Apk 2.14 takes back neither a version nor what came unasked, and lets a package conflict with
what it provides itself."""
OTHERWISE_WITH_APK2 = ("first-repository-among-equals", "install-if-absent")
"""Apk 2.14 takes the last `--repository` for the first one, and waits for a name to be absent."""


@pytest.mark.parametrize("name", CASES)
def test_the_choice_is_the_expected_one_in_a_stable_order(
    name: str, chooser: Tool, key: SigningKey, tmp_path: Path
) -> None:
    case = CASES[name]
    world = publish(tmp_path, key, case.first, case.second)
    for words in (case.words.split(), case.words.split()[::-1]):
        assert chooser.choose(tmp_path, world, *words) == (0, case.expected.split())


def test_a_real_apk_makes_the_same_choices(apk2: Tool, key: SigningKey, tmp_path: Path) -> None:
    for name, case in CASES.items():
        base = tmp_path / name
        base.mkdir()
        world = publish(base, key, case.first, case.second)
        status, chosen = apk2.choose(base, world, *case.words.split())
        if name in NOT_FOUND_BY_APK2:
            assert status != 0, name
        elif name not in OTHERWISE_WITH_APK2:
            assert (status, sorted(chosen)) == (0, sorted(case.expected.split())), name


def drawn_sets() -> Iterator[list[str]]:
    """Name sets of the small repository: one to fourteen names, always the same ones."""
    names = sorted({path.stem.rsplit("-", 2)[0] for path in (SMALL / "x86_64").glob("*.apk")})
    dice = random.Random(2026)  # noqa: S311
    for _ in range(DRAWN):
        yield dice.sample(names, dice.randint(1, 14))


def test_any_names_of_alpine_give_the_closure_of_a_real_apk(
    chooser: Tool, apk2: Tool, tmp_path: Path
) -> None:
    world = alpine(tmp_path)
    solved = 0
    for names in drawn_sets():
        status, chosen = chooser.choose(tmp_path, world, *names)
        expected = apk2.choose(tmp_path, world, *names)
        assert (status == 0, sorted(chosen)) == (expected[0] == 0, sorted(expected[1])), names
        solved += status == 0
    assert solved > DRAWN // 2


@pytest.mark.full
@pytest.mark.parametrize("name", SETS)
def test_a_server_out_of_23030_packages_is_what_a_real_apk_chooses(
    name: str, chooser: Tool, apk2: Tool, tmp_path: Path
) -> None:
    world = alpine(tmp_path, *FULL)
    status, expected = apk2.choose(tmp_path, world, *SETS[name])
    assert status == 0
    assert len(expected) > 35
    found = chooser.choose(tmp_path, world, *SETS[name])
    assert (found[0], sorted(found[1])) == (0, sorted(expected))


def plain(dice: random.Random, count: int) -> Iterator[Recipe]:
    """Packages that need, provide and wait for one another at random, without conflicts."""
    names = [f"p{number}" for number in range(count)]
    for number, name in enumerate(names):
        needs = dice.sample(names[:number], min(number, dice.randint(0, 2)))
        depends = [need + dice.choice(("", "", ">=1", "~1")) for need in needs]
        depends += [dice.choice(("v1", "v2", "so:l0", "so:l1"))] if dice.random() < 0.3 else []
        provides = [f"so:l{number}=1"] if number < 2 else []
        last = number >= count - 4
        provides += [dice.choice(("v1", "v2"))] if last else []
        yield recipe(
            name,
            dice.choice(["1-r0", "1.5-r1", "1.10-r0", "1_p3-r2"]),
            depends=tuple(depends),
            provides=tuple(provides),
            install_if=tuple(dice.sample(names, 2)) if dice.random() < 0.25 else (),
            provider_priority=100 + number if last else None,
        )


def tangled(dice: random.Random, count: int) -> Iterator[Recipe]:
    """Packages that need, provide, exclude and wait for one another at random."""
    names = [f"p{number}" for number in range(count)]
    for number, name in enumerate(names):
        earlier = names[:number] or ["p0"]
        needs = (dice.choice(earlier), dice.choice(["v1", "v2"]), f"so:l{dice.randint(0, 2)}")
        bounds = ("", "", "", ">=1", "~1", "<2")
        depends = [dice.choice(needs) + dice.choice(bounds) for _ in range(dice.randint(0, 2))]
        depends += [f"!{dice.choice(names)}"] if dice.random() < 0.1 else []
        provides = [f"so:l{dice.randint(0, 2)}={dice.randint(1, 2)}"] if dice.random() < 0.5 else []
        provides += [dice.choice(["v1", "v2", "v1=1", "v2=2"])] if dice.random() < 0.3 else []
        waits = [dice.choice(names), dice.choice(names), f"!{dice.choice(names)}"]
        yield recipe(
            name,
            dice.choice(["1-r0", "1.5-r1", "1.10-r0", "2_rc1-r0", "2-r0", "2_p3-r2"]),
            depends=tuple(dict.fromkeys(depends)),
            provides=tuple(provides),
            install_if=tuple(dict.fromkeys(waits[: dice.randint(1, 3)])) * (dice.random() < 0.3),
            provider_priority=dice.choice([None, None, 10, 20]),
        )


@pytest.mark.parametrize("seeds", [2, pytest.param(20, marks=pytest.mark.full)])
def test_random_packages_give_the_closure_of_a_real_apk(
    seeds: int, chooser: Tool, apk2: Tool, key: SigningKey, tmp_path: Path
) -> None:
    compared = 0
    for seed in range(seeds):
        base = tmp_path / str(seed)
        base.mkdir()
        dice = random.Random(seed)  # noqa: S311
        world = publish(base, key, plain(dice, 16))
        for _ in range(10):
            names = dice.sample([f"p{number}" for number in range(16)], 3)
            status, expected = apk2.choose(base, world, *names)
            found = chooser.choose(base, world, *names)
            # The real one does not find every set that there is.
            if status == 0:
                assert (found[0], sorted(found[1])) == (0, sorted(expected)), (seed, names)
                compared += 1
    assert compared > 6 * seeds


def holds(dependency: str, at: str | None) -> bool:
    """Return whether a provider at version `at` satisfies a dependency of `tangled`."""
    match = re.fullmatch(r"!?[^<>=~]+(<|>=|~|=)?(.*)", dependency)
    assert match is not None
    if match[1] is None or at is None:
        return match[1] is None
    found, bound = version_key(at), version_key(match[2])
    return {
        "<": found < bound,
        ">=": found >= bound,
        "=": found == bound,
        "~": found[: len(bound) - 1] == bound[:-1],
    }[match[1]]


def check_choice(chosen: Sequence[Recipe], names: Sequence[str]) -> None:
    """Check that all that is asked for is there, before what asks for it, and nothing clashes."""
    wanted: list[tuple[str, Recipe | None]] = [(name, None) for name in names]
    wanted += [(dependency, one) for one in chosen for dependency in one.depends]
    providing: dict[str, list[tuple[Recipe, str | None]]] = {}
    for one in chosen:
        for provided in (f"{one.name}={one.version}", *one.provides):
            name, _, version = provided.partition("=")
            providing.setdefault(name, []).append((one, version or None))
    for dependency, by in wanted:
        filling = providing.get(parse_dependency(dependency).name, [])
        fitting = [one for one, version in filling if holds(dependency, version)]
        if dependency.startswith("!"):
            assert [one for one in fitting if one is not by] == []
        else:
            assert fitting, (dependency, by)
    for name, filling in providing.items():
        packages = {id(one) for one, _ in filling}
        assert len(packages) == 1 or not any(version for _, version in filling), name


@pytest.mark.parametrize("seeds", [4, pytest.param(20, marks=pytest.mark.full)])
def test_random_packages_with_conflicts_give_sets_that_fit(
    seeds: int, chooser: Tool, key: SigningKey, tmp_path: Path
) -> None:
    solved = refused = 0
    for seed in range(seeds):
        base = tmp_path / str(seed)
        base.mkdir()
        dice = random.Random(seed)  # noqa: S311
        packages = list(tangled(dice, 18))
        by_label = {f"{one.name}-{one.version}": one for one in packages}
        world = publish(base, key, packages)
        for _ in range(15):
            names = [f"p{number}" for number in dice.sample(range(18), 2)]
            status, chosen = chooser.choose(base, world, *names)
            if status:
                refused += 1
                continue
            check_choice([by_label[label] for label in chosen], names)
            solved += 1
    assert solved > 2 * seeds
    assert refused > 2 * seeds


REPORTS = {
    "nosuch": "  nosuch (no such package):\n    required by: world[nosuch]",
    "a>99": "  a-1-r0:\n    breaks: world[a>99]",
    "lacking": "  so:none (no such package):\n    required by: lacking-1-r0[so:none]",
    "virtual": ("  virtual (virtual):\n    provided by: one two\n    required by: world[virtual]"),
    "needs-a !a": "  a-1-r0:\n    breaks: world[!a]\n    satisfies: needs-a-1-r0[a]",
    "refuses-a needs-a": (
        "  a-1-r0:\n    breaks: refuses-a-1-r0[!a]\n    satisfies: needs-a-1-r0[a]"
    ),
    "left right": (
        "  left-1-r0:\n    conflicts: right-1-r0[both=1]\n    satisfies: world[left]\n"
        "  right-1-r0:\n    conflicts: left-1-r0[both=1]\n    satisfies: world[right]"
    ),
}
REPORTED = [
    recipe("a"),
    recipe("needs-a", depends=("a",)),
    recipe("refuses-a", depends=("!a",)),
    recipe("lacking", depends=("so:none",)),
    *(recipe(name, provides=("virtual",)) for name in ("one", "two")),
    *(recipe(name, provides=("both=1",)) for name in ("left", "right")),
]


def simulated(tool: Tool, base: Path, world: Repositories, words: str) -> tuple[bool, str]:
    """Return whether the choice fails, and the report."""
    tool.choose(base, world)
    root = base / f"choose-{tool.name}"
    finished = tool.add(root, world, *words.split(), options=["--simulate"])
    return finished.returncode != 0, finished.stderr + finished.stdout


@pytest.mark.parametrize("words", REPORTS)
def test_the_report_says_what_does_not_fit(
    words: str, chooser: Tool, key: SigningKey, tmp_path: Path
) -> None:
    world = publish(tmp_path, key, REPORTED)
    expected = f"ERROR: unable to select packages:\n{REPORTS[words]}\n"
    assert simulated(chooser, tmp_path, world, words) == (True, expected)


def test_a_real_apk_reports_the_same(apk2: Tool, key: SigningKey, tmp_path: Path) -> None:
    world = publish(tmp_path, key, REPORTED)
    for words, expected in REPORTS.items():
        failed, report = simulated(apk2, tmp_path, world, words)
        assert failed
        assert blocks(report) == blocks(expected), words


def blocks(report: str) -> set[tuple[str, str, frozenset[tuple[str, frozenset[str]]]]]:
    """Return the reasons of a report, whatever their order; without notes for the reader."""
    return {
        (
            reason.name,
            reason.remark,
            frozenset(
                (key, frozenset(text.split()))
                for key, text in reason.details.items()
                if key != "note"
            ),
        )
        for reason in parse_reasons(report)
    }


def test_the_lines_of_a_simulation_are_those_of_an_apk(
    chooser: Tool, key: SigningKey, tmp_path: Path
) -> None:
    names = [f"p{number}" for number in range(10)]
    world = publish(tmp_path, key, map(recipe, names))
    failed, output = simulated(chooser, tmp_path, world, " ".join(names))
    lines = output.splitlines()
    assert not failed
    assert lines[0] == "( 1/10) Installing p0 (1-r0)"
    assert lines[9:] == ["(10/10) Installing p9 (1-r0)", "OK: 0 MiB in 10 packages"]


@pytest.mark.parametrize(
    ("dependency", "inside", "outside"),
    [
        ("a", "0 1 9999", ""),
        ("a=1.2", "1.2", "1.2-r0 1.20 1.2.0 1"),
        ("a~1.2", "1.2 1.2.9 1.2-r5 1.2_rc1", "1.20 1.3 1"),
        ("a<1.10", "1.9 1.10_rc1 1.1", "1.10 1.10-r0 2"),
        ("a<=1.10", "1.9 1.10", "1.10-r0 1.11"),
        ("a>1.9", "1.10 1.9-r0 1.9_p1", "1.9 1.9_alpha 1.8"),
        ("a>=1.9", "1.9 1.10", "1.9_pre 1.8"),
        ("a>~1.9", "1.9 1.9.3 1.10", "1.8.9"),
    ],
)
def test_versions_are_within_bounds_or_not(dependency: str, inside: str, outside: str) -> None:
    parsed = parse_dependency(dependency)
    assert [one for one in inside.split() if not parsed.matches(one)] == []
    assert [one for one in outside.split() if parsed.matches(one)] == []
    assert parsed.matches(None) == (dependency == "a")


def test_an_index_that_no_trusted_key_signed_offers_nothing(
    chooser: Tool, key: SigningKey, tmp_path: Path
) -> None:
    world = publish(tmp_path, key, [recipe("a")])
    assert chooser.choose(tmp_path, world, "a") == (0, ["a-1-r0"])
    stranger = make_key(b"a stranger")
    package = write_package(recipe("a"), stranger, level=1)
    forged = write_index([package], stranger, "forged", level=1)
    (world.folders[0] / "x86_64" / "APKINDEX.tar.gz").write_bytes(forged)
    failed, report = simulated(chooser, tmp_path, world, "a")
    assert failed
    assert "APKINDEX.tar.gz: BAD signature\n" in report
    assert "a (no such package)" in report
    nobody = Repositories(world.folders, tmp_path / "no-keys")
    assert "APKINDEX.tar.gz: UNTRUSTED signature\n" in simulated(chooser, tmp_path, nobody, "a")[1]
