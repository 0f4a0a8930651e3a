"""The sample's apk installs nothing whose chain of signatures and digests is broken."""

import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from build.apk.package import Signature, split_members
from build.apk.streams import gzip_member
from build.apk.writing import SigningKey, write_package
from build.errors import VerificationError
from ci.rehearsal.sample.programs.apk.keys import Keys
from ci.rehearsal.sample.standin import PROJECT
from tests.sample.apk_tools import (
    Repositories,
    Tool,
    file,
    folder,
    make_key,
    needs_root,
    publish,
    recipe,
)


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
    "data": (lambda raw: edit(raw, 2, b"aaaa", b"aaab"), "a-1-r0: data member: sha256 "),
    "control": (lambda raw: edit(raw, 1, b"MIT", b"GPL"), "a-1-r0: control member: BAD signature"),
    "unsigned": (lambda raw: b"".join(split_members(raw)[1:]), "a-1-r0: unsigned, "),
    "signer": (
        lambda raw: resign(raw, "other.rsa.pub"),
        "a-1-r0: control member: UNTRUSTED signature",
    ),
    "signature": (
        lambda raw: resign(raw, "tests.rsa.pub"),
        "a-1-r0: control member: BAD signature",
    ),
    "truncated": (lambda raw: raw[:-20], "a-1-r0: data member: sha256 "),
    "garbage": (lambda _: b"hello", "a-1-r0: signature member: not a gzip member"),
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
    assert finished.stderr.startswith(f"ERROR: {message}")
    assert finished.stderr.count("\n") == 1
    assert "1 errors; 0 MiB in 0 packages" in finished.stdout
    assert not (bad / "opt").exists()


@needs_root
def test_another_package_under_the_same_name_is_refused(
    standin: Tool, world: Repositories, tmp_path: Path
) -> None:
    package_of(world).write_bytes(package_of(world, "b").read_bytes())
    root = tmp_path / "root"
    root.mkdir()
    finished = standin.add(root, world, "a", options=["--initdb"])
    message = "ERROR: a-1-r0: not the package that the index describes\n"
    assert (finished.returncode, finished.stderr) == (1, message)


@needs_root
def test_a_package_that_the_index_does_not_describe_is_refused(
    standin: Tool, key: SigningKey, world: Repositories, tmp_path: Path
) -> None:
    other = recipe("a", entries=[folder("opt"), file("opt/f", "of the same name, and signed")])
    package_of(world).write_bytes(write_package(other, key))
    root = tmp_path / "root"
    root.mkdir()
    finished = standin.add(root, world, "a", options=["--initdb"])
    assert finished.returncode == 1
    assert "not the package that the index describes" in finished.stderr
    assert not (root / "opt").exists()


def test_signatures_of_each_hash_are_checked(key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / key.name).write_bytes(key.public_pem())
    private = rsa_key()
    (tmp_path / "new.rsa.pub").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    keys = Keys(tmp_path)
    hashes = (("RSA", SHA1()), ("RSA256", SHA256()), ("RSA512", SHA512()))  # noqa: S303
    for algorithm, digest in hashes:
        value = private.sign(b"content", PKCS1v15(), digest)
        good = Signature("new.rsa.pub", algorithm, value)
        assert keys.verify([good], b"content", where="it") == "new.rsa.pub"
        bad = Signature("new.rsa.pub", algorithm, value[:-1] + b"x")
        for signed, signature in ((b"other", good), (b"content", bad)):
            with pytest.raises(VerificationError, match="BAD signature"):
                keys.verify([signature], signed, where="it")
    for one in (Signature("none.rsa.pub", "RSA", b""), Signature(key.name, "MD5", key.sign(b""))):
        with pytest.raises(VerificationError, match="UNTRUSTED signature"):
            keys.verify([one], b"", where="it")


def rsa_key() -> RSAPrivateKey:
    """Return a new key, larger than those of the tests."""
    return generate_private_key(65537, 3072)


@pytest.mark.parametrize("text", ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_file_that_is_not_a_key_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.rsa.pub").write_text(text)
    with pytest.raises(VerificationError, match=r"x\.rsa\.pub: not a public key"):
        Keys(tmp_path)


def test_it_says_that_it_is_the_stand_in(standin: Tool) -> None:
    finished = standin("--version")
    assert finished.stdout == "apk-tools 3.0.0_standin, compiled for x86_64.\n"
    assert finished.returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nosuch", "add"), "apk: error: unrecognized arguments: --nosuch"),
        (("frob",), "apk: error: argument command: invalid choice: 'frob'"),
        (("--root",), "apk: error: argument --root: expected one argument"),
        (("--root", "/nonexistent", "add", "x"), "ERROR: Unable to read database"),
        (("--root", "/nonexistent", "--initdb", "--simulate", "add"), "ERROR: Unable to read"),
    ],
)
def test_wrong_use_is_said_in_the_last_line(
    words: tuple[str, ...], message: str, standin: Tool
) -> None:
    finished = standin(*words)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in finished.stderr


def test_words_that_are_not_dependencies_are_refused(
    standin: Tool, world: Repositories, tmp_path: Path
) -> None:
    assert standin.choose(tmp_path, world, "a=1-r0") == (0, ["a-1-r0"])
    for word in ("a=", "a@edge", "=1", "a><Q1x="):
        finished = standin.add(tmp_path / "choose-standin", world, word, options=["--simulate"])
        assert finished.returncode == 2, word
        assert f"'{word}' is not a dependency" in finished.stderr


def test_no_module_is_of_the_project_or_of_a_site_package(standin: Tool) -> None:
    path = Path(standin.command[-1])
    program = f"__file__ = {str(path)!r}\n" + path.read_text().partition("sys.exit")[0]
    program += "for one in sys.modules.values(): print(getattr(one, '__file__', None) or '')"
    command = [*standin.command[:-1], "-c", program]
    finished = subprocess.run(command, capture_output=True, text=True, env={}, check=True)
    files = finished.stdout.splitlines()
    assert any(path.endswith("/apk-standin/build/apk/index.py") for path in files)
    assert not any(path.startswith(str(PROJECT)) or "-packages/" in path for path in files)
