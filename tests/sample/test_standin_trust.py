"""The sample's apk installs nothing whose chain of signatures and digests is broken."""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from build.apk.package import split_members
from build.apk.streams import gzip_member
from build.apk.writing import SigningKey, write_package
from tests.sample.standin_world import (
    Repositories,
    Tool,
    file,
    folder,
    install_standin,
    make_key,
    needs_root,
    publish,
    recipe,
)

DAMAGED = "a-1-r0: v2 package integrity error"


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return install_standin(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return make_key()


@pytest.fixture
def world(key: SigningKey, tmp_path: Path) -> Repositories:
    entries = [folder("opt"), file("opt/f", "a" * 300)]
    return publish(tmp_path, key, [recipe("a", entries=entries), recipe("b")])


def package_of(world: Repositories, name: str = "a") -> Path:
    return world.folders[0] / "x86_64" / f"{name}-1-r0.apk"


def edit(raw: bytes, member: int, old: bytes, new: bytes) -> bytes:
    """Return the package with something changed in one of its members."""
    members = list(split_members(raw))
    content = zlib.decompress(members[member], 31)
    assert old in content
    members[member] = gzip_member(content.replace(old, new, 1), level=1)
    return b"".join(members)


def resign(raw: bytes, name: str) -> bytes:
    """Return the package with the signature of a stranger, whose key is called `name`."""
    stranger = make_key(b"a stranger", name)
    _, control, data = split_members(raw)
    header = zlib.decompress(split_members(write_package(recipe("b"), stranger))[0], 31)[:512]
    # A 2048 bit signature, padded to one block of tar.
    signature = gzip_member(header + stranger.sign(control).ljust(512, b"\0"), level=1)
    return signature + control + data


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "data": (lambda raw: edit(raw, 2, b"aaaa", b"aaab"), DAMAGED),
    "control": (lambda raw: edit(raw, 1, b"MIT", b"GPL"), DAMAGED),
    "unsigned": (lambda raw: b"".join(split_members(raw)[1:]), "a-1-r0: UNTRUSTED signature"),
    "signer": (lambda raw: resign(raw, "other.rsa.pub"), "a-1-r0: UNTRUSTED signature"),
    "signature": (lambda raw: resign(raw, "tests.rsa.pub"), "a-1-r0: BAD signature"),
    "truncated": (lambda raw: raw[:-20], "a-1-r0: unexpected end of file"),
    "garbage": (lambda _: b"hello", "a-1-r0: file format is invalid or inconsistent"),
}


@needs_root
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_package_is_named_and_not_unpacked(
    name: str, standin: Tool, world: Repositories, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    good.mkdir()
    assert standin.add(good, world, "a", options=["--initdb"]).returncode == 0
    assert (good / "opt/f").read_text() == "a" * 300

    change, message = BROKEN[name]
    package_of(world).write_bytes(change(package_of(world).read_bytes()))
    bad = tmp_path / "bad"
    bad.mkdir()
    finished = standin.add(bad, world, "a", options=["--initdb"])
    assert finished.returncode == 1
    assert finished.stderr == f"ERROR: {message}\n"
    assert "1 error; 0 B in 0 packages" in finished.stdout
    assert not (bad / "opt").exists()


@needs_root
def test_another_package_under_the_same_name_is_refused(
    standin: Tool, world: Repositories, tmp_path: Path
) -> None:
    package_of(world).write_bytes(package_of(world, "b").read_bytes())
    root = tmp_path / "root"
    root.mkdir()
    finished = standin.add(root, world, "a", options=["--initdb"])
    assert (finished.returncode, finished.stderr) == (1, f"ERROR: {DAMAGED}\n")


def test_verify_tells_of_each_file(standin: Tool, world: Repositories, tmp_path: Path) -> None:
    good, bad = package_of(world), tmp_path / "bad.apk"
    bad.write_bytes(edit(good.read_bytes(), 1, b"MIT", b"GPL"))
    finished = standin("--keys-dir", world.keys, "verify", good, bad, tmp_path / "none.apk")
    assert finished.returncode == 1
    assert finished.stdout.splitlines() == [
        f"{good}: OK",
        f"{bad}: BAD signature",
        f"{tmp_path}/none.apk: No such file or directory",
    ]


def test_it_says_that_it_is_the_stand_in(standin: Tool) -> None:
    finished = standin("--version")
    assert finished.stdout == "apk-tools 3.0.0_standin, compiled for x86_64.\n"
    assert finished.returncode == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--nosuch", "add"), 1, "command line: unrecognized option 'nosuch'"),
        (("frob",), 1, "'frob' is not an apk command"),
        (("--root",), 1, "command line: option 'root' requires an argument"),
        (("--root", "/nonexistent", "add", "x"), 99, "Unable to read database"),
        (("--root", "/nonexistent", "--initdb", "--simulate", "add"), 99, "Unable to read"),
    ],
)
def test_wrong_use_is_one_line(
    words: tuple[str, ...], status: int, message: str, standin: Tool
) -> None:
    finished = standin(*words)
    assert finished.returncode == status
    assert finished.stderr.startswith(f"ERROR: {message}")
    assert finished.stderr.count("\n") == 1


def test_words_that_are_no_names_are_refused(
    standin: Tool, world: Repositories, tmp_path: Path
) -> None:
    assert standin.choose(tmp_path, world, "a=1-r0") == (0, ["a-1-r0"])
    for word in ("a=", "a@edge", "=1"):
        finished = standin.add(tmp_path / "choose-standin", world, word, options=["-s"])
        assert finished.returncode == 99, word
