"""Damaged repositories: each is refused with file and cause, and nothing is written."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from build.apk.index import INDEX
from build.apk.package import MAX_SIGNATURE, split_members
from build.apk.streams import gzip_member, member_end, tar_entry
from build.apk.writing import write_index
from build.errors import SnapshotError, SnowdropError, VerificationError
from tests.apk.makers import key
from tests.snapshot import damage
from tests.snapshot.damage import (
    HELLO,
    STRANGER,
    entry,
    flipped,
    hello,
    index,
    index_of,
    index_text,
    record,
    record_of,
    signature,
    signed,
    texts,
    with_data,
)
from tests.snapshot.served import ARCH, TAIL, pin_world, publish, world

ENDING_WITH_MORE = bytes(1024) + b"more".ljust(512, b"\0")
Rows = dict[str, tuple[Callable[[], bytes], str]]
FAST = {
    "signed by a stranger",
    "gzip bomb behind a good signature",
    "wrong datahash, signed",
    "file with another sha1 than its record",
    "path above the root",
    "size in the index is off by five, which apk installs",
    "unsigned, which apk installs",
}
"""The cases that run each time; the others run in `nox -s tests_full`."""


def rows(table: Rows) -> list[object]:
    return [
        pytest.param(make, message, id=name, marks=[] if name in FAST else [pytest.mark.full])
        for name, (make, message) in table.items()
    ]


def _of_index(change: Callable[[bytes, bytes], bytes]) -> bytes:
    end = member_end(index(), 0, limit=MAX_SIGNATURE, where=INDEX)
    return change(index()[:end], index()[end:])


INDEXES: Rows = {
    "empty": (lambda: b"", "signature member: not a gzip member"),
    "a page of a portal": (lambda: b"<html>sign in</html>", "signature member: not a gzip member"),
    "cut short": (lambda: index()[:-1], f"not what {key().name} signed"),
    "cut in the signature": (lambda: index()[:100], "signature member: truncated"),
    "bit flipped in the signature": (
        lambda: _of_index(lambda first, rest: flipped(first, len(first) // 2) + rest),
        "signature member: damaged|not what .* signed",
    ),
    "bit flipped in the index": (
        lambda: _of_index(lambda first, rest: first + flipped(rest, len(rest) // 2)),
        f"not what {key().name} signed",
    ),
    "unsigned": (lambda: _of_index(lambda _, rest: rest), "unsigned, expected .SIGN.RSA.KEY"),
    "signed by a stranger": (
        lambda: write_index([hello()], key(STRANGER), ""),
        f"signed by {STRANGER}, which is not in",
    ),
    "signed by a stranger under a trusted name": (
        lambda: _of_index(lambda _, rest: signature(rest, value=key(STRANGER).sign(rest)) + rest),
        f"not what {key().name} signed",
    ),
    "signature of another index": (
        lambda: _of_index(lambda _, rest: signature(b"another") + rest),
        f"not what {key().name} signed",
    ),
    "signature called RSA256 that is RSA": (
        lambda: _of_index(lambda _, rest: signature(rest, kind="RSA256") + rest),
        f"not what {key().name} signed",
    ),
    "signature of an unknown kind": (
        lambda: _of_index(lambda _, rest: signature(rest, kind="DSA") + rest),
        "signed with DSA, expected RSA or RSA256",
    ),
    "empty signature": (
        lambda: _of_index(lambda _, rest: signature(rest, value=b"") + rest),
        f"not what {key().name} signed",
    ),
    "two signatures": (
        lambda: _of_index(
            lambda _, rest: (
                gzip_member(
                    b"".join(
                        tar_entry(f".SIGN.RSA.{key().name}", key().sign(rest))
                        + tar_entry(f".SIGN.RSA256.{key().name}", b"x")
                    )
                )
                + rest
            )
        ),
        "unsigned, expected .SIGN.RSA.KEY",
    ),
    "key name that is a path": (
        lambda: _of_index(
            lambda _, rest: gzip_member(b"".join(tar_entry(".SIGN.RSA.../../key", b"x"))) + rest
        ),
        "unsigned, expected .SIGN.RSA.KEY",
    ),
    "comment in the gzip header of the signature": (
        lambda: _of_index(
            lambda first, rest: first[:3] + b"\x10" + first[4:10] + b"hi\0" + first[10:] + rest
        ),
        "signature member: a gzip header with extra fields",
    ),
    "bomb for a signature": (
        lambda: gzip_member(bytes(10_000_000), level=9),
        "signature member: more than the 65536 bytes",
    ),
    "gzip bomb behind a good signature": (
        lambda: signed(gzip_member(bytes(70_000_000), level=9)),
        "more than the 67108864 bytes",
    ),
    "another member behind it": (
        lambda: signed(_of_index(lambda _, rest: rest) + gzip_member(b"more")),
        "bytes after its end",
    ),
    "no APKINDEX inside": (lambda: index_of(("DESCRIPTION", b"odd")), "no APKINDEX inside"),
    "APKINDEX twice": (
        lambda: index_of(("APKINDEX", texts()), ("APKINDEX", texts())),
        "'APKINDEX': not a file, or repeated",
    ),
    "APKINDEX is a device": (
        lambda: index_of(("APKINDEX", b""), kind=b"3"),
        "'APKINDEX': a device, pipe or unknown kind",
    ),
    "not a tar": (lambda: signed(gzip_member(b"text" * 1000)), "not a tar header"),
    "tar cut short": (
        lambda: signed(gzip_member(b"".join(tar_entry("APKINDEX", texts()))[:600])),
        "truncated in the middle of a content",
    ),
    "something behind the tar's end": (
        lambda: index_of(("APKINDEX", texts()), ending=ENDING_WITH_MORE),
        "data after its end",
    ),
    "not UTF-8": (lambda: index_text(texts() + b"\xff"), "expected UTF-8"),
    "control character": (
        lambda: index_text(texts().replace(b"T:musl", b"T:\x1b]0;title\x07")),
        r"APKINDEX line \d+: control character '\\x1b'",
    ),
    "control character in its description": (
        lambda: index_of(("DESCRIPTION", b"\x1b[2J"), ("APKINDEX", texts())),
        "DESCRIPTION .* a control character",
    ),
    "name with a path": (
        lambda: index_text(texts().replace(b"P:hello", b"P:../hello")),
        "'../hello-1.0-r0': not a package's name and version",
    ),
    "version with a path": (
        lambda: index_text(texts().replace(b"V:1.0-r0", b"V:1/../../x")),
        "not a package's name and version",
    ),
    "no version": (
        lambda: index_text(texts().replace(b"V:1.0-r0\n", b"", 1)),
        "field 'V' is missing",
    ),
    "checksum of another kind": (
        lambda: index_text(texts().replace(b"C:Q1", b"C:Q2", 1)),
        "checksum 'Q2.*, expected Q1",
    ),
    "size that is no number": (
        lambda: index_text(re.sub(rb"S:\d+", b"S:-1", texts())),
        "field 'S': '-1', expected a number",
    ),
    "size beyond all bounds": (
        lambda: index_text(re.sub(rb"S:\d+", b"S:" + b"9" * 5000, texts())),
        "field 'S': '9{60}', expected a number",
    ),
    "field twice": (
        lambda: index_text(texts().replace(b"P:hello\n", b"P:hello\nP:other\n")),
        "a line twice or without a letter",
    ),
    "one version twice": (
        lambda: index_text(texts() + record(hello()).encode()),
        "hello: one version of it twice",
    ),
    "format 3, plain": (lambda: b"ADB." + index(), r"format 3 \(ADB\.\), expected format 2"),
    "format 3, deflated": (lambda: b"ADBd" + index(), r"format 3 \(ADBd\), expected format 2"),
    "format 3, compressed": (lambda: b"ADBc" + index(), r"format 3 \(ADBc\), expected format 2"),
}


def refused(folder: Path, error: type[SnowdropError], file: str, message: str) -> None:
    """Check that pin fails with file and cause, and that it leaves nothing behind."""
    config = world(folder, str(folder / "served" / TAIL))
    with pytest.raises(error, match=message) as failure:
        pin_world(config)
    assert file in str(failure.value)
    assert not config.lock.exists()
    assert list(config.work.iterdir()) == []
    kept = [path.read_bytes() for path in config.store.rglob("*") if path.is_file()]
    assert set(kept) <= {*damage.others(), hello()}


@pytest.mark.parametrize(("make", "message"), rows(INDEXES))
def test_a_damaged_index_is_refused(
    make: Callable[[], bytes], message: str, tmp_path: Path
) -> None:
    served = publish(tmp_path / "served", *damage.others(), hello())
    pin_world(world(tmp_path / "good", str(tmp_path / "served" / TAIL)))
    (served / INDEX).write_bytes(make())
    kind = SnapshotError if "format 3" in message else VerificationError
    refused(tmp_path, kind, f"{TAIL}/{ARCH}/{INDEX}", message)


def _parts(change: Callable[[bytes, bytes, bytes], bytes]) -> bytes:
    return change(*split_members(hello()))


def _without(key_of_line: str) -> bytes:
    return damage.package(lambda lines: [x for x in lines if not x.startswith(key_of_line)])


def _replaced(line: str) -> bytes:
    name = line.partition(" ")[0]
    return damage.package(lambda lines: [line if x.startswith(name) else x for x in lines])


PACKAGES: Rows = {
    "empty": (lambda: b"", "0 bytes, the index says"),
    "unsigned, which apk installs": (
        lambda: _parts(lambda _, control, data: control + data),
        "unsigned, expected .SIGN.RSA.KEY",
    ),
    "signed by a stranger": (
        lambda: _parts(
            lambda _, control, data: signature(control, by=key(STRANGER)) + control + data
        ),
        f"signed by {STRANGER}, which is not in",
    ),
    "signed by a stranger under a trusted name": (
        lambda: _parts(
            lambda _, control, data: b"".join(
                [signature(control, value=key(STRANGER).sign(control)), control, data]
            )
        ),
        f"control member: not what {key().name} signed",
    ),
    "bit flipped in the signature member": (
        lambda: _parts(lambda first, *rest: b"".join([flipped(first, 700), *rest])),
        "signature member: damaged|not what .* signed",
    ),
    "bit flipped in the control member": (
        lambda: _parts(
            lambda first, control, data: first + flipped(control, len(control) - 9) + data
        ),
        "control member: damaged|control member: not what .* signed",
    ),
    "bit flipped in the data member": (
        lambda: _parts(lambda first, control, data: first + control + flipped(data, 900)),
        "data member: sha256 [0-9a-f]{64}, its .PKGINFO says",
    ),
    "data of another package": (
        lambda: _parts(
            lambda first, control, _: first + control + split_members(damage.others()[1])[2]
        ),
        "data member: sha256 [0-9a-f]{64}, its .PKGINFO says",
    ),
    "no data member": (
        lambda: _parts(lambda first, control, _: first + control),
        "data member: sha256 [0-9a-f]{64}, its .PKGINFO says",
    ),
    "wrong datahash, signed": (
        lambda: _replaced("datahash = " + "0" * 64),
        "data member: sha256 [0-9a-f]{64}, its .PKGINFO says 0{64}",
    ),
    "no datahash": (lambda: _without("datahash"), "datahash 0 times in .PKGINFO"),
    "datahash twice": (
        lambda: damage.package(lambda lines: [*lines, "datahash = " + "0" * 64]),
        "datahash 2 times in .PKGINFO",
    ),
    "name twice": (
        lambda: damage.package(lambda lines: ["pkgname = other", *lines]),
        "pkgname 2 times in .PKGINFO",
    ),
    "name with a path": (lambda: _replaced("pkgname = ../x"), "pkgname = '../x', not a pkgname"),
    "another name": (lambda: _replaced("pkgname = other"), "name other, the index says hello"),
    "another version": (lambda: _replaced("pkgver = 2.0-r0"), "version 2.0-r0, the index says"),
    "another architecture": (lambda: _replaced("arch = aarch64"), "architecture aarch64, the"),
    "size that is no number": (lambda: _replaced("size = 4k"), "size = '4k', not a number"),
    "control character in its description": (
        lambda: damage.package(lambda lines: [*lines, "pkgdesc = \x1b[2J"]),
        "control member: .PKGINFO: .* a control character",
    ),
    "no .PKGINFO": (
        lambda: damage.package(control_name=".INFO"),
        "control member: does not start with .PKGINFO",
    ),
    "control member that is a bomb": (
        lambda: signed(gzip_member(bytes(20_000_000), level=9)) + split_members(hello())[2],
        "control member: more than the 16777216 bytes",
    ),
    "file with another sha1 than its record": (
        damage.wrong_sum,
        "'etc/motd': sha1 [0-9a-f]{40}, its header says 0{40}",
    ),
    "path above the root": (
        lambda: with_data(entry("../etc/passwd")),
        "'../etc/passwd', expected a path below the root",
    ),
    "path that climbs out": (lambda: with_data(entry("etc/../../x")), "expected a path below"),
    "absolute path": (lambda: with_data(entry("/etc/passwd")), "expected a path below the root"),
    "path with a hole": (lambda: with_data(entry("etc//passwd")), "expected a path below the root"),
    "one name twice": (lambda: with_data(entry("a"), entry("./a")), "repeated"),
    "control character in a name": (
        lambda: with_data(entry("etc/\x1b[2J")),
        "a control character in the name",
    ),
    "control character in a link": (
        lambda: with_data(entry("etc/a", b"2", "x\ny")),
        "a control character in the name",
    ),
    "block device": (lambda: with_data(entry("dev/sda", b"4")), "a device, pipe or unknown kind"),
    "character device": (lambda: with_data(entry("dev/mem", b"3")), "a device, pipe or unknown"),
    "pipe": (lambda: with_data(entry("run/pipe", b"6")), "a device, pipe or unknown kind"),
    "records for all that follows": (
        lambda: with_data(entry("pax", b"g"), entry("etc/motd")),
        "a device, pipe or unknown kind",
    ),
    "hard link to something outside": (
        lambda: with_data(entry("etc/a", b"1", "../../etc/shadow")),
        "expected a path below the root",
    ),
    "hard link to nothing before it": (
        lambda: with_data(entry("etc/a", b"1", "etc/shadow")),
        "a hard link to 'etc/shadow', which is not before it",
    ),
    "script among the files": (
        lambda: with_data(entry(".post-install")),
        "a name that apk treats as a control file",
    ),
    "sparse file": (
        lambda: damage.odd_pax(b"22 GNU.sparse.major=1\n"),
        "a device, pipe or unknown kind",
    ),
    "pax records that lie about their length": (
        lambda: damage.odd_pax(b"99 path=etc/motd\n"),
        "pax records that cannot be read",
    ),
    "something behind the tar's end": (
        lambda: with_data(entry("etc/motd"), ending=ENDING_WITH_MORE),
        "data after its end",
    ),
    "another member behind the data": (
        lambda: damage.package(data=gzip_member(bytes(1024)) + gzip_member(b"more")),
        "data member: .* bytes after its end",
    ),
    "data that is no gzip": (lambda: damage.package(data=b"text"), "data member: not a gzip"),
    "data that ends in a file": (
        lambda: damage.package(data=gzip_member(entry("a", content=b"x" * 900)[:700])),
        "data member: .* truncated in the middle of a content",
    ),
    "header with a wrong sum": (
        lambda: with_data(flipped(entry("etc/motd"), 3)),
        "a header whose checksum is wrong",
    ),
    "format 3": (lambda: b"ADBc" + hello()[4:], r"format 3 \(ADBc\), expected format 2"),
}


@pytest.mark.parametrize(("make", "message"), rows(PACKAGES))
def test_a_damaged_package_is_refused(
    make: Callable[[], bytes], message: str, tmp_path: Path
) -> None:
    content = make()
    served = publish(tmp_path / "served", *damage.others(), hello())
    (served / HELLO).write_bytes(content)
    try:
        wanted = record_of(content)
    except SnowdropError:
        wanted = record(content) if content else record(hello())
    (served / INDEX).write_bytes(index(wanted))
    kind = SnapshotError if "format 3" in message else VerificationError
    refused(tmp_path, kind, HELLO, message)


RECORDS: dict[str, tuple[Callable[[], str], str]] = {
    "size in the index is off by five, which apk installs": (
        lambda: record(hello(), S=str(len(hello()) + 5)),
        r"\d+ bytes, the index says \d+",
    ),
    "checksum of another package": (
        lambda: record(hello(), C="Q1" + "A" * 27 + "="),
        "checksum Q1.*, the index says Q1AAAA",
    ),
}


@pytest.mark.parametrize(("make", "message"), rows(RECORDS))  # type: ignore[arg-type]
def test_an_index_that_does_not_match_its_package_is_refused(
    make: Callable[[], str], message: str, tmp_path: Path
) -> None:
    served = publish(tmp_path / "served", *damage.others(), hello())
    (served / INDEX).write_bytes(index(make()))
    refused(tmp_path, VerificationError, HELLO, message)
