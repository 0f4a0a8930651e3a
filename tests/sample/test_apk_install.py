"""The sample's apk makes the tree and the database that a real apk 2.14 makes."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from build.apk.writing import Entry, Recipe, SigningKey
from tests.sample.apk_tools import (
    Repositories,
    Tool,
    alpine,
    file,
    folder,
    link,
    needs_alpine,
    needs_root,
    publish,
    recipe,
    shell,
    tree,
)

pytestmark = needs_root

WORLD = ("alpine-base", "openssh", "chrony", "dhcpcd", "e2fsprogs-extra", "tiny-cloud")
DATABASE = "lib/apk/db/installed"
OWN_TO_APK2 = ("dev", "proc", "sys", "tmp", "var", "lib/apk")
"""Where apk 2.14 leaves device nodes, mount points, its lock and its cache."""
SCRIPT = "#!/bin/sh\n"


@dataclass(frozen=True)
class Made:
    """A root that a tool made, and what it printed."""

    root: Path
    status: int
    output: str
    errors: str

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
    root.mkdir(parents=True)
    if prepare is not None:
        prepare(root)
    finished = tool.add(root, world, *words, options=["--initdb"])
    return Made(root, finished.returncode, finished.stdout, finished.stderr)


@pytest.fixture(scope="module")
def alpine_root(tmp_path_factory: pytest.TempPathFactory, standin: Tool) -> Made:
    base = tmp_path_factory.mktemp("alpine")
    return make(standin, base / "root", alpine(base), *WORLD)


@needs_alpine
def test_alpine_packages_make_the_tree_and_the_database_of_a_real_apk(
    alpine_root: Made, apk2: Tool, tmp_path: Path
) -> None:
    expected = make(apk2, tmp_path / "real", alpine(tmp_path), *WORLD)
    assert alpine_root.status == expected.status == 0
    assert alpine_root.output.splitlines()[-1] == "OK: 26 MiB in 63 packages"
    assert expected.output.splitlines()[-1] == "OK: 26 MiB in 63 packages"
    # apk 2.14 writes the `r:` of a package without folders into the block of the next one.
    assert without_replaces(alpine_root.database) == without_replaces(expected.database)
    mine = tree(alpine_root.root, without=OWN_TO_APK2)
    assert len(mine) > 900
    assert mine == tree(expected.root, without=OWN_TO_APK2)


def without_replaces(database: str) -> list[str]:
    """Return the lines of a database but those of what a package replaces."""
    return [line for line in database.splitlines() if not line.startswith("r:")]


@needs_alpine
def test_files_keep_the_time_that_their_package_gives_them(alpine_root: Made) -> None:
    assert (alpine_root.root / "bin/busybox").stat().st_mtime == 1_699_383_189
    assert (alpine_root.root / "etc/apk/world").read_text().split() == sorted(WORLD)


@needs_alpine
def test_apk_2_goes_on_with_the_database(alpine_root: Made, apk2: Tool) -> None:
    root = ("--root", alpine_root.root)
    assert apk2(*root, "info", "-e", "openssh", "chrony").stdout == "openssh\nchrony\n"
    assert apk2(*root, "info", "-e", "openntpd").returncode == 1
    audit = apk2(*root, "audit", "--system")
    assert (audit.returncode, audit.stdout) == (0, "")
    (alpine_root.root / "bin/rc-status").write_text("changed")
    assert apk2(*root, "audit", "--system").stdout == "U bin/rc-status\n"


def checksum_of(text: str) -> str:
    """Return what the database has of a file or link with this content or target."""
    return "Q1" + base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()  # noqa: S324


def test_the_database_says_what_is_installed(
    standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    packages = [
        recipe(
            "b",
            "1.2-r3",
            [folder("opt", 0o700), file("opt/f", "x", 0o4755), link("opt/l", "f")],
            depends=("a",),
            provides=("v=1",),
            replaces=("a",),
            triggers=("/opt",),
            scripts={"pre-deinstall": SCRIPT},
        ),
        recipe("a", entries=[folder("opt")]),
    ]
    made = make(standin, tmp_path / "root", publish(tmp_path, key, packages), "b>=1")
    assert (made.status, made.errors) == (0, "")
    first, second = made.database.removesuffix("\n\n").split("\n\n")
    assert first.splitlines()[1:3] == ["P:a", "V:1-r0"]
    lines = second.splitlines()
    assert lines[1:3] == ["P:b", "V:1.2-r3"]
    assert lines[-11:] == [
        "D:a",
        "p:v=1",
        "r:a",
        "F:opt",
        "M:0:0:700",
        "R:f",
        "a:0:0:4755",
        f"Z:{checksum_of('x')}",
        "R:l",
        "a:0:0:777",
        f"Z:{checksum_of('f')}",
    ]
    checksum = lines[0].removeprefix("C:")
    assert (made.root / "lib/apk/db/triggers").read_text() == f"{checksum} /opt\n"
    assert (made.root / "etc/apk/world").read_text() == "b>=1\n"
    assert (made.root / "etc/apk/arch").read_text() == "x86_64\n"


def test_a_root_with_packages_is_refused(standin: Tool, key: SigningKey, tmp_path: Path) -> None:
    world = publish(tmp_path, key, [recipe("a"), recipe("b")])
    made = make(standin, tmp_path / "root", world, "a")
    again = standin.add(made.root, world, "b")
    assert again.returncode == 2
    assert "this apk fills an empty root only" in again.stderr
    assert "P:b" not in made.database


def small(name: str, **more: Any) -> Recipe:  # noqa: ANN401
    """A package with one file in opt that needs a shell."""
    entries = [folder("opt"), file(f"opt/{name}", "x")]
    return recipe(name, entries=entries, depends=("shell",), **more)


def rival(name: str, **more: Any) -> Recipe:  # noqa: ANN401
    """A package with a file that others have as well."""
    return recipe(name, entries=[folder("opt"), file("opt/f", name)], **more)


@dataclass(frozen=True)
class Case:
    """Packages, what is asked for, what is there before, and what is there afterwards."""

    packages: Sequence[Recipe]
    words: tuple[str, ...]
    expected: Mapping[str, str]
    """Path -> content of a file, target of a link, or mode and owner."""
    prepare: Callable[[Path], None] | None = None
    errors: str = ""
    as_apk2: bool = True
    """Whether a real apk 2.14 leaves the same tree and database."""
    output: Sequence[str] = field(default=())


def describe(path: Path) -> str:
    """Return the content of a file, the target of a link, or mode and owner of a folder."""
    if path.is_symlink():
        return str(path.readlink())
    if path.is_dir():
        status = path.stat()
        return f"{status.st_mode & 0o7777:o} {status.st_uid}:{status.st_gid}"
    return path.read_text() if path.exists() else ""


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


FOLDERS = [*map(folder, ("d1", "d2", "d3", "opt", "opt/a")), file("opt/a/f", "")]
SHOW = SCRIPT + 'echo "$@" >>/log; echo "$APK_PACKAGE $APK_SCRIPT $PATH $PWD" >>/log\n'
SHOWN = "/usr/sbin:/usr/bin:/sbin:/bin /\n"
CASES = {
    "owner-keeps-configuration": Case(
        [recipe("x", entries=entries_over_configured())],
        ("x",),
        {
            "etc/conf": "mine",
            "etc/conf.apk-new": "new",
            "etc/same": "same",
            "etc/same.apk-new": "",
            "etc/link": "elsewhere",
            "etc/link.apk-new": "there",
            "etc/init.d/s": "mine",
            "etc/init.d/s.apk-new": "new",
            "opt/f": "new",
            "opt": "700 0:0",
        },
        configured,
        output=["  Installing file to etc/conf.apk-new"],
    ),
    "file-of-another": Case(
        [rival("a"), rival("b")],
        ("a", "b"),
        {"opt/f": "a"},
        errors="ERROR: b-1-r0: opt/f: is owned by a-1-r0\n",
    ),
    "file-replaced": Case([rival("a"), rival("b", replaces=("a",))], ("a", "b"), {"opt/f": "b"}),
    "file-left": Case([rival("a", replaces=("b",)), rival("b")], ("a", "b"), {"opt/f": "a"}),
    "file-of-the-same-origin": Case(
        [rival("a", origin="o"), rival("b", origin="o")], ("a", "b"), {"opt/f": "b"}
    ),
    "file-replaced-only-below-1": Case(
        [rival("a"), rival("b", replaces=("a<1",))],
        ("a", "b"),
        {"opt/f": "a"},
        errors="ERROR: b-1-r0: opt/f: is owned by a-1-r0\n",
    ),
    "folder-of-two": Case(
        [
            recipe("b", entries=[folder("opt", 0o700), folder("srv")]),
            recipe("a", entries=[folder("opt"), folder("srv", 0o750)], depends=("b",)),
        ],
        ("a",),
        {"opt": "755 0:0", "srv": "750 0:0"},
        # With a real one the package that was installed first decides.
        as_apk2=False,
    ),
    "link-where-a-folder-was-expected": Case(
        [
            recipe("a", entries=[folder("usr"), folder("usr/bin"), link("bin", "usr/bin")]),
            recipe("b", entries=[folder("bin"), file("bin/f", "x")], depends=("a",)),
        ],
        ("b",),
        {"usr/bin/f": "x", "bin": "usr/bin"},
    ),
    "folder-where-a-file-was-expected": Case(
        [
            recipe("a", entries=[folder("opt"), folder("opt/f"), file("opt/f/g", "x")]),
            recipe("b", entries=[folder("opt"), file("opt/f", "y")], depends=("a",)),
        ],
        ("b",),
        {"opt/f/g": "x"},
        errors="ERROR: b-1-r0: opt/f: [Errno 21] Is a directory: '{root}/opt/f'\n",
        # A real one records the file that it could not write.
        as_apk2=False,
    ),
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
        {"opt": "755 77:78"},
    ),
    "user-of-a-script": Case(
        [
            recipe(
                "x",
                entries=[folder("opt", owner="bar")],
                scripts={"pre-install": SCRIPT + "echo bar:x:88:99::/:/bin/sh >>/etc/passwd\n"},
                depends=("shell",),
            )
        ],
        ("x",),
        {"opt": "755 88:0"},
        # A real one does not see a user that the package's own script makes.
        as_apk2=False,
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
        {"opt/x": "x", "opt/y": "x", "log": f"1-r0\nx post-install {SHOWN}"},
        errors="ERROR: lib/apk/exec/x-1-r0.pre-install: exited with error 3\n",
        output=["  Executing x-1-r0.pre-install", "  * out", "  * err"],
        # A real one does not unpack the package.
        as_apk2=False,
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
        {"opt/x": "x"},
        errors=(
            "ERROR: lib/apk/exec/x-1-r0.post-install: exited with error 4\n"
            "ERROR: lib/apk/exec/x-1-r0.trigger: exited with error 5\n"
        ),
    ),
    "no-interpreter": Case(
        [small("x", scripts={"post-install": "#!/bin/nosuch\n"})],
        ("x",),
        {"opt/x": "x"},
        errors="ERROR: lib/apk/exec/x-1-r0.post-install: No such file or directory\n",
    ),
    "trigger-gets-folders": Case(
        [
            small("t", triggers=("/opt/*", "/d*", "/bin", "/nothing"), scripts={"trigger": SHOW}),
            recipe("later", entries=FOLDERS),
        ],
        ("t", "later"),
        {"log": f"/bin /d1 /d2 /d3 /dev /opt/a\nt trigger {SHOWN}"},
        output=["Executing t-1-r0.trigger"],
        # A real one names the folders in another order.
        as_apk2=False,
    ),
}


def check(case: Case, made: Made) -> None:
    """Check what the sample's apk left and printed."""
    assert {path: describe(made.root / path) for path in case.expected} == case.expected
    assert made.errors == case.errors.replace("{root}", str(made.root))
    assert made.status == bool(case.errors)
    assert [line for line in case.output if line not in made.output.splitlines()] == []
    assert ("\nf:" in made.database) == bool(case.errors)


