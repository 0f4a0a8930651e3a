"""Packages in the forms of other writers are installed as a real apk installs them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from build.inside.install import correct_links
from tests.apk.foreign import KEY, Form, public_pem
from tests.apk.forms import FORMS, REFUSED, STRICTER, repository
from tests.sample.apk_tools import Repositories, Tool, needs_alpine, needs_root, tree

pytestmark = needs_root

Table = Mapping[str, Callable[[str], Form]]
RUN = {name: form for name, (form, _) in (REFUSED | STRICTER).items()}


def serve(base: Path, names: Iterable[str], table: Table) -> Repositories:
    """Write the repository of these packages and the folder of its key."""
    for path, content in repository(list(names), dict(table)).items():
        target = base / "repository" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    keys = base / "keys"
    keys.mkdir()
    (keys / KEY).write_bytes(public_pem())
    return Repositories((base / "repository",), keys)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    return serve(tmp_path_factory.mktemp("forms"), FORMS, FORMS)


@pytest.fixture(scope="module")
def root(standin: Tool, world: Repositories, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("installed")
    finished = standin.add(made, world, *FORMS, options=["--initdb"])
    assert (finished.returncode, finished.stderr) == (0, "")
    return made


def contents(root: Path) -> dict[str, tuple[object, ...]]:
    """Return what packages brought: all but what an apk keeps for itself."""
    return tree(root, without=("dev", "proc", "sys", "tmp", "var", "lib/apk", "etc/apk"))


def test_every_form_is_installed(root: Path) -> None:
    found = {name for name in FORMS if (root / "opt" / name / "f").is_file()}
    assert set(FORMS) - found == {"empty", "size-0-empty", "top-level"}
    assert (root / "top-level-file").read_bytes() == b"hello"
    assert (root / "opt/symlink-empty/l").readlink() == Path("f")
    assert (root / "opt/hardlink-content/h").samefile(root / "opt/hardlink-content/f")
    assert (root / "opt/folder-twice").stat().st_mode & 0o777 == 0o711
    # As a real apk does: `nox -s pin` prints a note about these.
    assert not (root / "opt/left-out").exists()
    assert not (root / ".hidden").exists()
    database = (root / "lib/apk/db/installed").read_bytes()
    assert b"\nT:caf\xe9\n" in database
    assert b"\nT:one\ttwo\n" in database


@needs_alpine
def test_a_real_apk_makes_the_same_tree_and_finds_nothing_changed(
    root: Path, apk2: Tool, world: Repositories, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    finished = apk2.add(tmp_path / "real", world, *FORMS, options=["--initdb"])
    assert (finished.returncode, finished.stderr) == (0, "")
    assert contents(root) == contents(tmp_path / "real")
    assert apk2("--root", root, "audit", "--system").stdout == ""
    # apk 2.14 copies the checksum of the package, which the build corrects.
    audit = ("--root", tmp_path / "real", "audit", "--system")
    assert apk2(*audit).stdout == "U opt/symlink-empty/l\n"
    correct_links(tmp_path / "real")
    assert apk2(*audit).stdout == ""


@needs_alpine
@pytest.mark.parametrize("name", RUN)
def test_a_real_apk_fails_on_what_pin_refuses(
    name: str, apk2: Tool, standin: Tool, tmp_path: Path
) -> None:
    world = serve(tmp_path, [name], RUN)
    for tool in (apk2, standin):
        made = tmp_path / tool.name
        made.mkdir()
        status = tool.add(made, world, name, options=["--initdb"]).returncode
        complete = (made / "opt" / name / "f").is_file() and status == 0
        assert complete == (tool is apk2 and name in STRICTER)
