"""Written packages have equal bytes on every machine, and Alpine's own apk installs them."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from build.apk.index import read_index
from build.apk.package import read_package
from build.apk.writing import Entry, Recipe, derive_key, index_record, write_index, write_package
from build.edges.process import run
from build.errors import BuildError
from tests import skips
from tests.apk.makers import EPOCH, key, needs_alpine, package, real_apk, recipe, trusted


def test_equal_recipes_give_equal_bytes_on_every_machine() -> None:
    # A fixed digest: another zlib or another Python must not change it.
    assert hashlib.sha256(package()).hexdigest() == DIGEST_OF_PACKAGE
    index = write_index([package(), package("other")], key(), "tests")
    assert hashlib.sha256(index).hexdigest() == DIGEST_OF_INDEX
    assert index == write_index([index_record(package("other")), package()], key(), "tests")


def test_a_key_is_derived_from_its_seed_alone() -> None:
    pairs = ((b"a", "a.rsa.pub"), (b"a", "b"), (b"b", "a"))
    one, same, other = (derive_key(seed, name, 1024) for seed, name in pairs)
    assert one.public_pem() == same.public_pem() != other.public_pem()
    for pem, bits in ((one.public_pem(), 1024), (key().public_pem(), 2048)):
        assert getattr(load_pem_public_key(pem), "key_size", 0) == bits
    assert "p=" not in repr(one)


def test_a_written_package_reads_back() -> None:
    for level in (0, 6):
        read = read_package(write_package(recipe(), key(), level=level), trusted(), where="hello")
        assert (read.signer, read.info.name, read.info.version) == (key().name, "hello", "1.0-r0")
        assert read.info.build_time == EPOCH
    index = read_index(write_index([package()], key(), "tests"), trusted(), where="index")
    (record,) = index.records
    assert (record.checksum, record.size) == (
        read_package(package(), trusted(), where="hello").checksum,
        len(package()),
    )
    assert (record.provides, index.description) == (("cmd:hello=1.0-r0",), "tests")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((Entry("/etc/motd", 0o644, "file"),), "path '/etc/motd', expected one like etc/motd"),
        ((Entry("etc/../motd", 0o644, "file"),), "path 'etc/../motd'"),
        ((Entry("./motd", 0o644, "file"),), "path './motd'"),
        ((Entry("etc/a\nb", 0o644, "file"),), "control character"),
        ((Entry("etc", 0o755, "dir"), Entry("etc", 0o755, "dir")), "etc twice"),
    ],
)
def test_an_invalid_path_is_refused(entries: tuple[Entry, ...], message: str) -> None:
    odd = Recipe(name="odd", version="1-r0", description="", epoch=0, entries=entries)
    with pytest.raises(BuildError, match=message):
        write_package(odd, key())


@needs_alpine
def test_alpines_own_apk_verifies_and_installs_what_we_write(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip(skips.ROOT)
    folder = tmp_path / "repository/x86_64"
    folder.mkdir(parents=True)
    file = folder / "hello-1.0-r0.apk"
    # Without scripts, which would need a shell in the new root.
    plain = Recipe(name="hello", version="1.0-r0", description="", epoch=EPOCH, entries=FILES)
    file.write_bytes(write_package(plain, key()))
    (folder / "APKINDEX.tar.gz").write_bytes(write_index([file.read_bytes()], key(), "tests"))
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / key().name).write_bytes(key().public_pem())
    (tmp_path / "tool").mkdir()
    apk = real_apk(tmp_path / "tool")

    verified = run([*apk, "verify", "--keys-dir", str(keys), str(file)])
    assert "OK" in verified.text
    root = tmp_path / "root"
    argv = [*apk, "--arch", "x86_64", "--root", str(root), "--initdb", "--keys-dir", str(keys)]
    argv += ["--repository", str(folder.parent), "--repositories-file", "/dev/null"]
    run([*argv, "--no-network", "--no-cache", "add", "hello"])

    program = root / "usr/bin/hello"
    assert program.read_bytes() == b"#!/bin/sh\necho hello\n"
    assert stat.S_IMODE(program.stat().st_mode) == 0o4755
    assert (root / "usr/bin/hello-again").readlink() == Path("hello")
    assert stat.S_IMODE((root / "var/lib/hello").stat().st_mode) == 0o700
    assert (root / f"usr/share/{'d' * 90}/{'f' * 180}").read_bytes() == b"far down"
    assert int(program.stat().st_mtime) == EPOCH


FILES = recipe().entries
DIGEST_OF_PACKAGE = "089c1f4dbd56f9653143f0744f3d567ce5d05b4ddf61d30aaa9ee0fa48396e81"
DIGEST_OF_INDEX = "c70054ffb577f030dc5b9e0f50d5df4e222a28f7c4b56b90c0440f2e4fbaa852"
