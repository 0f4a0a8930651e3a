"""README.txt of an archive: how to check it and install from it with plain apk.

Its text is part of the archive's bytes, so changing it changes the digest of every archive.
"""

import textwrap
from collections.abc import Sequence

from build.snapshot.lock import Lock, LockedPackage

OWN_CLOSURES = ("apk", "builder")
"""Closures that are not an image."""
STATIC = "apk-tools-static"


def readme(lock: Lock, repositories: Sequence[str]) -> bytes:
    """Return README.txt for the archive of `lock`; equal locks give equal bytes.

    `repositories`: the folder of each repository of the lock, as apk accepts it. Lines that
    are indented by four spaces are commands, to be run in this order.
    """
    image = [
        folder
        for folder, repository in zip(repositories, lock.repositories, strict=True)
        if repository.role == "image"
    ]
    parts = [_head(lock), CHECK]
    if "apk" in lock.closures:
        parts.append(_apk(lock, repositories))
    variants = [name for name in lock.closures if name not in OWN_CLOSURES]
    parts += [_install(lock, variant, image) for variant in variants]
    return ("\n".join([*parts, REBUILD]) + "\n").encode()


def _head(lock: Lock) -> str:
    served = "".join(
        f"  {_line(repository.url)}\n"
        f"  ({_line(repository.description)}, index signed by {repository.key})\n"
        for repository in lock.repositories
    )
    counts = ", ".join(f"{name} {len(lock.closure(name))}" for name in lock.closures)
    return f"""\
SNAPSHOT {lock.id}

Everything that images of {lock.branch} ({lock.arch}) were made of, as the mirrors served it:
{served}
Packages: {counts}.

  release.lock             the list of all this, with the SHA-256 of each file
  snapshot.sha256          the same for sha256sum
  image/, builder/         repositories of apk: index as signed, and the packages that were used
  keys/                    the public keys that signed the indexes
  trust/trusted_root.json  if it is there: the sigstore trust root of the day of the release

The indexes name more packages than are here: these are all that the images need, no others.

Commands are for a shell in the folder where this file lies.
"""


def _line(text: str) -> str:
    """Return `text` on one line, since an indented line would be a command."""
    return " ".join(text.split())


def _apk(lock: Lock, repositories: Sequence[str]) -> str:
    unpack = "".join(
        f"    tar -xzf {repositories[package.repository]}/{lock.arch}/{package.file} -C apk\n"
        for package in lock.closure("apk")
    )
    return f"""\
GET APK

Without an apk of your own take the one that made the choice ({lock.apk_version}). tar may say
that it does not know the keyword APK-TOOLS.checksum.SHA1, which does not matter.

    mkdir apk
{unpack}    apk="{_program(lock)}"
    $apk --version

With one of your own, `apk=apk` will do.
"""


def _program(lock: Lock) -> str:
    if any(package.name == STATIC for package in lock.closure("apk")):
        return "./apk/sbin/apk.static"
    return f"./apk/lib/ld-musl-{lock.arch}.so.1 --library-path apk/lib apk/sbin/apk"


def _install(lock: Lock, variant: str, repositories: Sequence[str]) -> str:
    names = textwrap.fill(
        " ".join(_wanted(package, lock) for package in lock.closure(variant)),
        width=90,
        initial_indent=" " * 8,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\n", " \\\n")
    options = "".join(f'        --repository "$PWD/{folder}" \\\n' for folder in repositories)
    listed, none = "", "/dev/null"
    if lock.mixed:
        # A package that several indexes list is beside the first of them. apk 2 and apk 3 agree
        # on the order only of the lines of a file, not of --repository options.
        lines = " ".join(f'"$PWD/{folder}"' for folder in repositories)
        options, none = "", '"$PWD/repositories"'
        listed = f"    printf '%s\\n' {lines} > repositories\n"
    return f"""\
INSTALL THE PACKAGES OF {variant.upper()}

As root, since packages give files to users and run scripts; without any network.

    mkdir {variant}
{listed}    $apk --arch {lock.arch} --root "$PWD/{variant}" --initdb --keys-dir "$PWD/keys" \\
{options}        --repositories-file {none} --no-network --no-cache --no-progress add \\
{names}
"""


def _wanted(package: LockedPackage, lock: Lock) -> str:
    """Return the argument for apk, with the version if a newer index may have another."""
    return f"{package.name}={package.version}" if lock.mixed else package.name


CHECK = """\
CHECK IT

The SHA-256 of the archive stands in SHA256SUMS of its release, which is signed. Check that
first: a list inside the archive can only tell whether a disk or a download damaged it.

    sha256sum -c --quiet snapshot.sha256
"""
REBUILD = """\
BUILD THE IMAGE AGAIN

In a checkout of the tag that this archive was released under, no mirror is asked:
`nox -s build -- --snapshot ARCHIVE`. And `nox -s pin -- --from ARCHIVE` verifies every
signature anew and writes the same release.lock."""
