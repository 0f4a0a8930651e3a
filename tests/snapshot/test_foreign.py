"""Packages in the forms of other writers are judged when they are pinned."""

from pathlib import Path

import pytest

from build.apk.index import locked_records, read_index
from build.apk.info import info_fields, package_info
from build.apk.package import split_members
from build.apk.unpack import unpack_data
from build.apk.writing import index_record, write_index
from build.edges.progress import Silent
from build.errors import VerificationError
from build.snapshot.archive import open_archive, write_archive
from build.snapshot.lock import Lock
from build.snapshot.store import Store
from build.snapshot.verify_package import check_package
from ci.attest.predicates.snapshot import verify_snapshot
from tests.apk.foreign import ARCH, Form, Item, folder, index, record, write
from tests.apk.forms import FORMS, REFUSED, STRICTER, files, record_of, repository
from tests.apk.makers import key, trusted
from tests.snapshot.served import TAIL, Notes, apk_package, made, pin_world, world

INDEX = f"{ARCH}/APKINDEX.tar.gz"
NOARCH = "noarch/noarch-folder-1-r0.apk"


def serve(base: Path) -> Path:
    """Write a repository of all forms, and of what a pin needs besides."""
    served = base / "mirror" / TAIL
    for path, content in repository(list(FORMS), FORMS).items():
        target = served / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    others = {"apk-tools-static-3.0.6-r0": apk_package(), "musl-1.0-r0": made("musl")}
    for name, content in others.items():
        (served / ARCH / f"{name}.apk").write_bytes(content)
    records = [f"{index_record(content)}\n".encode() for content in others.values()]
    records += [record(name, form(name), write(name, form(name))) for name, form in FORMS.items()]
    (served / INDEX).write_bytes(index(records))
    return served


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lock, Store, Path, Notes]:
    """Give the lock of a closure of all forms, with its store and what was noted."""
    base, notes = tmp_path_factory.mktemp("forms"), Notes()
    served = serve(base)
    config = world(base, str(served), packages=sorted(FORMS))
    return pin_world(config, notes=notes), Store(config.store), served, notes


def test_every_form_is_pinned(pinned: tuple[Lock, Store, Path, Notes], tmp_path: Path) -> None:
    lock, store, served, _ = pinned
    packages = {package.name: package for package in lock.closure("droplet")}
    assert set(packages) == set(FORMS)
    for name, package in packages.items():
        content = store.read(package.sha256)
        home = "noarch" if name == "noarch-folder" else ARCH
        assert content == (served / home / f"{name}-1-r0.apk").read_bytes()
        # The builder's root is unpacked from such packages, too.
        unpack_data(content, tmp_path)
        assert (tmp_path / "opt" / name / "f").is_file() == bool(FORMS[name](name).items[2:])
    assert not (tmp_path / "opt/left-out").exists()
    assert not (tmp_path / ".hidden").exists()


def test_what_is_unusual_is_noted_once(pinned: tuple[Lock, Store, Path, Notes]) -> None:
    *_, served, notes = pinned
    assert len(notes.lines) == 2
    assert notes.lines[0].startswith(f"{served}/{INDEX}: APKINDEX: 2 lines with a tab or bytes")
    assert notes.lines[1] == (
        "dot-entries-1-r0.apk: apk leaves out 3 names that start with a dot: "
        "'./opt/', './opt/left-out', '.hidden'"
    )


def test_the_index_of_an_image_keeps_the_bytes(pinned: tuple[Lock, Store, Path, Notes]) -> None:
    lock, store, *_ = pinned
    records = locked_records(store.read(lock.repositories[0].index_sha256), where="index")
    names = {("description-latin1", "1-r0"), ("description-tab", "1-r0")}
    subset = write_index(records.texts(names), key(), "")
    assert b"\nT:caf\xe9\n" in subset
    assert b"\nT:one\ttwo\n" in subset
    again = read_index(subset, trusted(), where="subset").records
    assert [each.description for each in again] == ["café", "one\ttwo"]


