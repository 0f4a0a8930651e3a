"""The sample's apk chooses what real apk chooses, in the same order, for the same reasons."""

import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from build.apk.writing import Recipe, SigningKey, write_index, write_package
from ci.rehearsal.sample.programs.apk.versions import compare
from tests.sample.standin_world import (
    ALPINE,
    FULL,
    Repositories,
    Tool,
    alpine,
    install_apk2,
    install_apk3,
    install_standin,
    make_key,
    needs_alpine,
    publish,
    recipe,
)

pytestmark = needs_alpine

SETS = 30
SERVER = (
    *("alpine-base", "linux-virt", "mkinitfs", "openssh", "openssh-server", "chrony", "dhcpcd"),
    *("e2fsprogs-extra", "grub-bios", "nginx", "docs", "python3", "postgresql16", "sudo", "bash"),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("choice")


@pytest.fixture(scope="module")
def standin(base: Path) -> Tool:
    return install_standin(base / "standin")


@pytest.fixture(scope="module")
def apk3(base: Path) -> Tool:
    return install_apk3(base / "three")


@pytest.fixture(scope="module")
def apk2(base: Path) -> Tool:
    return install_apk2(base / "two")


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return make_key()


def drawn_sets() -> Iterator[list[str]]:
    """Name sets of the small repository: one to fourteen names, always the same ones."""
    names = sorted({path.stem.rsplit("-", 2)[0] for path in (ALPINE / "x86_64").glob("*.apk")})
    dice = random.Random(2026)  # noqa: S311
    for _ in range(SETS):
        yield dice.sample(names, dice.randint(1, 14))


def test_any_names_of_the_small_repository_give_the_same_closure_in_the_same_order(
    base: Path, standin: Tool, apk2: Tool, apk3: Tool
) -> None:
    world = alpine(base)
    solved = 0
    for names in drawn_sets():
        status, chosen = standin.choose(base, world, *names)
        for real in (apk2, apk3):
            expected = real.choose(base, world, *names)
            assert (status == 0, chosen) == (expected[0] == 0, expected[1]), (real.name, names)
        solved += status == 0
    assert solved > SETS // 2


def test_a_server_out_of_23030_packages_is_the_same_in_the_same_order(
    base: Path, standin: Tool, apk3: Tool
) -> None:
    world = alpine(base, *FULL)
    expected = apk3.choose(base, world, *SERVER)
    assert len(expected[1]) > 100
    assert standin.choose(base, world, *SERVER) == expected


def imagined(dice: random.Random, count: int) -> Iterator[Recipe]:
    """Packages that need, provide, refuse and wait for one another at random."""
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


@pytest.mark.parametrize("seed", range(8))
def test_imagined_repositories_give_what_apk_3_gives(
    seed: int, base: Path, standin: Tool, apk3: Tool, key: SigningKey, tmp_path: Path
) -> None:
    dice = random.Random(seed)  # noqa: S311
    world = publish(tmp_path, key, imagined(dice, 14), imagined(dice, 10))
    for _ in range(6):
        names = [f"p{number}" for number in dice.sample(range(14), 2)]
        expected = apk3.choose(base, world, *names)
        status, chosen = standin.choose(base, world, *names)
        # How many errors a contradiction makes is not always counted alike.
        assert (status == 0, chosen) == (expected[0] == 0, expected[1]), names


REFUSED = (
    ("nosuch",),
    ("openssh>99",),
    ("alpine-base", "!busybox"),
    ("chrony=1", "openntpd"),
    ("so:libnothing.so.1",),
    ("busybox", "musl<1"),
)


@pytest.mark.parametrize("names", REFUSED, ids=" ".join)
def test_what_cannot_be_is_told_in_apks_own_words(
    names: tuple[str, ...], base: Path, standin: Tool, apk3: Tool
) -> None:
    world = alpine(base)
    apk3.choose(base, world)
    standin.choose(base, world)
    expected = apk3.add(base / "choose-apk3", world, *names, options=["--simulate"])
    told = standin.add(base / "choose-standin", world, *names, options=["--simulate"])
    assert told.returncode == expected.returncode != 0
    assert (told.stdout, told.stderr) == (expected.stdout, expected.stderr)


def test_the_lines_are_apk_3s_to_the_letter(base: Path, standin: Tool, apk3: Tool) -> None:
    world = alpine(base)
    outputs = []
    for tool in (apk3, standin):
        tool.choose(base, world)
        root = base / f"choose-{tool.name}"
        outputs.append(tool.add(root, world, "alpine-base", "!openntpd", options=["-s"]).stdout)
    assert outputs[0] == outputs[1]
    assert outputs[1].startswith("( 1/")


def test_of_two_repositories_the_first_wins_only_among_equals(
    base: Path, standin: Tool, apk3: Tool, key: SigningKey, tmp_path: Path
) -> None:
    first = [recipe("a", "1-r0"), recipe("b", "1-r0", provides=("v",), provider_priority=5)]
    second = [recipe("a", "2-r0"), recipe("c", "9-r0", provides=("v",), provider_priority=5)]
    world = publish(tmp_path, key, first, second)
    chosen = standin.choose(base, world, "a", "v")
    assert chosen == (0, ["a-2-r0", "b-1-r0"])
    assert chosen == apk3.choose(base, world, "a", "v")


VERSIONS = (
    *("1", "1.0", "1.01", "1.1", "1.2", "1.10", "1.2a", "1.2b", "1.2_alpha", "1.2_rc1", "1.2_rc2"),
    *("1.2_p1", "1.2_p10", "1.2_git20230717", "1.2-r0", "1.2-r10", "1.2_rc1-r3", "1.2~ab12", "2"),
)


def test_versions_are_ordered_as_apk_orders_them(apk3: Tool) -> None:
    for mine, theirs in product(VERSIONS, VERSIONS):
        told = apk3("version", "-t", mine, theirs).stdout.strip()
        assert "<=>"[compare(mine, theirs) + 1] == told, (mine, theirs)


def test_an_index_that_nobody_trusted_signed_offers_nothing(
    base: Path, standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    world = publish(tmp_path, key, [recipe("a")])
    assert standin.choose(base, world, "a") == (0, ["a-1-r0"])
    stranger = make_key(b"a stranger")
    package = write_package(recipe("a"), stranger, level=1)
    forged = write_index([package], stranger, "forged", level=1)
    (world.folders[0] / "x86_64" / "APKINDEX.tar.gz").write_bytes(forged)
    told = standin.add(base / "choose-standin", world, "a", options=["--simulate"])
    assert told.returncode == 1
    assert "APKINDEX.tar.gz: BAD signature\n" in told.stderr
    assert "a (no such package)" in told.stderr
    nobody = Repositories(world.folders, tmp_path / "no-keys")
    told = standin.add(base / "choose-standin", nobody, "a", options=["--simulate"])
    assert "APKINDEX.tar.gz: UNTRUSTED signature\n" in told.stderr
