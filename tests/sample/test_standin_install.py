"""The sample's apk makes the tree and the database that real apk 3 makes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from build.apk.writing import Entry, Recipe, SigningKey
from tests.sample.standin_world import (
    Repositories,
    Tool,
    alpine,
    file,
    folder,
    install_apk2,
    install_apk3,
    install_standin,
    link,
    make_key,
    needs_alpine,
    needs_root,
    publish,
    recipe,
    shell,
    tree,
)

pytestmark = [needs_alpine, needs_root]

WORLD = ("alpine-base", "openssh", "chrony", "dhcpcd", "e2fsprogs-extra", "tiny-cloud")
DATABASE = "lib/apk/db/installed"
OWN_TO_ONE = ("lib/apk/db/scripts.tar", "lib/apk/db/scripts.tar.gz", "var/log/apk.log")
"""Where apk 3 differs from apk 2.14, whose form the stand-in writes, and apk 3's log."""
SCRIPT = "#!/bin/sh\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("install")


@pytest.fixture(scope="module")
def standin(base: Path) -> Tool:
    return install_standin(base / "standin")


@pytest.fixture(scope="module")
def apk3(base: Path) -> Tool:
    return install_apk3(base / "three")


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return make_key()


@dataclass(frozen=True)
class Made:
    """A root that a tool made, and what it said."""

    root: Path
    status: int
    said: str
    complained: str

    @property
    def database(self) -> str:
        """The installed packages, as recorded."""
        path = self.root / DATABASE
        return path.read_text() if path.exists() else ""


def make(
    tool: Tool,
    root: Path,
    world: Repositories,
    *words: str,
    prepare: Callable[[Path], None] | None = None,
) -> Made:
    """Install `words` into a new root."""
    root.mkdir()
    if prepare is not None:
        prepare(root)
    finished = tool.add(root, world, *words, options=["--initdb"])
    return Made(root, finished.returncode, finished.stdout, finished.stderr)


@pytest.fixture(scope="module")
def alpine_root(base: Path, standin: Tool) -> Made:
    return make(standin, base / "alpine", alpine(base), *WORLD)


def test_real_alpine_packages_make_the_same_tree_as_with_apk_3(
    base: Path, alpine_root: Made, apk3: Tool
) -> None:
    expected = make(apk3, base / "alpine-3", alpine(base), *WORLD)
    assert alpine_root.status == expected.status == 0
    assert alpine_root.said == expected.said
    assert alpine_root.database == expected.database
    mine = tree(alpine_root.root, without=OWN_TO_ONE)
    assert len(mine) > 900
    assert mine == tree(expected.root, without=OWN_TO_ONE)


def test_files_keep_the_time_that_their_package_gives_them(alpine_root: Made) -> None:
    assert (alpine_root.root / "bin/busybox").stat().st_mtime == 1_699_383_189
    assert (alpine_root.root / "etc/apk/world").read_text().split() == sorted(WORLD)


def test_apk_2_goes_on_with_the_database(base: Path, alpine_root: Made) -> None:
    apk2 = install_apk2(base / "two")
    root = ("--root", alpine_root.root)
    assert apk2(*root, "info", "-e", "openssh", "chrony").stdout == "openssh\nchrony\n"
    assert apk2(*root, "info", "-e", "openntpd").returncode == 1
    audit = apk2(*root, "audit", "--system")
    assert (audit.returncode, audit.stdout) == (0, "")
    (alpine_root.root / "bin/rc-status").write_text("changed")
    assert apk2(*root, "audit", "--system").stdout == "U bin/rc-status\n"


def test_a_second_add_brings_only_what_is_new(base: Path, standin: Tool, alpine_root: Made) -> None:
    world = alpine(base)
    root = base / "in-two-steps"
    make(standin, root, world, *WORLD[:2])
    second = standin.add(root, world, *WORLD[2:])
    assert second.returncode == 0
    assert "Installing chrony" in second.stdout
    assert "Installing openssh" not in second.stdout
    assert (root / DATABASE).read_text() == alpine_root.database
    assert "OK: 26.3 MiB in 63 packages" in standin.add(root, world).stdout
    listed = standin("--root", root, "info", "-v").stdout.splitlines()
    assert len(listed) == 63
    assert "chrony-4.5-r0" in listed


def small(name: str, **more: Any) -> Recipe:  # noqa: ANN401
    """A package with one file in opt that needs a shell."""
    entries = [folder("opt"), file(f"opt/{name}", "x")]
    return recipe(name, entries=entries, depends=("shell",), **more)


def rival(name: str, **more: Any) -> Recipe:  # noqa: ANN401
    """A package with a file that others have as well."""
    return recipe(name, entries=[folder("opt"), file("opt/f", name)], **more)


@dataclass(frozen=True)
class Case:
    """Packages, what is asked for, and what is there before."""

    packages: Sequence[Recipe]
    words: tuple[str, ...]
    prepare: Callable[[Path], None] | None = None


def configured(root: Path) -> None:
    """Leave files of the owner where the package has its own."""
    (root / "etc/init.d").mkdir(parents=True)
    (root / "opt").mkdir(mode=0o700)
    for path in ("etc/conf", "etc/init.d/s", "opt/f"):
        (root / path).write_text("mine")
    (root / "etc/same").write_text("same")
    (root / "etc/same").chmod(0o600)
    (root / "etc/link").symlink_to("elsewhere")


