"""A proof shows what really was different, keeps what came out otherwise, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build.config import Origin
from build.errors import BuildError, NotReproducibleError
from build.image import Image
from ci.commands import build as build_command
from ci.config import read_config
from ci.release.build_job import Order
from ci.release.checkout import ROOT
from ci.report.console import open_console
from ci.reproduce import prove as walk
from ci.reproduce import vm as virtual
from ci.reproduce import workspace as place
from ci.reproduce.environment_report import ANOTHER_DAY, THINGS, Built, compare_sights, look_here
from ci.reproduce.workspace import ODD, ORDER, other_place
from tests.release.conftest import Desk
from tests.snapshot.kept import URL, keep, spoil

ORIGIN = Origin(name="snowdrop", version="v3.24.20261123", commit="c" * 40, dirty=False)
STEM = "snowdrop-droplet-v3.24.20261123-x86_64"
SEEN = {
    "cores": 2,
    "day": "2026-11-23",
    "kernel": "6.1",
    "processor": "x",
    "umask": "022",
    "host name": "snowdrop",
}


def image(folder: Path, content: bytes, listing: bytes, seen: Mapping[str, Any]) -> Image:
    """Return an image whose digests are those of its tree in words."""
    path = folder / f"{STEM}.qcow2"
    path.write_bytes(content)
    what = {"sha256": content.hex()}
    record: Mapping[str, Any] = {
        "tree": what,
        "raw": what,
        "image": what,
        "engine": {"name": "podman", "version": "4.3.1", "refused": []},
    }
    return Image(path, folder / f"{STEM}.build.json", record, listing, seen)


@pytest.fixture
def order(desk: Desk) -> Order:
    """An order for the one image of a small snapshot."""
    desk.configure(URL)
    config = read_config(desk.folder / "release.toml")
    config.build.work.mkdir()
    return Order(
        config=config,
        lock=keep(desk.store, "hello"),
        store=desk.store,
        engine=None,
        origin=ORIGIN,
    )


def first_image(order: Order) -> Image:
    folder = order.config.build.work.with_name("first")
    folder.mkdir()
    return image(folder, b"one", b"etc\tdir\t0755\n", SEEN)


def prove(order: Order) -> walk.Proof:
    return walk.prove(
        order, "droplet", first_image(order), open_console({}, as_json=True), another_day=False
    )


# What was different.


def test_the_table_tells_only_what_was_seen(tmp_path: Path) -> None:
    here = look_here(tmp_path)
    builds = [
        Built("plain", image(tmp_path, b"", b"", SEEN), here),
        Built(
            "varied",
            image(tmp_path, b"", b"", SEEN | {"cores": 1}),
            {**here, "umask": "077"},
            {"host name": "Operation not permitted"},
        ),
    ]
    rows = {row.thing: row for row in compare_sights(builds)}
    assert list(rows) == [thing for thing, _ in THINGS]
    assert {thing for thing, row in rows.items() if row.varied} == {"cores", "umask of the user"}
    assert (rows["cores"].values, rows["cores"].why_not) == (("2", "1"), "")
    assert rows["host name"].why_not == "Operation not permitted"
    assert rows["day"].why_not == rows["kernel"].why_not == ANOTHER_DAY
    assert all(row.varied or row.why_not for row in rows.values())


OTHER_PROCESS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ci.reproduce import varied_build as other_process
other_process.replace_zlib()
other_process.vary_process()
from pathlib import Path
from ci.reproduce.environment_report import look_here
import gzip, zlib
content = bytes(range(256)) * 99
assert gzip.decompress(gzip.compress(content)) == zlib.decompress(zlib.compress(content)) == content
json.dump(dict(look_here(Path.cwd())), sys.stdout)
"""


def other_sights(home: Path) -> Mapping[str, str]:
    """Return what the other process sees of itself."""
    environment = {**walk.other_environment(home)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(ROOT)],
        cwd=home,
        env=environment,
        check=True,
        capture_output=True,
    )
    seen: Mapping[str, str] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("ours", [None, "Pacific/Kiritimati"])
