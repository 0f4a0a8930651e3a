"""The differences of two locks: in a table, in Markdown and as data."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from build.apk.index import IndexRecord
from build.apk.streams import unpack_member
from build.apk.writing import Entry, Recipe, write_index, write_package
from build.snapshot.lock import Lock, write_lock
from ci.release.lock_diff import compare_locks, format_markdown, rows, signed_size
from tests.apk.makers import key
from tests.commands.conftest import Project
from tests.distribution import Distribution
from tests.snapshot.conftest import lock_of, locked
from tests.snapshot.test_fetch import answer, serving
from tests.snapshot.test_pin import as_root

KINDS = {
    "alpine-baselayout-data": "replaced",
    "alpine-keys": "upgraded",
    "busybox-openrc": "downgraded",
}


def changed_copy(distribution: Distribution, folder: Path, replaced: Mapping[str, str]) -> Path:
    """Return a copy of the repository in which some packages were replaced: name, version."""
    arch = folder / "x86_64"
    arch.mkdir(parents=True)
    index = distribution.index()
    texts: list[bytes | str] = []
    for record, text in zip(index.records, records_of(index.raw), strict=True):
        if record.name in replaced:
            content = write_package(other(record, replaced[record.name]), key())
            (arch / f"{record.name}-{replaced[record.name]}.apk").write_bytes(content)
            texts.append(content)
        else:
            (arch / record.file_name).symlink_to(distribution.packages / record.file_name)
            texts.append(text)
    (arch / "APKINDEX.tar.gz").write_bytes(write_index(texts, key(), "changed copy", level=6))
    return folder


def records_of(raw: bytes) -> list[str]:
    """Return the records of an index as they are written."""
    end = unpack_member(raw, 0, limit=1 << 20, where="index")[1]
    content, _ = unpack_member(raw, end, limit=1 << 24, where="index")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        file = archive.extractfile("APKINDEX")
        assert file is not None
        return [f"{record}\n" for record in file.read().decode().strip().split("\n\n")]


def other(record: IndexRecord, version: str) -> Recipe:
    """Return a package that fits where `record` does."""
    return Recipe(
        name=record.name,
        version=version,
        description=record.description,
        license=record.license,
        origin=record.origin,
        epoch=record.build_time,
        depends=record.depends,
        provides=tuple(each.replace(record.version, version) for each in record.provides),
        install_if=tuple(each.replace(record.version, version) for each in record.install_if),
        entries=(Entry(f"etc/{record.name}.replaced", 0o644, "file", b"another one\n"),),
    )


@as_root
def test_three_replaced_packages_are_the_only_difference(
    project: Project, distribution: Distribution, tmp_path: Path
) -> None:
    project.configure(distribution.repository)
    assert project.ci("pin", "--engine", "unshare").status == 0
    before = project.lock
    old = tmp_path / "old.lock"
    write_lock(old, before)
    versions = {package.name: package.version for package in before.packages}
    same = "alpine-baselayout-data"
    replaced = {"alpine-keys": "99-r0", "busybox-openrc": "0.1-r0", same: versions[same]}
    project.configure(changed_copy(distribution, tmp_path / "copy", replaced))
    pinned = project.ci("pin", "--engine", "unshare")
    after = project.lock

    sizes = {package.name: package.size for package in before.packages}
    new_sizes = {package.name: package.size for package in after.packages}
    origins = {package.name: package.origin for package in after.packages}
    expected = [
        {
            "kind": KINDS[name],
            "name": name,
            "old": versions[name],
            "new": replaced[name],
            "old_size": sizes[name],
            "new_size": new_sizes[name],
            "size_change": new_sizes[name] - sizes[name],
            "origin": origins[name],
        }
        for name in sorted(replaced)
    ]

    result = project.ci("diff", old, project.folder / "release.lock", "--json")
    assert result.status == 0
    closures = result.data["closures"]
    assert closures["droplet"]["changes"] == expected
    assert closures["droplet"]["totals"] == {"downgraded": 1, "replaced": 1, "upgraded": 1}
    change = sum(new_sizes[name] - sizes[name] for name in replaced)
    assert closures["droplet"]["size"]["change"] == change
    assert [closures[name]["changes"] for name in ("apk", "builder")] == [[], []]

    table = project.ci("diff", old, project.folder / "release.lock").out
    found = [line.split() for line in table.splitlines() if line.split()[1:2] != []]
    shown = [words[1:5] for words in found if words[1] in KINDS.values()]
    assert shown == [[each[key] for key in ("kind", "name", "old", "new")] for each in expected]
    totals = "1 upgraded, 1 downgraded, 1 replaced"
    assert [line.split()[0] for line in table.splitlines() if totals in line] == ["droplet"]
    assert table.splitlines()[0] in pinned.out

    text = project.ci("diff", old, project.folder / "release.lock", "--markdown").out
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert [row[:4] for row in cells if row[0] in KINDS.values()] == shown
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        f"### droplet: {totals} ({signed_size(change)})"
    ]


def test_a_lock_is_found_as_file_archive_tag_and_url(project: Project) -> None:
    project.configure("https://mirror.example/v3.19/main")
    path = project.folder / "release.lock"
    write_lock(path, lock_of(locked("musl", 1)))
    project.release("v3.19.1")
    write_lock(path, lock_of(locked("busybox", 2), locked("musl", 1)))
    with serving(answer(200, path.read_bytes())) as url:
        for new in (path, project.folder, f"{url}/releases/tag/v3.19.2", f"{url}/release.lock"):
            result = project.ci("diff", "v3.19.1", new, "--json", "--exit-code")
            assert result.status == 3, result.err
            (change,) = result.data["closures"]["droplet"]["changes"]
            assert (change["kind"], change["name"]) == ("added", "busybox")
    assert project.ci("diff", "v3.19.1", "HEAD", "--exit-code").status == 0


@pytest.mark.parametrize("where", ["v9.99", "--help=x", "../none", "HEAD:release.lock", "a b"])
def test_a_name_that_is_no_lock_is_wrong_usage(project: Project, where: str) -> None:
    project.configure("https://mirror.example/v3.19/main")
    write_lock(project.folder / "release.lock", lock_of(locked("musl", 1)))
    project.release("v3.19.1")
    result = (
        project.ci("diff", "v3.19.1", "--", where)
        if "-" in where[:1]
        else project.ci("diff", "v3.19.1", where)
    )
    assert result.status == 2
    assert "Traceback" not in result.err


def test_another_order_is_a_difference_and_another_index_is_not() -> None:
    old = lock_of(locked("busybox", 2), locked("musl", 1))
    turned = lock_of(locked("busybox", 1), locked("musl", 2))
    moved = replace(old, repositories=(replace(old.repositories[0], index_sha256="e" * 64),))
    assert compare_locks(old, turned, names=("a", "b")).different
    difference = compare_locks(old, moved, names=("a", "b"))
    assert (difference.different, rows(difference)) == (False, [])
    assert "index of https://mirror" in format_markdown(difference)


def test_a_long_list_is_folded_and_unsafe_text_is_escaped() -> None:
    many = _lock(replace(locked(f"p{n}", n), origin="<b>|\x1b[2J\n") for n in range(1, 30))
    text = format_markdown(compare_locks(lock_of(locked("p1", 1)), many, names=("old", "new")))
    assert "<details><summary>droplet: 28 added, 1 changed" not in text
    assert "<details><summary>droplet: 28 added (+42.5 kB)</summary>" in text
    assert "\x1b" not in text
    assert r"| added | p2 | - | 1.0-r0 | +1.5 kB | \<b\>\|\\x1b\[2J\\n |" in text


def _lock(packages: Iterable[object]) -> Lock:
    return lock_of(*packages)  # type: ignore[arg-type]
