"""Parsers return a value or raise one of our errors for any bytes, within bounds.

`nox -s fuzz` runs these for minutes; in `nox -s tests` a few hundred tries each.
"""

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.apk.index import parse_records, read_index
from build.apk.info import package_info, parse_info
from build.apk.package import read_package, split_members
from build.apk.streams import gzip_member, tar_entry, unpack_member, unpacked_pieces
from build.apk.tar import TarReader, package_members, read_files
from build.apk.version import version_key
from build.errors import SnowdropError
from build.snapshot.lock import dump_lock
from build.snapshot.lock_reader import parse_lock
from build.snapshot.solve import parse_simulation
from build.snapshot.solver_errors import explain, is_out_of_step
from tests.apk.makers import trusted
from tests.snapshot import damage
from tests.snapshot.conftest import lock_of, locked

Parser = Callable[[bytes], object]


def read_tar(content: bytes) -> object:
    """Read a tar to its end, as a package's data member is read."""
    reader = TarReader(iter([content[:700], content[700:]]), where="tar")
    return [
        (member, sum(map(len, reader.content()))) for member in package_members(reader, where="")
    ]


LOCK = dump_lock(lock_of(locked("busybox", 2), locked("musl", 1)))
INFO = b"pkgname = a\npkgver = 1-r0\narch = x\nsize = 1\nbuilddate = 5\ndatahash = 0\ndepend = b\n"
TAR = b"".join(
    [
        *tar_entry("etc/" + "a" * 120, b"x" * 600, pax=[("APK-TOOLS.checksum.SHA1", "0" * 40)]),
        *tar_entry("etc/b", kind=b"2", target="a"),
        *tar_entry("usr/", kind=b"5"),
        bytes(1024),
    ]
)
PARSERS: dict[str, tuple[Parser, bytes]] = {
    "records of an index": (lambda b: list(parse_records(b, where="index")), damage.texts()),
    "index": (lambda b: read_index(b, trusted(), where="index"), damage.index()),
    "package": (lambda b: read_package(b, trusted(), where="package"), damage.hello()),
    "members of a package": (split_members, damage.hello()),
    "PKGINFO": (lambda b: package_info(parse_info(b, where="info"), where="info"), INFO),
    "gzip member": (
        lambda b: unpack_member(b, 0, limit=1 << 16, where="gzip"),
        gzip_member(b"content" * 50, level=6),
    ),
    "tar": (read_tar, TAR),
    "tar of files": (lambda b: read_files([b], where="tar"), b"".join(tar_entry("a", b"x"))),
    "lock": (lambda b: parse_lock(b, where="lock"), LOCK),
}
TEXTS: dict[str, Callable[[str], object]] = {
    "apk's answer": parse_simulation,
    "apk's reasons": lambda text: (explain(text), is_out_of_step(text)),
}
quick = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def tried(parse: Parser, content: bytes) -> None:
    """Parse `content`; an error that is not ours fails the test."""
    try:
        parse(content)
    except SnowdropError as error:
        said = str(error)
    else:
        return
    assert said
    assert "\x1b" not in said


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """Valid content with a few bytes changed, removed, doubled or cut off."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        offset = draw(st.integers(0, max(len(result) - 1, 0)))
        match draw(st.sampled_from(["change", "remove", "double", "insert", "cut"])):
            case "change" if result:
                result[offset] = draw(st.integers(0, 255))
            case "remove":
                del result[offset : offset + draw(st.integers(1, 40))]
            case "double":
                result[offset:offset] = result[offset : offset + draw(st.integers(1, 600))]
            case "insert":
                result[offset:offset] = draw(
                    st.one_of(
                        st.binary(max_size=8),
                        st.sampled_from([b"\n", b"\n\n", b"\0", b"9" * 5000, b"\xff", b"\x1b["]),
                    )
                )
            case "cut":
                del result[offset:]
            case _:
                pass
    return bytes(result)


@pytest.mark.parametrize("name", PARSERS.keys())
def test_damaged_content_gives_a_value_or_our_error(name: str) -> None:
    parse, good = PARSERS[name]
    parse(good)

    @quick
    @given(changed(good))
    def check(content: bytes) -> None:
        tried(parse, content)

    check()


@pytest.mark.parametrize("name", PARSERS.keys())
def test_any_bytes_give_a_value_or_our_error(name: str) -> None:
    parse, _ = PARSERS[name]

    @quick
    @given(st.binary(max_size=2000))
    def check(content: bytes) -> None:
        tried(parse, content)

    check()


@pytest.mark.parametrize("name", TEXTS.keys())
def test_any_text_of_apk_gives_a_value_or_our_error(name: str) -> None:
    word = st.sampled_from(
        ["(1/2) Installing a (1-r0)", "  a (no such package):", "    required by: b[a]", "  ", "\n"]
    )

    @quick
    @given(st.lists(st.one_of(word, st.text(max_size=20))).map("\n".join))
    def check(text: str) -> None:
        tried(lambda _: TEXTS[name](text), b"")

    check()


@quick
@given(st.text(alphabet="0123456789.abr_-~pc", max_size=20))
def test_any_version_sorts_or_is_refused(text: str) -> None:
    try:
        key = version_key(text)
    except ValueError:
        return
    assert sorted([key, key]) == [key, key]


NAMES = st.text(
    st.characters(exclude_categories=["C"], exclude_characters="/"), min_size=1, max_size=120
).filter(lambda name: name not in (".", ".."))


@quick
@given(
    st.lists(
        st.tuples(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=2000)),
        unique_by=lambda file: file[0],
        max_size=4,
    ),
    st.integers(1, 700),
)
def test_our_tar_reader_agrees_with_pythons_for_any_pieces(
    files: list[tuple[str, bytes]], step: int
) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o640, 1_700_000_000
            archive.addfile(entry, io.BytesIO(content))
    raw = written.getvalue()
    pieces = [raw[start : start + step] for start in range(0, len(raw), step)]
    reader = TarReader(pieces, where="tar")
    found = [(m.name, m.mode, m.mtime, b"".join(reader.content())) for m in reader]
    assert found == [(name, 0o640, 1_700_000_000, content) for name, content in files]


@quick
@given(st.binary(max_size=5000), st.integers(0, 9), st.integers(0, 6000))
def test_a_member_is_unpacked_or_refused_by_its_limit(
    content: bytes, level: int, limit: int
) -> None:
    member = gzip_member(content, level=level)
    try:
        assert b"".join(unpacked_pieces(member, 0, limit=limit, where="member")) == content
    except SnowdropError:
        assert len(content) > limit
    else:
        assert len(content) <= limit
