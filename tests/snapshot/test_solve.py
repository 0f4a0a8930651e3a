"""The bootstrap of the snapshot's apk, and the strict reading of its output."""

import pytest

from build.apk.index import Index, read_index
from build.apk.writing import Recipe, write_index, write_package
from build.errors import SnapshotError
from build.snapshot.solve import bootstrap, parse_simulation
from tests.apk.makers import key, trusted


def index(*packages: tuple[str, str, tuple[str, ...], tuple[str, ...]]) -> Index:
    """Return an index of packages: name, version, depends, provides."""
    files = [
        write_package(
            Recipe(
                name=name,
                version=version,
                description="",
                epoch=0,
                depends=depends,
                provides=provides,
            ),
            key(),
        )
        for name, version, depends, provides in packages
    ]
    return read_index(write_index(files, key(), ""), trusted(), where="index")


def test_the_static_apk_is_preferred_and_dependencies_come_first() -> None:
    image = index(
        ("apk-tools", "3.0.6-r0", ("so:libc.so.1",), ()),
        ("apk-tools-static", "3.0.6-r0", ("python3>=3.12", "!uclibc"), ()),
        ("python3", "3.9-r0", (), ()),
        ("python3", "3.13-r0", ("so:libc.so.1", "apk-tools-static"), ()),
        ("libc", "2-r0", (), ("so:libc.so.1=1",)),
        ("oldlibc", "1-r0", (), ("so:libc.so.1=0.9",)),
    )
    chosen = [offer.record.file_name for offer in bootstrap([image])]
    assert chosen == ["libc-2-r0.apk", "python3-3.13-r0.apk", "apk-tools-static-3.0.6-r0.apk"]
    other = index(("apk-tools", "2.14-r0", (), ()))
    assert [offer.record.name for offer in bootstrap([other])] == ["apk-tools"]


def test_repositories_without_apk_or_its_dependencies_are_reported() -> None:
    with pytest.raises(SnapshotError, match="no repository has apk-tools-static or apk-tools"):
        bootstrap([index(("musl", "1-r0", (), ()))])
    with pytest.raises(SnapshotError, match="so:libz: no repository has it, apk-tools needs it"):
        bootstrap([index(("apk-tools", "1-r0", ("so:libz",), ()))])


def test_incomplete_output_is_refused() -> None:
    # apk 3 pads the position with spaces.
    lines = [
        f"({position:2}/10) Installing p{position} (1.{position}-r0)" for position in range(1, 11)
    ]
    assert len(parse_simulation("\n".join(["fetch ...", *lines, "OK: 0 MiB in 0 packages"]))) == 10
    for broken in ("\n".join(lines[:-1]), "\n".join(lines[1:]), "OK: 0 MiB in 0 packages", ""):
        with pytest.raises(SnapshotError, match="output that cannot be read"):
            parse_simulation(broken)
