"""Packages in the forms of other writers: those that a real apk installs, and those it does not."""

import hashlib
import tarfile
from collections.abc import Callable, Sequence

from tests.apk.foreign import (
    ARCH,
    ENDING,
    Form,
    Item,
    folder,
    hard_link,
    index,
    link,
    named_gzip,
    record,
    sign,
    write,
)

TEXT = b"hello"
SHA1 = hashlib.sha1(TEXT).hexdigest()  # noqa: S324


def files(name: str, *more: Item, dot: str = "", checksum: str = "content") -> tuple[Item, ...]:
    """Return a folder of the package's own with one file, and `more`."""
    own = f"{dot}opt/{name}"
    return (
        folder(f"{dot}opt"),
        folder(own),
        Item(f"{own}/f", content=TEXT, checksum=checksum),
        *more,
    )


def form(*more: Item, **other: object) -> Callable[[str], Form]:
    """Return the form of a package with `more` in it; `NAME` in a path is the package's name."""

    def named(name: str) -> Form:
        items = [
            Item(
                **{
                    **vars(item),
                    "path": item.path.replace("NAME", name),
                    "target": item.target.replace("NAME", name),
                }
            )
            for item in more
        ]
        return Form(items=files(name, *items), **other)  # type: ignore[arg-type]

    return named


def only(*items: Item, **other: object) -> Callable[[str], Form]:
    """Return the form of a package with these items and no others."""
    return lambda name: Form(items=form(*items)(name).items[3:], **other)  # type: ignore[arg-type]


COMMENT = Item("pax_global_header", b"g", b"19 comment=1234567\n", checksum="none")
LONG = f"opt/NAME/{'d' * 90}"
FORMS: dict[str, Callable[[str], Form]] = {
    "abuild": form(link("opt/NAME/l", "f"), hard_link("opt/NAME/h", "opt/NAME/f")),
    "symlink-empty": form(link("opt/NAME/l", "f", "empty")),
    "hardlink-content": form(hard_link("opt/NAME/h", "opt/NAME/f", SHA1)),
    "hardlink-empty": form(hard_link("opt/NAME/h", "opt/NAME/f", "empty")),
    "licenses": form(info=("license = MIT", "license = BSD-3-Clause OR ISC")),
    "gzip-name": form(gzip=named_gzip),
    "root-entry": lambda name: Form(items=(folder("./"), *files(name))),
    "dot-entries": form(folder("./opt"), Item("./opt/left-out", content=b"x"), Item(".hidden")),
    "folder-twice": form(folder("opt"), folder("opt/NAME", 0o711)),
    "folder-twice-owner": form(folder("opt/NAME", 0o750)),
    "noarch-folder": form(arch="noarch"),
    "noarch-rewritten": form(arch="noarch", indexed_arch=ARCH),
    "description-tab": form(description=b"one\ttwo"),
    "description-latin1": form(description=b"caf\xe9"),
    "two-signatures": form(sign=lambda content: [sign(content, key="old.rsa.pub"), sign(content)]),
    "sha256": form(sign=lambda content: [sign(content, kind="RSA256")]),
    "sha512": form(sign=lambda content: [sign(content, kind="RSA512")]),
    "no-end-blocks": form(data_end=b""),
    "many-end-blocks": form(data_end=bytes(10240)),
    "one-zero-block": form(control_end=bytes(512)),
    "long-names": form(folder(LONG), Item(f"{LONG}/{'g' * 150}", content=b"far down")),
    "global-comment": lambda name: Form(items=(COMMENT, *files(name))),
    "pax-times": form(
        Item("opt/NAME/t", pax={"mtime": "1690000000.25", "atime": "1", "ctime": "1.5"})
    ),
    "checksum-upper-case": form(Item("opt/NAME/u", content=TEXT, checksum=SHA1.upper())),
    "numeric-owner": form(Item("opt/NAME/o", owner="")),
    "unknown-owner": form(Item("opt/NAME/o", owner="nobody-knows")),
    "empty": lambda name: Form(),
    "size-0-empty": lambda name: Form(size=0),
    "top-level": only(Item("NAME-file", content=TEXT)),
}
"""What a real apk installs without an error, by name of the package."""

