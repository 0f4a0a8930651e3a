"""Which signature counts, and which keys a folder gives: as for a real apk."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from build.apk.index import read_index
from build.apk.package import read_package
from build.apk.signature import Keyring
from build.errors import ConfigError, SnowdropError
from ci.rehearsal.sample.programs.apk.keys import Keys
from tests.apk import foreign
from tests.apk.foreign import ARCH, KEY, Form, private_key, public_pem, sign
from tests.apk.forms import files
from tests.apk.makers import needs_alpine, real_apk
from tests.sample.apk_tools import Repositories, Tool

OLD = "old.rsa.pub"


def by(*signatures: tuple[str, str] | str) -> foreign.Signer:
    """Return a signer with these signatures: a key's name, or its name and the algorithm."""
    pairs = [(each, "RSA") if isinstance(each, str) else each for each in signatures]
    return lambda content: [sign(content, key, kind) for key, kind in pairs]


def wrong(key: str) -> Callable[[bytes], tuple[str, bytes]]:
    """Return the maker of a signature by `key` that does not match."""
    return lambda content: sign(content + b"changed", key)


def also(first: Callable[[bytes], tuple[str, bytes]], *then: str) -> foreign.Signer:
    """Return a signer with `first` before the signatures of the keys `then`."""
    return lambda content: [first(content), *by(*then)(content)]


@dataclass(frozen=True)
class Row:
    """Signatures, the names of the trusted keys, and what comes of it."""

    signer: foreign.Signer
    trusted: Sequence[str]
    accepted: str = ""
    """The key that counts; empty: refused."""
    message: str = ""


ROWS = {
    "sha1": Row(by(KEY), [KEY], KEY),
    "sha256": Row(by((KEY, "RSA256")), [KEY], KEY),
    "sha512": Row(by((KEY, "RSA512")), [KEY], KEY),
    "rotation, the new key is trusted": Row(by(OLD, KEY), [KEY], KEY),
    "rotation, the old key is trusted": Row(by(OLD, KEY), [OLD], OLD),
    "rotation, both are trusted": Row(by(OLD, KEY), [KEY, OLD], OLD),
    "two algorithms of one key": Row(by((KEY, "RSA512"), (KEY, "RSA")), [KEY], KEY),
    "an unknown algorithm first": Row(also(lambda _: (f".SIGN.MD5.{KEY}", b"x"), KEY), [KEY], KEY),
    "an unknown key's wrong signature first": Row(also(wrong(OLD), KEY), [KEY], KEY),
    "a key called *.pem": Row(by("vendor.pem"), ["vendor.pem"], "vendor.pem"),
    "a key called *.pub": Row(by("vendor.pub"), ["vendor.pub"], "vendor.pub"),
    "a key without a suffix": Row(by("vendor-2024"), ["vendor-2024"], "vendor-2024"),
    "a trusted key's wrong signature": Row(also(wrong(KEY)), [KEY], "", f"not what {KEY} signed"),
    "a trusted key's wrong signature first": Row(
        also(wrong(OLD), KEY), [KEY, OLD], "", f"not what {OLD} signed"
    ),
    "an untrusted key": Row(by(OLD), [KEY], "", f"signed by {OLD}, which is not in "),
    "two untrusted keys": Row(
        by(OLD, "vendor.pub"), [KEY], "", f"signed by {OLD}, vendor.pub, none of which is in "
    ),
    "an unknown algorithm only": Row(
        lambda _: [(f".SIGN.MD5.{KEY}", b"x")], [KEY], "", "signed with MD5, expected one of RSA, "
    ),
    "another file beside it": Row(
        lambda content: [("README", b"x"), sign(content)], [KEY], "", "unsigned, expected"
    ),
    "no signature": Row(lambda _: [], [KEY], "", "unsigned, expected"),
}


def write_keys(folder: Path, names: Iterable[str]) -> Path:
    """Write these public keys, and a README as ours has one."""
    folder.mkdir()
    (folder / "README.md").write_text("about the keys\n")
    for name in names:
        (folder / name).write_bytes(public_pem(name))
    return folder


@pytest.mark.parametrize("name", ROWS)
def test_the_first_signature_of_a_trusted_key_counts(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    keys = Keyring.from_folder(write_keys(tmp_path / "keys", row.trusted))
    (tmp_path / "keys" / "README.md").unlink()
    form = Form(items=files("hello"), sign=row.signer)
    package, index = foreign.write("hello", form), foreign.index([], row.signer)
    for checker in (keys, Keys(tmp_path / "keys")):
        if row.accepted:
            assert read_package(package, checker, where="hello").signer == row.accepted
            assert read_index(index, checker, where="index").signer == row.accepted
            continue
        message = row.message if checker is keys else "^it: "
        with pytest.raises(SnowdropError, match=message):
            read_package(package, checker, where="it")
        with pytest.raises(SnowdropError, match=message):
            read_index(index, checker, where="it")


@needs_alpine
def test_a_real_apk_accepts_the_same_indexes(tmp_path: Path) -> None:
    apk = Tool("apk2", tuple(real_apk(tmp_path)))
    form = Form(items=files("hello"))
    record = foreign.record("hello", form, foreign.write("hello", form))
    found = {}
    for number, (name, row) in enumerate(ROWS.items()):
        base = tmp_path / str(number)
        (base / ARCH).mkdir(parents=True)
        (base / ARCH / "APKINDEX.tar.gz").write_bytes(foreign.index([record], row.signer))
        keys = write_keys(base / "keys", row.trusted)
        status, chosen = apk.choose(base, Repositories((base,), keys), "hello")
        found[name] = (status, chosen) == (0, ["hello-1-r0"])
    assert found == {name: bool(row.accepted) for name, row in ROWS.items()}


def test_an_untrusted_keys_error_names_the_trusted_ones_and_how_to_add_it(tmp_path: Path) -> None:
    names = [f"key-{number}.pub" for number in range(7)]
    folder = write_keys(tmp_path / "keys", [KEY])
    for name in names:
        (folder / name).write_bytes(public_pem(KEY))
    with pytest.raises(SnowdropError, match=f"signed by {OLD}, which is not in {folder}$") as found:
        read_index(foreign.index([], by(OLD)), Keyring.from_folder(folder), where="index")
    assert "key-0.pub, key-1.pub, key-2.pub, key-3.pub, key-4.pub and 3 more" in found.value.hint
    assert f"openssl pkey -pubin -in {OLD} -outform DER | sha256sum" in found.value.hint
    assert f"copy it to {folder}/{OLD}" in found.value.hint
    assert found.value.hint.index("compare") < found.value.hint.index("copy")


def test_a_private_key_in_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write_keys(tmp_path / "keys", [KEY])
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        pem = private_key(KEY).private_bytes(Encoding.PEM, form, NoEncryption())
        (folder / "tests.rsa").write_bytes(pem)
        with pytest.raises(ConfigError, match=r"tests\.rsa: a private key"):
            Keyring.from_folder(folder)


@pytest.mark.parametrize("name", ["a.pub", "a.pem"])
def test_a_file_that_should_be_a_key_and_is_none_is_refused(name: str, tmp_path: Path) -> None:
    folder = write_keys(tmp_path / "keys", [KEY])
    (folder / name).write_text("no key")
    with pytest.raises(ConfigError, match=f"{name}: not a public RSA key of 2048 bits"):
        Keyring.from_folder(folder)
