"""Damaged files of the maintainer: keys, lock and store."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from build.apk.rsa import derive_private_key, public_pem
from build.errors import ConfigError, SnowdropError, VerificationError
from build.snapshot.lock import Lock, dump_lock
from build.snapshot.lock_reader import read_lock
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
        lambda f: _key(f, public_pem(derive_private_key(b"short", 1024))),
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
def test_damaged_and_wrong_keys_are_refused(
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


def _swap_bytes(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new, 1)


def _swap(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return change


def _repository_table(content: bytes) -> bytes:
    return content[content.index(b"\n[[repository]]") : content.index(b"\n[[package]]")]


LOCKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "release.lock is empty at line 1$"),
    "cut in a line": (
        lambda content: content[:-20],
        r"release.lock is cut off, or something was added to it, at line 49$",
    ),
    "cut between packages": (
        lambda content: content[: content.rindex(b"\n[[package]]")],
        "order.apk = .*: expected each position",
    ),
    "cut between lines": (
        lambda content: content[: content.rindex(b"origin = ")],
        "is cut off, or something was added to it, at line 44$",
    ),
    "cut before the packages": (
        lambda content: content[: content.index(b"\n[[package]]")],
        "is cut off, or something was added to it, at line 19$",
    ),
    "cut in the header": (
        lambda content: content[: content.index(b"epoch = ")],
        "is cut off, or something was added to it, at line 6$",
    ),
    "the comment alone": (
        lambda content: content[: content.index(b"format = ")],
        "is cut off, or something was added to it, at line 1$",
    ),
    "zeros at the end": (lambda content: content[:900] + b"\0" * 512, "has NUL bytes at line 3"),
    "zeros alone": (lambda content: b"\0" * len(content), "has NUL bytes at line 1$"),
    "byte order mark": (
        lambda content: b"\xef\xbb\xbf" + content,
        "has a byte order mark at line 1$",
    ),
    "UTF-16": (
        lambda content: content.decode().encode("utf-16"),
        "has a byte order mark at line 1$",
    ),
    "merge conflict": (
        _swap(
            'version = "1.0-r0"',
            '<<<<<<< HEAD\nversion = "1.0-r0"\n=======\nversion = "1.1-r0"\n>>>>>>> update',
        ),
        "release.lock has merge conflict markers at line 23$",
    ),
    "merge conflict whose first marker was removed": (
        _swap('version = "1.0-r0"', 'version = "1.0-r0"\n=======\n>>>>>>> update'),
        "has merge conflict markers at line 24$",
    ),
    "merge conflict in a checkout of Windows": (
        lambda content: b"<<<<<<< HEAD\n" + content.replace(b"\n", b"\r\n"),
        "has merge conflict markers at line 1$",
    ),
    "package twice": (
        lambda content: content + content[content.rindex(b"\n[[package]]") :],
        "musl-1.0-r0.apk is there twice",
    ),
    "both sides of a merge kept": (
        lambda content: (
            content
            + content[content.rindex(b"\n[[package]]") :].replace(b"size = 1518", b"size = 1600")
        ),
        "musl-1.0-r0.apk is there twice",
    ),
    "repository twice": (
        lambda content: content.replace(_repository_table(content), _repository_table(content) * 2),
        "a repository is there twice",
    ),
    "sha256 of another package": (
        _swap("a" * 64, sha256(b"musl").hexdigest()),
        "busybox-1.0-r0.apk and musl-1.0-r0.apk have one sha256: expected two",
    ),
    "time after the year 9999": (
        _swap("build_time = ", "build_time = 99999"),
        "build_time = 999991706291505: expected a whole number from 0 to 253402300799",
    ),
    "password in a URL": (
        _swap("https://mirror.", "https://me:hunter2@mirror."),
        r"repository\[0\]: a user name, password or token in a URL$",
    ),
    "token in a mirror": (
        _swap('"https://other.', '"https://hunter2@other.'),
        r"repository\[0\]: a user name, password or token in a URL$",
    ),
    "format of a later version": (
        _swap("format = 1", "format = 2"),
        "format = 2: expected 1, the format with one index",
    ),
    "packages of format 3": (_swap('"v2"', '"v3"'), 'package_format = "v3": expected'),
    "not UTF-8": (_swap_bytes(b"v3.24.1", b"v\xff"), "utf-8"),
    "number of 5,000 digits": (_swap("epoch = ", "epoch = " + "9" * 5000), "Exceeds the limit"),
    "lists a thousand deep": (
        lambda content: b"a = " + b"[" * 9999 + b"\n" + content,
        "recursion|at line",
    ),
    "not TOML": (lambda content: b"=\n" + content, r"at line \d+"),
    "key twice": (_swap("epoch =", "epoch = 1\nepoch ="), r"at line \d+"),
    "unknown key": (_swap("epoch =", "extra = 1\nepoch ="), "extra: unknown key, expected one of"),
    "comment changed": (_swap("# The", "# My"), "line 1: not as `nox -s pin` writes it"),
    "blank line more": (_swap("\n[[package]]", "\n\n[[package]]"), "line [0-9]+: not as"),
    "line ends of Windows": (
        lambda content: content.replace(b"\n", b"\r\n"),
        "release.lock has CRLF line ends at line 1$",
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
    assert str(failure.value).startswith(str(path))
    assert "\n" not in str(failure.value)
    assert "hunter2" not in str(failure.value)
    assert "nox -s pin -- --replace" in failure.value.hint


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