SCRIPT = Item(".post-install", content=b"#!/bin/sh\nexit 0\n", mode=0o755, checksum="none")
REFUSED: dict[str, tuple[Callable[[str], Form], str]] = {
    "no-checksum": (form(Item("opt/NAME/n", checksum="none")), "'opt/NAME/n': no APK-TOOLS"),
    "symlink-no-checksum": (form(link("opt/NAME/l", "f", "none")), "'opt/NAME/l': no APK-TOOLS"),
    "gnu-format": (form(format=tarfile.GNU_FORMAT), "'opt/NAME/f': no APK-TOOLS"),
    "hardlink-of-symlink": (
        form(link("opt/NAME/l", "f"), hard_link("opt/NAME/h", "opt/NAME/l")),
        "a hard link to a symbolic link",
    ),
    "no-folder": (only(Item("opt/NAME/f", content=TEXT)), "its folder is not in the package"),
    "folder-later": (
        only(Item("opt/NAME/f", content=TEXT), folder("opt"), folder("opt/NAME")),
        "its folder is not in the package before it",
    ),
    "control-end": (form(control_end=ENDING), "control member: end-of-archive blocks"),
    "size-0": (form(size=0), "installed size 0 in the index: apk would leave out its 1 file "),
    "size-0-script": (lambda name: Form(size=0, scripts=(SCRIPT,)), "0 files and 1 script"),
    "file-twice": (form(Item("opt/NAME/f", content=b"other")), "'opt/NAME/f': repeated"),
    "absolute": (only(folder("/opt"), Item("/opt/f")), "expected a path below the root"),
    "hardlink-absolute": (
        form(hard_link("opt/NAME/h", "/opt/NAME/f")),
        "expected a path below the root",
    ),
    "double-slash": (form(Item("opt//NAME/g")), "expected a path below the root"),
}
"""What a real apk installs with errors, in part or not at all, and why pin refuses it."""

STRICTER: dict[str, tuple[Callable[[str], Form], str]] = {
    "wrong-checksum": (form(Item("opt/NAME/w", checksum="0" * 40)), "sha1 da39a3ee"),
    "wrong-symlink": (form(link("opt/NAME/l", "f", "0" * 40)), "its header says 0000"),
    "wrong-hardlink": (
        form(hard_link("opt/NAME/h", "opt/NAME/f", "0" * 40)),
        "its header says 0000",
    ),
    "url-twice": (form(info=("url = a", "url = b")), "url 2 times in .PKGINFO"),
    "escape": (form(description=b"a\x1b[2J"), "a control character"),
    "device": (form(Item("opt/NAME/d", tarfile.CHRTYPE, checksum="none")), "a device"),
    "outside": (form(Item("../outside", content=TEXT)), "expected a path below the root"),
    "control-file": (form(Item(".PKGINFO", content=TEXT)), "apk treats as a control file"),
    "global-path": (
        form(Item("g", b"g", b"15 path=etc/no\n", checksum="none")),
        "global pax records other than a comment",
    ),
}
"""What apk 2.14 installs, and Snowdrop refuses on purpose."""


def record_of(name: str, made: Form, package: bytes) -> bytes:
    """Return the record of an index, with a description that cannot break the index itself."""
    if b"\x1b" in made.description:
        made = Form(**{**vars(made), "description": b"plain"})
    return record(name, made, package)


def repository(names: Sequence[str], table: dict[str, Callable[[str], Form]]) -> dict[str, bytes]:
    """Return the files of a repository by path below it."""
    content, records = {}, []
    for name in names:
        made = table[name](name)
        package = write(name, made)
        content[f"{made.indexed_arch or made.arch}/{name}-1-r0.apk"] = package
        records.append(record_of(name, made, package))
    return {**content, f"{ARCH}/APKINDEX.tar.gz": index(records)}