def test_the_other_process_has_nothing_in_common_with_ours(
    ours: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ours:
        monkeypatch.setenv("TZ", ours)
    home = tmp_path / "home"
    home.mkdir()
    here, there = look_here(tmp_path), other_sights(home)
    same = {name for name in here if here[name] == there[name]}
    # Root alone may take another host name; the sources are copied by `other_place`.
    given = {"sources", "user", "python"}
    assert same == given | ({"host name"} if os.geteuid() else set())


def test_zlib_ng_takes_the_place_of_zlib(tmp_path: Path) -> None:
    ours, other = look_here(tmp_path)["zlib"], other_sights(tmp_path)["zlib"]
    assert other.startswith("zlib-ng ")
    assert other.rpartition(" ")[2] != ours.rpartition(" ")[2]


def test_the_other_place_is_elsewhere_and_gone_afterwards(tmp_path: Path) -> None:
    disk = tmp_path / "work"
    disk.mkdir()
    with other_place(disk, ROOT) as other:
        assert ODD in str(other.sources)
        copied = other.sources / "build/image.py"
        assert copied.read_bytes() == (ROOT / "build/image.py").read_bytes()
        assert copied.stat().st_mode & 0o777 == 0o600
        assert copied.parent.stat().st_mode & 0o777 == 0o700
        assert not list(other.sources.rglob("__pycache__"))
        folders = (other.sources, other.home, other.work.parent, other.out.parent)
        assert all(folder.is_dir() for folder in folders)
    assert not any(folder.exists() for folder in folders)
    assert list(disk.iterdir()) == []


def test_where_no_memory_serves_as_a_disk_the_order_is_not_said_to_be_varied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "MEMORY", tmp_path / "shm")
    with other_place(tmp_path, ROOT) as other:
        assert other.why_not[ORDER] == f"{tmp_path}/shm is no tmpfs here"
        assert tmp_path in other.work.parents


# What came of it.


def test_the_other_build_is_a_build_and_its_failure_is_ours(order: Order) -> None:
    (kept,) = order.lock.packages
    lock = replace(order.lock, packages=(replace(kept, order={**kept.order, "builder": 1}),))
    spoil(order.store, kept.sha256)
    with pytest.raises(BuildError, match=rf"^the other build: .*{kept.sha256[:12]}.*sha256"):
        prove(replace(order, lock=lock))
    assert list(order.config.build.work.iterdir()) == []


def test_an_image_that_came_out_differently_is_kept_and_the_rule_named(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> Built:
        listing = b"etc\tdir\t0755\nvar/log/messages\tfile\n"
        return Built("varied", image(tmp_path, b"two", listing, SEEN), look_here(tmp_path))

    monkeypatch.setattr(walk, "_build_varied", build)
    proof = prove(order)
    (error,) = proof.differences
    kept = order.config.build.work / walk.KEPT / f"{STEM}.varied.qcow2"
    assert kept.read_bytes() == b"two"
    assert "differ in: tree, raw, image" in str(error)
    assert "/var/log/messages: only in one: " in str(error)
    assert "rule `logs`: " in str(error)
    first = order.config.build.work.with_name("first") / f"{STEM}.qcow2"
    assert error.hint == f"run `nox -s explain -- {first} {kept}`"
    data = json.loads(json.dumps(proof.data()))
    assert (data["passed"], data["differences"]) == (False, [str(error)])
    assert [built["title"] for built in data["builds"]] == ["plain", "varied"]
    names = [row["thing"] for row in (*data["varied"], *data["not_varied"])]
    assert sorted(names) == sorted(thing for thing, _ in THINGS)


def test_the_same_bytes_leave_nothing_behind(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> Built:
        return Built("varied", image(tmp_path, b"one", b"", SEEN), look_here(tmp_path))

    monkeypatch.setattr(walk, "_build_varied", build)
    assert prove(order).data()["passed"] is True
    assert list(order.config.build.work.iterdir()) == []


# What the command says.


@pytest.mark.parametrize("another_day", [False, True])
def test_a_proof_that_fails_is_told_whole_and_ends_with_3(
    desk: Desk,
    order: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    another_day: bool,
) -> None:
    titles = ["varied", "another day"][: 1 + another_day]
    monkeypatch.setattr(build_command, "_lock_and_blobs", lambda *_: order.lock)
    monkeypatch.setattr(build_command, "find_qemu", lambda: "8.2")
    record = {**first_image(order).record, "image": {"size": 1, "sha256": "1"}}
    first = replace(image(tmp_path, b"one", b"", SEEN), record=record)
    monkeypatch.setattr(build_command, "build_variant", lambda *_: first)

    def proved(*_: object, another_day: bool) -> walk.Proof:
        assert another_day is (len(titles) == 2)
        builds = [Built(title, first, look_here(tmp_path)) for title in ["plain", *titles]]
        errors = [
            NotReproducibleError(f"{title} differs", hint=f"run explain {title}")
            for title in titles
        ]
        return walk.Proof(tuple(builds), compare_sights(builds), tuple(errors))

    monkeypatch.setattr(build_command, "prove", proved)
    said = desk.ci("build", "--another-day" if another_day else "--prove")
    assert said.status == 3
    for title in titles:
        assert f"{title} differs\n" in said.err
        assert f"run explain {title}" in said.err
    assert "the same bytes" not in said.out
    assert "not varied" in said.out


def test_another_day_without_qemu_is_refused_before_anything_is_built(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "PATH", "/nonexistent")
    said = desk.ci("build", "--another-day")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("error: qemu-system-x86_64: no such program")
    assert "apt-get install" in said.err
