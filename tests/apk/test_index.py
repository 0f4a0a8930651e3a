"""Indexes are accepted only if a trusted key signed them, and verified before they are unpacked."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from build.apk.index import parse_records, read_index
from build.apk.package import MAX_SIGNATURE
from build.apk.signature import Keyring
from build.apk.streams import gzip_member, member_end, tar_entry
from build.apk.writing import write_index
from build.errors import ConfigError, SnapshotError, VerificationError
from tests.alpine import ALPINE
from tests.apk.makers import key, needs_alpine, package, real_keys, trusted

INDEX = "APKINDEX.tar.gz"


@needs_alpine
def test_the_full_indexes_of_alpine_are_read() -> None:
    indexes = [
        read_index(
            (ALPINE / "full" / name / "x86_64" / INDEX).read_bytes(), real_keys(), where=name
        )
        for name in ("main", "community")
    ]
    assert [len(index.records) for index in indexes] == [5443, 17587]
    records = {record.name: record for index in indexes for record in index.records}
    assert records["busybox-binsh"].provides[0].startswith("/bin/sh")
    assert records["mkinitfs"].provider_priority == 900
    assert "openrc" in records["chrony-openrc"].install_if
    assert all(record.size > 0 and record.build_time > 0 for record in records.values())


def test_an_index_that_is_changed_or_signed_by_an_untrusted_key_is_refused() -> None:
    raw = write_index([package()], key(), "tests")
    assert read_index(raw, trusted(), where=INDEX).signer == key().name
    end = member_end(raw, 0, limit=MAX_SIGNATURE, where=INDEX)
    other = write_index([package("other")], key(), "tests")
    with pytest.raises(VerificationError, match=f"^{INDEX}: not what tests.rsa.pub signed"):
        read_index(raw[:end] + other[end:], trusted(), where=INDEX)
    with pytest.raises(VerificationError, match=f"^{INDEX}: unsigned"):
        read_index(raw[end:], trusted(), where=INDEX)
    foreign = write_index([package()], key("stranger.rsa.pub"), "tests")
    with pytest.raises(VerificationError, match=r"signed by stranger\.rsa\.pub, which is not in"):
        read_index(foreign, trusted(), where=INDEX)


def test_unsigned_bytes_are_not_unpacked() -> None:
    raw = write_index([package()], key(), "tests")
    end = member_end(raw, 0, limit=MAX_SIGNATURE, where=INDEX)
    bomb = gzip_member(bytes(50_000_000), level=9)
    with pytest.raises(VerificationError, match=r"not what tests\.rsa\.pub signed"):
        read_index(raw[:end] + bomb, trusted(), where=INDEX)


def test_an_index_of_format_3_is_reported_as_such() -> None:
    for magic in (b"ADB.", b"ADBd", b"ADBc"):
        with pytest.raises(SnapshotError, match=rf"format 3 \({magic.decode()}\)"):
            read_index(magic + bytes(100), trusted(), where=INDEX)


GOOD = "C:Q11mV5+Yq5WHkhWIJP27rBrg7izKg=\nP:zlib\nV:1.3.1-r0\nA:x86_64\nS:53932\nI:110592\n"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (GOOD.replace("S:53932\n", ""), "package 'zlib': field 'S' is missing"),
        (GOOD.replace("53932", "many"), "field 'S': 'many', expected a number"),
        (GOOD.replace("P:zlib", "P:../zlib"), "not a package's name and version"),
        (GOOD.replace("V:1.3.1-r0", "V:1/../../x"), "not a package's name and version"),
        (GOOD.replace("C:Q1", "C:Q2"), "expected Q1"),
        (GOOD + "P:other\n", "a line twice"),
        (GOOD + "no letter\n", "without a letter"),
        (GOOD + "\n" + GOOD, "zlib: one version of it twice"),
        (GOOD + "T:a\x1b[2J\n", r"line 7: control character '\\x1b'"),
    ],
)
def test_a_malformed_record_is_refused(changed: str, message: str) -> None:
    (record,) = parse_records(GOOD.encode(), where=INDEX)
    assert record.file_name == "zlib-1.3.1-r0.apk"
    with pytest.raises(VerificationError, match=message):
        parse_records(changed.encode(), where=INDEX)


def test_a_folder_of_keys_without_usable_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        Keyring.from_folder(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"no public key in it"):
        Keyring.from_folder(tmp_path)
    (tmp_path / "good.rsa.pub").write_bytes(key().public_pem())
    assert list(Keyring.from_folder(tmp_path).files) == ["good.rsa.pub"]
    (tmp_path / "bad.rsa.pub").write_text("no key")
    with pytest.raises(ConfigError, match=r"bad\.rsa\.pub: not a public RSA key of 2048 bits"):
        Keyring.from_folder(tmp_path)


def test_keys_of_another_architecture_are_not_trusted(tmp_path: Path) -> None:
    for folder, name in [("x86_64", "tests.rsa.pub"), ("aarch64", "stranger.rsa.pub")]:
        (tmp_path / folder).mkdir()
        for parent in (tmp_path, tmp_path / folder):  # as /usr/share/apk/keys is laid out
            (parent / name).write_bytes(key(name).public_pem())
    assert list(Keyring.from_folder(tmp_path).files) == ["stranger.rsa.pub", "tests.rsa.pub"]
    keys = Keyring.from_folder(tmp_path, "x86_64")
    assert read_index(write_index([], key(), ""), keys, where=INDEX).signer == "tests.rsa.pub"
    with pytest.raises(VerificationError, match=r"stranger\.rsa\.pub, which is not in .*/x86_64$"):
        read_index(write_index([], key("stranger.rsa.pub"), ""), keys, where=INDEX)


@pytest.mark.parametrize("arch", ["..", "../other", "/other", ".", "x86_64/", "x86_64\n"])
def test_an_architecture_leads_to_no_other_folder_of_keys(arch: str, tmp_path: Path) -> None:
    (tmp_path / "good.rsa.pub").write_bytes(key().public_pem())
    with pytest.raises(ConfigError, match="not the name of an architecture"):
        Keyring.from_folder(tmp_path, arch)


def test_a_sha256_signature_is_accepted_and_not_treated_as_sha1() -> None:
    private = generate_private_key(65537, 2048)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    keys = Keyring("the keys", {"modern.rsa.pub": pem})
    raw = write_index([package()], key(), "tests")
    member = raw[member_end(raw, 0, limit=MAX_SIGNATURE, where=INDEX) :]
    value = private.sign(member, PKCS1v15(), SHA256())

    def index(kind: str) -> bytes:
        entry = tar_entry(f".SIGN.{kind}.modern.rsa.pub", value)
        return gzip_member(b"".join(entry)) + member

    assert read_index(index("RSA256"), keys, where=INDEX).signer == "modern.rsa.pub"
    with pytest.raises(VerificationError, match=r"not what modern\.rsa\.pub signed"):
        read_index(index("RSA"), keys, where=INDEX)
