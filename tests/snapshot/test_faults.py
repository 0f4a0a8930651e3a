"""A mirror that fails temporarily is retried; wrong bytes fail the pin and are not kept."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from build.apk.index import INDEX
from build.edges.download import Limits, VanishedError
from build.errors import (
    OutOfStepError,
    RemoteError,
    SnapshotError,
    SnowdropError,
    VerificationError,
)
from build.snapshot.fetch import Fetcher
from build.snapshot.lock import dump_lock
from build.snapshot.store import Store
from tests.snapshot.served import (
    ARCH,
    BASIC,
    TAIL,
    Mirror,
    Notes,
    Reply,
    answer,
    made,
    mirror_of,
    pin_world,
    publish,
    reset_halfway,
    slowly,
    stall,
    whole,
    with_bytes,
    world,
)

PATIENCE = Limits(connect=1.0, silence=0.4, headers=1.0)
HELLO = "hello-1.0-r0.apk"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    publish(tmp_path / "served", *(make() for make in BASIC))
    with mirror_of(tmp_path / "served") as served:
        yield served


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


PASSING: dict[str, list[Reply]] = {
    "500 twice, then good": [answer(500), answer(500)],
    "429 with Retry-After": [answer(429, headers={"Retry-After": "7"})],
    "reset half-way": [reset_halfway],
    "reset half-way twice": [reset_halfway, reset_halfway],
    "stall": [stall],
    "slow": [slowly],
    "shorter than announced": [with_bytes(lambda content: content[:-9], length=lambda n: n + 9)],
    "more behind it than announced": [with_bytes(lambda c: c + c, length=lambda n: n // 2)],
    "redirect": [answer(302, headers={"Location": f"/{TAIL}/{ARCH}/musl-1.0-r0.apk?again"}), whole],
}


@pytest.mark.parametrize("name", [pytest.param(INDEX, marks=pytest.mark.full), HELLO])
@pytest.mark.parametrize("fault", PASSING.keys())
def test_a_temporary_failure_of_a_mirror_gives_the_same_lock(
    fault: str, name: str, mirror: Mirror, tmp_path: Path
) -> None:
    config = world(tmp_path, f"{mirror.url}/{TAIL}")
    good = pin_world(config)
    other = world(tmp_path / "again", f"{mirror.url}/{TAIL}")
    if fault == "redirect":
        mirror.fault(name, answer(302, headers={"Location": f"/{TAIL}/{ARCH}/./{name}"}))
    else:
        mirror.fault(name, *PASSING[fault])
    slept: list[float] = []
    lock = pin_world(other, fetcher=Fetcher(slept.append, PATIENCE))
    assert dump_lock(lock) == dump_lock(good)
    assert mirror.faults == []
    # A busy machine can be slower than the slow mirror: it may ask again.
    if fault != "slow":
        assert (slept == []) == (fault in ("redirect", "more behind it than announced"))


FINAL: dict[str, tuple[str, list[Reply], type[SnowdropError], str]] = {
    "index: 404": (INDEX, [answer(404)], VanishedError, f"{INDEX}: status 404"),
    "index: 500 for ever": (INDEX, [answer(500)] * 3, RemoteError, f"{INDEX}: status 500.*3 times"),
    "index: wrong bytes": (INDEX, [with_bytes(flipped)] * 2, VerificationError, f"{INDEX}: "),
    "index: empty": (INDEX, [with_bytes(lambda _: b"")] * 2, VerificationError, f"{INDEX}: "),
    "index: a page": (INDEX, [with_bytes(lambda _: b"<html>log in")] * 2, VerificationError, INDEX),
    "package: 403": (HELLO, [answer(403)], RemoteError, f"{HELLO}: status 403"),
    "package: 502 for ever": (HELLO, [answer(502)] * 3, RemoteError, f"{HELLO}: status 502"),
    "package: stalls for ever": (HELLO, [stall] * 3, RemoteError, f"{HELLO}: .*3 times"),
    "package: wrong bytes": (HELLO, [with_bytes(flipped)], VerificationError, f"{HELLO}: "),
    "package: short": (
        HELLO,
        [with_bytes(lambda c: c[:-1])] * 9,
        SnapshotError,
        f"{HELLO}: ended after .*\n.*fetched 3 times",
    ),
    "package: long": (
        HELLO,
        [with_bytes(lambda c: c + b"x")] * 3,
        SnapshotError,
        f"{HELLO}: longer than .*\n.*fetched 3 times",
    ),
    "package: a page": (HELLO, [with_bytes(lambda _: b"<html>")] * 9, SnapshotError, HELLO),
    "package: redirect to a file": (
        HELLO,
        [answer(302, headers={"Location": "file:///etc/passwd"})],
        RemoteError,
        f"{HELLO}: redirected to file:",
    ),
    "package: redirect for ever": (
        HELLO,
        [answer(302, headers={"Location": HELLO})] * 6,
        RemoteError,
        f"{HELLO}: more than 5 redirects",
    ),
}


@pytest.mark.parametrize("fault", FINAL.keys())
def test_a_wrong_mirror_is_reported_with_file_and_cause_and_nothing_is_kept(
    fault: str, mirror: Mirror, tmp_path: Path
) -> None:
    name, replies, kind, message = FINAL[fault]
    config = world(tmp_path, f"{mirror.url}/{TAIL}")
    mirror.fault(name, *replies)
    with pytest.raises(kind, match=message) as failure:
        pin_world(config, fetcher=Fetcher(lambda _: None, PATIENCE))
    assert "Traceback" not in str(failure.value)
    kept = [path for path in config.store.rglob("*") if path.is_file()]
    # What was verified before is kept; what was refused is not.
    assert all(path.read_bytes() in {make() for make in BASIC} for path in kept)
    assert list(config.work.iterdir()) == []
    assert pin_world(config).closures == ("apk", "builder", "droplet")


def test_an_interrupted_download_is_resumed(mirror: Mirror) -> None:
    served = f"{mirror.url}/{TAIL}/{ARCH}"
    content = (mirror.folder / TAIL / ARCH / HELLO).read_bytes()
    mirror.fault(HELLO, reset_halfway)
    seen: list[int] = []
    fetcher = Fetcher(lambda _: None)
    assert fetcher.fetch(served, HELLO, limit=len(content), watch=seen.append) == content
    assert sum(seen) == len(content)
    ranges = [headers.get("Range") for _, headers in mirror.asked]
    assert ranges == [None, f"bytes={len(content) // 2}-"]


def changed(path: Path) -> None:
    path.write_bytes(b"another")


def test_a_file_that_changed_meanwhile_is_fetched_again(mirror: Mirror) -> None:
    path = mirror.folder / TAIL / ARCH / "file"
    path.write_bytes(bytes(1000))
    mirror.fault("file", reset_halfway)
    mirror.after = lambda _: changed(path)
    served = f"{mirror.url}/{TAIL}/{ARCH}"
    assert Fetcher(lambda _: None).fetch(served, "file", limit=1 << 20) == b"another"


def test_a_very_slow_response_counts_as_stalled(mirror: Mirror) -> None:
    mirror.fault(HELLO, slowly, slowly, slowly)
    fetcher = Fetcher(lambda _: None, Limits(silence=0.05, least=1 << 20))
    with pytest.raises(RemoteError, match=r"[0-9]+ bytes in 0\.05 s, 3 times"):
        fetcher.fetch(f"{mirror.url}/{TAIL}/{ARCH}", HELLO, limit=1 << 20)


def test_an_unchanged_index_is_requested_conditionally_and_not_sent_again(
    mirror: Mirror, tmp_path: Path
) -> None:
    config = world(tmp_path, f"{mirror.url}/{TAIL}")
    lock = pin_world(config)
    mirror.asked.clear()
    assert pin_world(config, previous=lock).id == lock.id
    ((path, headers),) = mirror.asked
    assert path.endswith(INDEX)
    assert {"If-None-Match", "If-Modified-Since"} <= set(headers)

    publish(mirror.folder, *(make() for make in BASIC), made("new"))
    assert pin_world(config, previous=lock).id != lock.id
    Store(config.store).path(lock.repositories[0].index_sha256).unlink()
    assert pin_world(config).id != lock.id


def test_four_connections_are_reused(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(12)]
    packages = [*(make() for make in BASIC), *(made(name) for name in names)]
    publish(tmp_path / "served", *packages)
    together, most = threading.Semaphore(0), []
    with mirror_of(tmp_path / "served") as mirror:

        def count(handler: object, content: bytes) -> None:
            together.release()
            most.append(together._value)
            slowly(handler, content)  # type: ignore[arg-type]
            together.acquire()

        for name in names:
            mirror.fault(f"{name}-1.0-r0.apk", count)
        pin_world(world(tmp_path, f"{mirror.url}/{TAIL}", packages=["hello", *names]))
    assert 2 <= max(most) <= 4


def moved(mirror: Mirror, change: Callable[[], object], after: str) -> None:
    """Call `change` once the response for a path that ends in `after` was sent."""

    def once(path: str) -> None:
        if path.endswith(after):
            mirror.after = lambda _: None
            change()

    mirror.after = once


def test_an_index_that_changes_between_two_packages_is_read_again(
    mirror: Mirror, tmp_path: Path
) -> None:
    served = mirror.folder / TAIL / ARCH

    def update() -> None:
        (served / HELLO).unlink()
        new = [make() for make in BASIC[:2]]
        publish(mirror.folder, *new, made("hello", "1.1-r0", depends=("musl",)))

    moved(mirror, update, "musl-1.0-r0.apk")
    slept: list[float] = []
    notes = Notes()
    config = world(tmp_path, f"{mirror.url}/{TAIL}", packages=["hello"])
    lock = pin_world(config, slept=slept, notes=notes)
    assert [p.version for p in lock.closure("droplet") if p.name == "hello"] == ["1.1-r0"]
    assert len(slept) == 1
    assert f"{HELLO}: status 404" in notes.lines[0]


def test_a_package_replaced_while_it_is_pinned_is_read_again_with_its_new_index(
    mirror: Mirror, tmp_path: Path
) -> None:
    def update() -> None:
        new = [make() for make in BASIC[:2]]
        publish(mirror.folder, *new, made("hello", depends=("musl",), text=b"y"))

    moved(mirror, update, "musl-1.0-r0.apk")
    slept: list[float] = []
    pin_world(world(tmp_path, f"{mirror.url}/{TAIL}"), slept=slept)
    assert len(slept) == 1


def test_repositories_out_of_step_are_read_three_times_and_then_reported(tmp_path: Path) -> None:
    served = tmp_path / "served"
    publish(served, *(make() for make in BASIC))
    publish(served, made("tool", depends=("libnew",)), tail="v3.24/community", description="late")
    with mirror_of(served) as mirror:
        urls = [f"{mirror.url}/{TAIL}", f"{mirror.url}/v3.24/community"]
        config = world(tmp_path, *urls, packages=["hello", "tool"])
        slept: list[float] = []
        with pytest.raises(OutOfStepError, match="out of step; fetched 3 times") as failure:
            pin_world(config, slept=slept)
        assert "libnew: no repository has it, tool-1.0-r0 needs it" in str(failure.value)
        assert "community: late, newest package of 2023-11-14 22:13 UTC" in str(failure.value)
        assert slept == [10.0, 30.0]

        # In the second try main has caught up.
        slept.clear()
        index = f"community/{ARCH}/{INDEX}"
        basics = [make() for make in BASIC]
        moved(mirror, lambda: publish(served, *basics, made("libnew")), index)
        lock = pin_world(config, slept=slept)
        assert "libnew" in [package.name for package in lock.closure("droplet")]
        assert slept == [10.0]


def test_a_missing_package_of_release_toml_is_reported_at_once(
    mirror: Mirror, tmp_path: Path
) -> None:
    slept: list[float] = []
    config = world(tmp_path, f"{mirror.url}/{TAIL}", packages=["helo"])
    with pytest.raises(SnapshotError, match=r"helo: no repository has it, release\.toml asks"):
        pin_world(config, slept=slept)
    assert slept == []