@pytest.mark.parametrize("name", CASES)
def test_files_end_up_where_they_belong(
    name: str, standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    case = CASES[name]
    world = publish(tmp_path, key, case.packages)
    check(case, make(standin, tmp_path / "root", world, *case.words, prepare=case.prepare))


@pytest.mark.parametrize("name", SCRIPT_CASES)
def test_scripts_and_triggers_run(
    name: str, busybox: bytes, standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    case = SCRIPT_CASES[name]
    world = publish(tmp_path, key, [shell(busybox), *case.packages])
    check(case, make(standin, tmp_path / "root", world, *case.words))


@needs_alpine
def test_a_real_apk_leaves_the_same(
    busybox: bytes, standin: Tool, apk2: Tool, key: SigningKey, tmp_path: Path
) -> None:
    cases = {name: case for name, case in (CASES | SCRIPT_CASES).items() if case.as_apk2}
    assert len(cases) > 5
    for name, case in cases.items():
        base = tmp_path / name
        base.mkdir()
        world = publish(base, key, [shell(busybox), *case.packages])
        mine, real = (
            make(tool, base / tool.name, world, *case.words, prepare=case.prepare)
            for tool in (standin, apk2)
        )
        assert bool(mine.status) == bool(real.status), name
        assert mine.database == real.database, name
        left = [tree(made.root, without=OWN_TO_APK2) for made in (mine, real)]
        assert left[0] == left[1], name


def test_a_script_finds_dev_null_and_leaves_no_device_behind(
    busybox: bytes, standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    script = SCRIPT + "echo lost >/dev/null; [ -c /dev/urandom ] && echo $1 >/log\n"
    packages = [shell(busybox), small("x", scripts={"post-install": script})]
    made = make(standin, tmp_path / "root", publish(tmp_path, key, packages), "x")
    assert (made.status, made.errors) == (0, "")
    assert (made.root / "log").read_text() == "1-r0\n"
    assert list((made.root / "dev").iterdir()) == []
    assert list((made.root / "lib/apk/exec").iterdir()) == []


def test_a_package_that_would_leave_the_root_is_refused(
    standin: Tool, key: SigningKey, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    packages = [
        recipe("a", entries=[link("way", str(outside))]),
        recipe("b", entries=[folder("way"), file("way/f", "x")], depends=("a",)),
    ]
    made = make(standin, tmp_path / "root", publish(tmp_path, key, packages), "b")
    assert made.status == 1
    assert made.errors == "ERROR: b-1-r0: way/f: leaves the root\n"
    assert list(outside.iterdir()) == []