def entries_over_configured() -> list[Entry]:
    """A package's files over those of `configured`."""
    return [
        *(folder("etc"), folder("etc/init.d"), folder("opt", 0o750)),
        *(file("etc/conf", "new", 0o600), file("etc/same", "same"), link("etc/link", "there")),
        *(file("etc/init.d/s", "new"), file("opt/f", "new")),
    ]


FOLDERS = [*map(folder, ("d1", "d2", "d3", "d4", "d5", "opt", "opt/a")), file("opt/a/f", "")]
SHOW = SCRIPT + 'echo "$@" >>/log; echo "$APK_PACKAGE $APK_SCRIPT $PATH $PWD" >>/log\n'
CASES = {
    "owner-keeps-configuration": Case(
        [recipe("x", entries=entries_over_configured())], ("x",), configured
    ),
    "file-of-another": Case([rival("a"), rival("b")], ("a", "b")),
    "file-replaced": Case([rival("a"), rival("b", replaces=("a",))], ("a", "b")),
    "file-left": Case([rival("a", replaces=("b",)), rival("b")], ("a", "b")),
    "file-of-the-same-origin": Case([rival("a", origin="o"), rival("b", origin="o")], ("a", "b")),
    "file-replaced-only-below-1": Case([rival("a"), rival("b", replaces=("a<1",))], ("a", "b")),
    "folder-of-two": Case(
        [
            recipe("b", entries=[folder("opt", 0o700), folder("srv")]),
            recipe("a", entries=[folder("opt"), folder("srv", 0o750)], depends=("b",)),
        ],
        ("a",),
    ),
    "link-where-a-folder-was-expected": Case(
        [
            recipe("a", entries=[folder("usr"), folder("usr/bin"), link("bin", "usr/bin")]),
            recipe("b", entries=[folder("bin"), file("bin/f", "x")], depends=("a",)),
        ],
        ("b",),
    ),
    "no-such-package": Case([rival("a")], ("a", "nosuch")),
}
SCRIPT_CASES = {
    "owners-by-name": Case(
        [
            recipe(
                "x",
                entries=[folder("opt", owner="foo"), file("opt/f", "x", 0o4755, "foo")],
                depends=("shell",),
            )
        ],
        ("x",),
    ),
    "pre-install-fails": Case(
        [
            small(
                "x",
                scripts={
                    "pre-install": SCRIPT + "echo out; echo err >&2; exit 3\n",
                    "post-install": SHOW,
                },
            ),
            small("y"),
        ],
        ("x", "y"),
    ),
    "post-install-and-trigger-fail": Case(
        [
            small(
                "x",
                triggers=("/opt",),
                scripts={"post-install": SCRIPT + "exit 4\n", "trigger": SCRIPT + "exit 5\n"},
            )
        ],
        ("x",),
    ),
    "no-interpreter": Case([small("x", scripts={"post-install": "#!/bin/nosuch\n"})], ("x",)),
    "trigger-gets-folders": Case(
        [
            small("t", triggers=("/opt/*", "/d*", "/bin", "/nothing"), scripts={"trigger": SHOW}),
            recipe("later", entries=FOLDERS),
        ],
        ("t", "later"),
    ),
}


def same_as_apk3(
    case: Case, packages: Sequence[Recipe], tools: tuple[Tool, Tool], key: SigningKey, at: Path
) -> None:
    """Install with both and compare all that is left behind and said."""
    world = publish(at, key, packages)
    mine, real = (
        make(tool, at / tool.name, world, *case.words, prepare=case.prepare) for tool in tools
    )
    assert (mine.status, mine.said, mine.complained) == (real.status, real.said, real.complained)
    assert mine.database == real.database
    # apk 3 leaves empty folders of its own where it had mounts.
    without = ("var", "dev", "proc", "lib/apk")
    assert tree(mine.root, without=without) == tree(real.root, without=without)


@pytest.mark.parametrize("name", CASES)
def test_files_end_up_as_with_apk_3(
    name: str, standin: Tool, apk3: Tool, key: SigningKey, tmp_path: Path
) -> None:
    case = CASES[name]
    same_as_apk3(case, case.packages, (standin, apk3), key, tmp_path)


@pytest.mark.parametrize("name", SCRIPT_CASES)
def test_scripts_and_triggers_run_as_with_apk_3(
    name: str, base: Path, standin: Tool, apk3: Tool, key: SigningKey, tmp_path: Path
) -> None:
    case = SCRIPT_CASES[name]
    packages = [shell(base), *case.packages]
    same_as_apk3(case, packages, (standin, apk3), key, tmp_path)


def test_a_script_finds_dev_null_and_leaves_no_device_behind(
    base: Path, standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    script = SCRIPT + "echo lost >/dev/null; [ -c /dev/urandom ] && echo $1 >/log\n"
    packages = [shell(base), small("x", scripts={"post-install": script})]
    made = make(standin, tmp_path / "root", publish(tmp_path, key, packages), "x")
    assert (made.status, made.complained) == (0, "")
    assert (made.root / "log").read_text() == "1-r0\n"
    assert list((made.root / "dev").iterdir()) == []
    assert list((made.root / "lib/apk/exec").iterdir()) == []


def test_a_file_without_its_folder_in_the_package_is_refused(
    base: Path, standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    packages = [
        recipe("a", entries=[link("way", str(outside))]),
        recipe("b", entries=[folder("way"), file("way/f", "x")], depends=("a",)),
    ]
    made = make(standin, tmp_path / "root", publish(tmp_path, key, packages), "b")
    assert made.status == 1
    assert made.complained == "ERROR: b-1-r0: way/f: leaves the root\n"
    assert list(outside.iterdir()) == []