def test_an_archive_has_each_package_where_apk_looks_for_it(
    pinned: tuple[Lock, Store, Path, Notes], tmp_path: Path
) -> None:
    lock, store, served, _ = pinned
    path = tmp_path / "archive.tar"
    write_archive(path, lock, store, trust_root=b"{}", progress=Silent())
    archive = open_archive(path)
    content = (served / NOARCH).read_bytes()
    assert archive.read(f"image/0/{NOARCH}") == content
    fetcher = archive.fetcher(tmp_path)
    assert fetcher.fetch(served, NOARCH, limit=len(content)) == content
    keys = dict.fromkeys(("image", "builder"), served.parents[2] / "keys")
    verified = verify_snapshot(archive, keys, Silent())
    assert verified.infos[f"image/0/{NOARCH}"].arch == "noarch"


def test_the_placeholder_of_alpines_empty_packages_is_not_noted(tmp_path: Path) -> None:
    notes, form = Notes(), Form(items=(Item(".dummy"),))
    served, package = serve(tmp_path), write("empty", form)
    (served / ARCH / "empty-1-r0.apk").write_bytes(package)
    others = (apk_package(), made("musl"))
    records = [f"{index_record(content)}\n".encode() for content in others]
    (served / INDEX).write_bytes(index([*records, record("empty", form, package)]))
    pin_world(world(tmp_path, str(served), packages=["empty"]), notes=notes)
    assert notes.lines == []


@pytest.mark.parametrize("folders", [("noarch",), (ARCH,), ("noarch", ARCH)])
def test_a_package_for_any_architecture_is_found_in_either_folder(
    folders: tuple[str, ...], tmp_path: Path
) -> None:
    served = serve(tmp_path)
    content = (served / NOARCH).read_bytes()
    (served / NOARCH).unlink()
    for name in folders:
        (served / name / "noarch-folder-1-r0.apk").write_bytes(content)
    lock = pin_world(world(tmp_path, str(served), packages=["noarch-folder"]))
    (package,) = lock.closure("droplet")
    assert (package.arch, package.size) == ("noarch", len(content))


@pytest.mark.parametrize("name", REFUSED | STRICTER)
def test_what_apk_would_not_install_is_refused(name: str) -> None:
    form, message = (REFUSED | STRICTER)[name]
    package = write(name, form(name))
    raw = index([record_of(name, form(name), package)])
    (found,) = read_index(raw, trusted(), where="index").records
    with pytest.raises(VerificationError, match=f"^{name}-1-r0.apk: ") as error:
        check_package(package, found, trusted())
    assert message.replace("NAME", name) in str(error.value)


@pytest.mark.parametrize("line", [b"P", b"V", b"o", b"L", b"D"])
def test_other_lines_of_an_index_are_as_strict_as_before(line: bytes) -> None:
    form = Form(items=files("hello"))
    good = record("hello", form, write("hello", form))
    for odd in (b"\t", b"\xe9"):
        bad = good.replace(b"T:", line + b":a" + odd + b"\nT:", 1)
        with pytest.raises(
            VerificationError, match=r"index: APKINDEX line \d+: (control|byte 0xe9)"
        ):
            read_index(index([bad]), trusted(), where="index")


def test_licenses_on_several_lines_all_apply() -> None:
    package = write("licenses", FORMS["licenses"]("licenses"))
    fields = info_fields(split_members(package)[1], where="it")
    assert package_info(fields, where="it").license == "MIT AND (BSD-3-Clause OR ISC)"
    assert "\nL:MIT AND (BSD-3-Clause OR ISC)\n" in index_record(package)


def test_a_folder_does_not_replace_a_file_of_the_same_package() -> None:
    form = Form(items=files("hello", folder("opt/hello/f")))
    package = write("hello", form)
    (found,) = read_index(index([record("hello", form, package)]), trusted(), where="index").records
    with pytest.raises(VerificationError, match="'opt/hello/f/': repeated"):
        check_package(package, found, trusted())
