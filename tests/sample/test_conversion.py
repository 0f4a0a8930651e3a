"""Files and names of a Debian package are converted to an apk."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from build.apk.version import version_key
from build.apk.writing import Entry
from build.edges.process import PLAIN
from build.edges.progress import Silent
from build.errors import BuildError, ConfigError, RemoteError
from ci.rehearsal.sample.convert import (
    own_entries,
    own_scripts,
    read_deb,
    taken_entries,
    with_modes,
)
from ci.rehearsal.sample.debian import apk_version, fetch
from ci.rehearsal.sample.elf import read_linked
from ci.rehearsal.sample.package_lists import SERVICES
from ci.rehearsal.sample.recipes import HERE, SampleRecipe, read_table
from tests import skips

FILES = HERE / "files"
EPOCH = 1_700_000_000
OWN_SERVICES = {"snowdrop-init", "snowdrop-userdata"}
"""Services of Snowdrop's own packages."""

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason=skips.TOOL)
needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason=skips.TOOL)


def recipe_of(name: str) -> SampleRecipe:
    return next(recipe for recipe in read_table().recipes if recipe.name == name)


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """A Debian package of one program with a second name, and a page that no recipe takes."""
    tree = tmp_path / "tree"
    for path, text in [("usr/bin/cpio", "#!/bin/sh\n"), ("usr/share/doc/cpio/README", "read")]:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "usr/bin/cpio").chmod(0o4755)
    (tree / "usr/bin/other").symlink_to("cpio")
    (tree / "DEBIAN").mkdir(mode=0o755)
    (tree / "DEBIAN").chmod(0o755)
    (tree / "DEBIAN/control").write_text(
        "Package: cpio\nVersion: 1-1\nArchitecture: amd64\nMaintainer: a <a@b>\nDescription: c\n"
    )
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", tree, tmp_path / "cpio.deb"],
        env={**PLAIN, "SOURCE_DATE_EPOCH": str(EPOCH)},
        check=True,
        capture_output=True,
    )
    return tmp_path / "cpio.deb"


def test_a_newer_debian_version_is_a_newer_version_of_apk() -> None:
    in_order = [
        *("2.0~rc1-1", "2.0-1", "2.0-1+deb13u1", "2.0-1+deb13u2", "2.0-2", "2.0-10", "1:2.1-1"),
        *("2.1-1+b1", "2.1p1-7+deb13u1", "2.10.4+ds-0+deb13u1"),
    ]
    keys = [version_key(apk_version(version)) for version in in_order]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@needs_dpkg
def test_files_keep_their_mode_and_the_time_of_debians_build(deb: Path) -> None:
    contents = read_deb(deb)
    entries = taken_entries(recipe_of("cpio"), [contents])
    assert entries == {
        "usr/bin/cpio": Entry("usr/bin/cpio", 0o4755, "file", b"#!/bin/sh\n"),
    }
    assert contents.files["usr/bin/other"].target == "cpio"
    assert contents.epoch == EPOCH


@needs_dpkg
def test_a_file_that_debian_moved_is_an_error(deb: Path) -> None:
    with pytest.raises(BuildError, match=r"^sfdisk: nothing matches usr/sbin/sfdisk"):
        taken_entries(recipe_of("sfdisk"), [read_deb(deb)])


def test_the_needed_libraries_of_a_program_are_read() -> None:
    program = Path(shutil.which("cat") or "/bin/cat").read_bytes()
    assert any(name.startswith("libc.") for name in read_linked(program).needed)


def test_modes_are_the_same_in_a_checkout_of_any_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = own_entries(recipe_of("openrc"))
    shutil.copytree(HERE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "copy").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    monkeypatch.setattr("ci.rehearsal.sample.recipes.HERE", tmp_path / "copy")
    assert own_entries(recipe_of("openrc")) == before
    assert before["etc/init.d/devfs"].mode == 0o755
    assert before["etc/rc.conf"].mode == 0o644


def test_only_root_and_its_group_can_read_shadow() -> None:
    recipe = recipe_of("alpine-baselayout-data")
    entry = with_modes(own_entries(recipe), recipe.modes)["etc/shadow"]
    assert (entry.mode, entry.owner, entry.group) == (0o640, "root", "shadow")


def test_every_own_file_belongs_to_a_package() -> None:
    names = {recipe.name for recipe in read_table().recipes}
    assert {folder.name for folder in FILES.iterdir()} <= names
    scripts = {name for recipe in read_table().recipes for name in own_scripts(recipe)}
    assert scripts == {"post-install", "post-upgrade", "pre-install", "trigger"}


def test_every_service_of_a_rehearsal_exists() -> None:
    existing = {path.name for path in FILES.glob("*/etc/init.d/*")}
    assert {name for names in SERVICES.values() for name in names} <= existing | OWN_SERVICES


@pytest.mark.skipif(not shutil.which("shellcheck"), reason=skips.TOOL)
def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    services = sorted(FILES.glob("*/etc/init.d/*"))
    scripts = [
        path
        for path in sorted([*FILES.rglob("*"), *(HERE / "programs").glob("*.sh")])
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/busybox sh"))
    ]
    assert len(scripts) > 8
    # openrc-run sets variables that a service reads, and reads those that it sets.
    for paths, more in ((scripts, []), (services, ["--exclude=SC2034,SC2154"])):
        found = subprocess.run(
            ["shellcheck", "--shell=sh", *more, *paths], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""


@needs_apt
@needs_dpkg
def test_a_mirror_without_a_valid_signature_is_refused(tmp_path: Path) -> None:
    release = tmp_path / "mirror" / "dists" / read_table().suite / "Release"
    release.parent.mkdir(parents=True)
    release.write_text(f"Origin: Debian\nSuite: stable\nCodename: {read_table().suite}\n")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(RemoteError, match=r"(?s)^Debian mirror: .*not signed"):
        fetch(read_table(), work, mirror=f"file://{tmp_path / 'mirror'}", progress=Silent())
    assert not (work / "debs").exists()


def test_a_mirror_that_is_no_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("Debian mirror 'nowhere', expected a URL")):
        fetch(read_table(), tmp_path, mirror="nowhere", progress=Silent())
