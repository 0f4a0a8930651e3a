"""The second half of the table of damages: what a maintainer keeps. Keys, lock and store."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from build.apk.rsa import derive_numbers, public_pem
from build.errors import ConfigError, SnowdropError, VerificationError
from build.snapshot.lock import Lock, dump_lock, read_lock
from build.snapshot.store import Store
from tests.apk.makers import key, package
from tests.snapshot import damage
from tests.snapshot.conftest import lock_of, locked
from tests.snapshot.damage import STRANGER, flipped, hello
from tests.snapshot.served import ARCH, TAIL, pin_world, publish, world


def _key(folder: Path, content: bytes) -> None:
    (folder / key().name).write_bytes(content)


def _only_for_another_architecture(folder: Path) -> None:
    (folder / ARCH).mkdir()
    (folder / ARCH / STRANGER).write_bytes(key(STRANGER).public_pem())


KEYS: dict[str, tuple[Callable[[Path], object], type[SnowdropError], str]] = {
    "no folder": (shutil.rmtree, ConfigError, "keys: no such folder"),
    "no key": (lambda f: (f / key().name).unlink(), ConfigError, "keys: no .* file"),
    "no PEM": (lambda f: _key(f, b"key"), ConfigError, "not a public RSA key of 2048 bits"),
    "short key": (
        lambda f: _key(f, public_pem(derive_numbers(b"short", 1024))),
        ConfigError,
        "not a public RSA key of 2048 bits or more",
    ),
    "cut short": (
        lambda f: _key(f, key().public_pem()[:200]),
        ConfigError,
        "not a public RSA key of 2048 bits or more",
    ),
    "another key under that name": (
        lambda f: _key(f, key(STRANGER).public_pem()),
        VerificationError,
        f"not what {key().name} signed",
    ),
    "another name for that key": (
        lambda f: (f / key().name).rename(f / "other.rsa.pub"),
        VerificationError,
        f"signed by {key().name}, which is not in",
    ),
    "not for this architecture": (
        _only_for_another_architecture,
        VerificationError,
        f"signed by {key().name}, which is not in .*/{ARCH}",
    ),
}


@pytest.mark.parametrize("row", KEYS.values(), ids=KEYS.keys())
def test_keys_that_are_damaged_or_not_the_right_ones_are_refused(
    row: tuple[Callable[[Path], object], type[SnowdropError], str], tmp_path: Path
) -> None:
    harm, kind, message = row
    publish(tmp_path / "served", *damage.others(), hello())
    config = world(tmp_path, str(tmp_path / "served" / TAIL))
    harm(config.source.keys)
    with pytest.raises(kind, match=message):
        pin_world(config)
    assert not config.store.exists()


def a_lock() -> Lock:
    return lock_of(locked("busybox", 2), locked("musl", 1))


def _swap(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return change


LOCKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "format = nothing: expected 1"),
    "cut in a line": (lambda content: content[:-20], r"at line \d+|end of document"),
    "cut between packages": (
        lambda content: content[: content.rindex(b"\n[[package]]")],
        "order.apk = .*: expected each position|line",
    ),
    "format of a later version": (
        _swap("format = 1", "format = 2"),
        "format = 2: expected 1, the format with one index",
    ),
    "packages of format 3": (_swap('"v2"', '"v3"'), 'package_format = "v3": expected'),
    "not UTF-8": (lambda content: content + b"\xff", "utf-8"),
    "number of 5,000 digits": (_swap("epoch = ", "epoch = " + "9" * 5000), "Exceeds the limit"),
    "lists a thousand deep": (lambda content: b"a = " + b"[" * 9999, "recursion|at line"),
    "not TOML": (lambda content: content + b"=\n", r"at line \d+"),
    "key twice": (_swap("epoch =", "epoch = 1\nepoch ="), r"at line \d+"),
    "unknown key": (_swap("epoch =", "extra = 1\nepoch ="), "extra: unknown key, expected one of"),
    "comment changed": (_swap("# The", "# My"), "line 1: not as `nox -s pin` writes it"),
    "blank line more": (_swap("\n[[package]]", "\n\n[[package]]"), "line [0-9]+: not as"),
    "line ends of Windows": (
        lambda content: content.replace(b"\n", b"\r\n"),
        "not as `nox -s pin` writes it|line",
    ),
    "short digest": (
        _swap('sha256 = "a', 'sha256 = "'),
        "sha256 = .*: expected 64 lower-case hexa",
    ),
    "digest in capitals": (_swap("a" * 64, "A" * 64), "sha256 = .*: expected 64 lower-case hexa"),
    "version changed by hand": (_swap('version = "1.0-r0"', 'version = "2.0-r0"'), "file = "),
    "file with a path": (_swap('"busybox-1.0-r0.apk"', '"../x.apk"'), r'file = "\.\./x\.apk"'),
    "name with a path": (_swap('name = "busybox"', 'name = "../x"'), r'name = "\.\./x"'),
    "size below nothing": (_swap("size = 1518", "size = -1"), "size = -1: expected a whole number"),
    "size that is true": (_swap("size = 1518", "size = true"), "size = true: expected a whole"),
    "size that is a text": (_swap("size = 1518", 'size = "1518"'), 'size = "1518": expected a'),
    "checksum of another kind": (_swap('"Q1', '"Q2'), 'checksum = "Q2.*: expected Q1'),
    "repository that is not there": (
        _swap("repository = 0", "repository = 7"),
        "repository = 7: expected a whole number from 0 to 0",
    ),
    "place missing": (_swap("apk = 2", "apk = 3"), r"order.apk = \[1, 3\]: expected each position"),
    "place twice": (_swap("apk = 2", "apk = 1"), r"order.apk = \[1, 1\]: expected each position"),
    "no place at all": (_swap("{ apk = 2, droplet = 2 }", "{}"), "order = .*: expected a table of"),
    "mirrors not a list": (
        _swap('mirrors = ["https://other.example/alpine"]', 'mirrors = "x"'),
        'mirrors = "x": expected a list of strings',
    ),
    "repository of nobody": (
        _swap('place = "image"', 'place = "mine"'),
        'place = "mine": expected',
    ),
}


@pytest.mark.parametrize(("change", "message"), LOCKS.values(), ids=LOCKS.keys())
def test_a_damaged_lock_is_refused_with_its_name_and_the_value_or_line(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "release.lock"
    path.write_bytes(dump_lock(a_lock()))
    assert read_lock(path) == a_lock()
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ConfigError, match=message) as failure:
        read_lock(path)
    assert str(failure.value).startswith(f"{path}: ")
    assert "\n" not in str(failure.value)
    assert "nox -s pin" in failure.value.hint


def _rewritten(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


BLOBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit flipped": (lambda p: _rewritten(p, flipped(p.read_bytes(), 99)), "sha256 .*, expected"),
    "cut short": (lambda p: _rewritten(p, p.read_bytes()[:-1]), "sha256 .*, expected"),
    "empty": (lambda p: _rewritten(p, b""), "sha256 .*, expected"),
    "another blob": (lambda p: _rewritten(p, package("other")), "sha256 .*, expected"),
    "gone": (Path.unlink, "no blob"),
}


@pytest.mark.parametrize(("harm", "message"), BLOBS.values(), ids=BLOBS.keys())
def test_a_damaged_blob_is_never_read_or_linked_and_a_pin_fetches_it_again(
    harm: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    publish(tmp_path / "served", *damage.others(), hello())
    config = world(tmp_path, str(tmp_path / "served" / TAIL))
    lock, store = pin_world(config), Store(config.store)
    (sha256,) = [each.sha256 for each in lock.packages if each.name == "hello"]
    harm(store.path(sha256))
    for use in (lambda: store.read(sha256), lambda: store.link(sha256, tmp_path / "target")):
        with pytest.raises(SnowdropError, match=message) as failure:
            use()
        assert sha256 in str(failure.value)
    assert not (tmp_path / "target").exists()
    assert pin_world(config, previous=lock).id == lock.id
    assert store.read(sha256) == hello()
