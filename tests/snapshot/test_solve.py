"""The snapshot's own apk chooses; its answer is read whole or not at all."""

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


def test_the_static_apk_is_taken_with_all_it_needs_first() -> None:
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


def test_repositories_without_apk_or_without_what_it_needs_are_told() -> None:
    with pytest.raises(SnapshotError, match="no repository has apk-tools-static or apk-tools"):
        bootstrap([index(("musl", "1-r0", (), ()))])
    with pytest.raises(SnapshotError, match="so:libz: no repository has it, apk-tools needs it"):
        bootstrap([index(("apk-tools", "1-r0", ("so:libz",), ()))])


def test_an_answer_is_read_whole_or_not_at_all() -> None:
    # apk 3 pads the place with spaces.
    lines = [f"({place:2}/10) Installing p{place} (1.{place}-r0)" for place in range(1, 11)]
    assert len(parse_simulation("\n".join(["fetch ...", *lines, "OK: 0 MiB in 0 packages"]))) == 10
    for broken in ("\n".join(lines[:-1]), "\n".join(lines[1:]), "OK: 0 MiB in 0 packages", ""):
        with pytest.raises(SnapshotError, match="output that cannot be read"):
            parse_simulation(broken)
