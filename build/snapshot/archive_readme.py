"""README.txt of an archive: how to check it and install from it with plain apk.

The text is in archive_readme.txt and filled in here. It is part of the archive's bytes, so
changing it changes the digest of every archive.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from build.apk.index import package_folder
from build.snapshot.lock import Lock

SEPARATOR = "----\n"
"""Between the sections of the text: head, check, get apk, install, build again."""
OWN_CLOSURES = ("apk", "builder")
"""Closures that are not an image."""
STATIC = "apk-tools-static"


def readme(lock: Lock, repositories: Sequence[str]) -> bytes:
    """Return README.txt for the archive of `lock`; equal locks give equal bytes.

    `repositories`: the folder of each repository of the lock, as apk accepts it. Lines that
    are indented by four spaces are commands, to be run in this order.
    """
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    head, check, get_apk, install, rebuild = text.split(SEPARATOR)
    served = [
        f"  {_line(repository.url)}\n"
        f"  ({_line(repository.description)}, index signed by {repository.key})\n"
        for repository in lock.repositories
    ]
    counts = ", ".join(f"{name} {len(lock.closure(name))}" for name in lock.closures)
    names = {"id": lock.id, "branch": lock.branch, "arch": lock.arch, "apk": lock.apk_version}
    parts = [head.format(**names, served="".join(served), counts=counts), check]
    if "apk" in lock.closures:
        own = lock.closure("apk")
        unpack = "".join(
            f"    tar -xzf {repositories[package.repository]}/"
            f"{package_folder(package.arch, lock.arch)}/{package.file} -C apk\n"
            for package in own
        )
        program = f"./apk/lib/ld-musl-{lock.arch}.so.1 --library-path apk/lib apk/sbin/apk"
        if any(package.name == STATIC for package in own):
            program = "./apk/sbin/apk.static"
        parts.append(get_apk.format(**names, unpack=unpack, program=program))
    variants = [name for name in lock.closures if name not in OWN_CLOSURES]
    parts += [_install(install, lock, variant, repositories) for variant in variants]
    return "\n".join([*parts, rebuild]).encode()


def _line(text: str) -> str:
    """Return `text` on one line, since an indented line would be a command."""
    return " ".join(text.split())


def _install(text: str, lock: Lock, variant: str, repositories: Sequence[str]) -> str:
    pairs = zip(repositories, lock.repositories, strict=True)
    folders = [f'"$PWD/{folder}"' for folder, each in pairs if each.role == "image"]
    names = textwrap.fill(
        " ".join(
            # With the version if a newer index may have another.
            f"{package.name}={package.version}" if lock.mixed else package.name
            for package in lock.closure(variant)
        ),
        width=90,
        initial_indent=" " * 8,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\n", " \\\n")
    options = "".join(f"        --repository {folder} \\\n" for folder in folders)
    listed, file = "", "/dev/null"
    if lock.mixed:
        # A package that several indexes list is beside the first of them. apk 2 and apk 3 agree
        # on the order only of the lines of a file, not of --repository options.
        options, file = "", '"$PWD/repositories"'
        listed = f"    printf '%s\\n' {' '.join(folders)} > repositories\n"
    return text.format(
        title=variant.upper(),
        variant=variant,
        arch=lock.arch,
        listed=listed,
        options=options,
        file=file,
        names=names,
    )
