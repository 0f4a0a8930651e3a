"""The files that snowdrop adds to an image, as signed packages with an index.

Three packages: `snowdrop-init` (the service that a droplet runs first, with its settings of sshd
and the network), `snowdrop-release` (the identity of the release) and, when release.toml names an
overlay, `snowdrop-overlay`. Equal arguments and equal files give equal bytes.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from build.apk.writing import Entry, Recipe, SigningKey, derive_key, write_index, write_package
from build.errors import BuildError
from build.firstboot.overlay import overlay_entries
from build.firstboot.removal import removal_scripts

COMMANDS: Mapping[str, str] = {
    "busybox": "addgroup adduser awk base64 busybox cat chmod chown chpasswd cmp cp cut date dd "
    "env find grep gzip head hostname ip ln mkdir mkfifo modprobe mount mountpoint mv "
    "od readlink rm sed setsid sha256sum sleep sync tail timeout tr umount wc",
    "e2fsprogs-extra": "resize2fs",
    "openrc": "after before ebegin eend use",
    "openssh-keygen": "ssh-keygen",
    "openssh-server": "",
    "partx": "partx",
    "sfdisk": "sfdisk",
}
"""External commands of the scripts in `files/`, by the package that brings them."""
OPTIONAL_COMMANDS = ("apk", "iptables", "nft")
"""Commands that a script runs only for what the owner asks of it; apk installed the image."""
DEPENDS = tuple(COMMANDS)
"""Packages that the local packages depend on: `pin` puts them into the closure of each image."""
KEY_NAME = "snowdrop-local.rsa.pub"
KEY_SEED = b"snowdrop local packages"
"""Not a secret: the signatures of the release protect the packages, this one satisfies apk."""

INIT_VERSION = "0.3.0-r0"
"""Increase it when a file in `files/` changes, so that `apk upgrade` replaces the files."""
INIT_DIGEST = "a5bc070a41161a2e9f368dc4291d428736a6b382112037f859824008f348ae0e"
"""SHA-256 of the files of this version; a test compares it and prints the new value."""
FILES = Path(__file__).parent / "files"
INIT_FILES = {
    "etc/conf.d/hwdrivers": 0o644,
    "etc/conf.d/snowdrop-init": 0o644,
    "etc/init.d/snowdrop-init": 0o755,
    "etc/init.d/snowdrop-userdata": 0o755,
    "etc/network/interfaces": 0o644,
    "etc/profile.d/snowdrop.sh": 0o644,
    "etc/rc.conf.d/snowdrop.conf": 0o644,
    "etc/ssh/sshd_config.d/99-snowdrop.conf": 0o644,
    "etc/udhcpc/post-bound/snowdrop-init": 0o755,
    "usr/bin/snowdrop-status": 0o755,
    "usr/libexec/snowdrop-init": 0o755,
    "usr/libexec/snowdrop-init.d/cards.sh": 0o644,
    "usr/libexec/snowdrop-init.d/cloud-config.awk": 0o644,
    "usr/libexec/snowdrop-init.d/cloud-flow.awk": 0o644,
    "usr/libexec/snowdrop-init.d/cloud-scalars.awk": 0o644,
    "usr/libexec/snowdrop-init.d/cloud-config.sh": 0o644,
    "usr/libexec/snowdrop-init.d/cloud-files.sh": 0o644,
    "usr/libexec/snowdrop-init.d/cloud-users.sh": 0o644,
    "usr/libexec/snowdrop-init.d/disk.sh": 0o644,
    "usr/libexec/snowdrop-init.d/drive.sh": 0o644,
    "usr/libexec/snowdrop-init.d/identity.sh": 0o644,
    "usr/libexec/snowdrop-init.d/json.awk": 0o644,
    "usr/libexec/snowdrop-init.d/keys.sh": 0o644,
    "usr/libexec/snowdrop-init.d/metadata.sh": 0o644,
    "usr/libexec/snowdrop-init.d/mime.awk": 0o644,
    "usr/libexec/snowdrop-init.d/mime.sh": 0o644,
    "usr/libexec/snowdrop-init.d/network.sh": 0o644,
    "usr/libexec/snowdrop-init.d/script.sh": 0o644,
    "usr/libexec/snowdrop-init.d/settings.sh": 0o644,
    "usr/libexec/snowdrop-init.d/userdata.sh": 0o644,
    "usr/libexec/snowdrop-init.d/words.sh": 0o644,
}
"""Mode by path. Written out: a checkout may lose the executable bit."""
INIT_SERVICES = ("snowdrop-init", "snowdrop-userdata")
DIGESTS = "usr/share/snowdrop/files"
"""List of the files of snowdrop-init that an owner may change."""
REACHED_BY = ("etc/network/interfaces", "etc/ssh/sshd_config.d/99-snowdrop.conf")
"""Files without which nobody can log in: they stay when the package is removed."""
OVERLAY_STAYS = ("etc/", "root/")
"""Files of an overlay in these folders stay when it is removed: they may be keys or addresses."""
INIT_FOLDERS = {"etc/snowdrop/authorized_keys": 0o755, "var/lib/snowdrop": 0o700}
"""sshd does not trust keys in a folder that others may write (sshd_config(5), StrictModes)."""

RELEASE_VERSION = re.compile(
    r"[A-Za-z.-]*(?P<numbers>\d+(?:\.\d+)*)(?P<dirty>-dirty)?", flags=re.ASCII
)
WORD = re.compile(r"[A-Za-z0-9._+-]*", flags=re.ASCII)
"""A value in /etc/snowdrop-release that needs no quotes in a shell."""
PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*-[0-9][A-Za-z0-9._~]*-r[0-9]+", flags=re.ASCII)
"""Name and version (apk-tools, apk-package(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPackages:
    """The repository of the local packages."""

    packages: tuple[tuple[str, bytes], ...]
    """File name such as `snowdrop-init-0.1.0-r0.apk`, and its bytes; sorted by name."""
    index: bytes
    """APKINDEX.tar.gz of these packages, signed with the same key."""
    key_name: str
    """File name of the public key."""
    public_pem: bytes
    versions: Mapping[str, str]
    """By name, as in `1.2-r0`."""


def local_packages(
    *,
    variant: str,
    version: str,
    branch: str,
    arch: str,
    epoch: int,
    commit: str,
    lock_id: str,
    overlay: Path | None,
    replaces: Iterable[str] = (),
    locked: Sequence[str] = (),
) -> LocalPackages:
    """Return the packages for the image `variant` of release `version`.

    `epoch`, in seconds since 1970, is the time of every file. `overlay` is the folder of the
    maintainer's files; they replace files of snowdrop-init and of the packages in `replaces`.
    `locked` are the image's other packages as `NAME-VERSION`; unless it is empty, they and the
    local packages become the list that `snowdrop-status` compares with.

    Raises:
        ConfigError: the folder `overlay` does not exist.
        BuildError: a value or a file cannot be in a package; the message names it.
    """
    release = _apk_version(version)
    recipe = partial(Recipe, arch=arch, epoch=epoch, commit=commit)
    recipes = [_init_recipe(recipe)]
    if overlay is not None:
        recipes.append(_overlay_recipe(recipe, release, overlay, replaces))
    identity = _release_file(
        NAME="snowdrop",
        VARIANT=variant,
        VERSION=version,
        BRANCH=branch,
        ARCH=arch,
        COMMIT=commit,
        LOCK=lock_id,
        EPOCH=str(epoch),
    )
    own = [f"snowdrop-release-{release}", *(f"{each.name}-{each.version}" for each in recipes)]
    recipes.append(
        recipe(
            name="snowdrop-release",
            version=release,
            description="Which release this system was installed from",
            entries=(identity, *([_locked_file([*locked, *own])] if locked else [])),
        )
    )
    return _repository(recipes, f"snowdrop {version}")


def _init_recipe(recipe: Callable[..., Recipe]) -> Recipe:
    files = [
        Entry(path, mode, "file", content=(FILES / path).read_bytes())
        for path, mode in INIT_FILES.items()
    ]
    return recipe(
        name="snowdrop-init",
        version=INIT_VERSION,
        description="Makes the system the droplet that it runs on",
        license="Apache-2.0",
        depends=DEPENDS,
        scripts=removal_scripts(REACHED_BY, INIT_SERVICES),
        entries=(
            *files,
            Entry(DIGESTS, 0o644, "file", content=format_digests().encode()),
            *(Entry(path, mode, "dir") for path, mode in INIT_FOLDERS.items()),
        ),
    )


def format_digests() -> str:
    """Return the files of snowdrop-init in /etc with their sha256, as sha256sum(1) prints them.

    `snowdrop-status` names the ones that the owner changed.
    """
    return "".join(
        f"{hashlib.sha256((FILES / path).read_bytes()).hexdigest()}  /{path}\n"
        for path in INIT_FILES
        if path.startswith("etc/")
    )


def _overlay_recipe(
    recipe: Callable[..., Recipe], release: str, overlay: Path, replaces: Iterable[str]
) -> Recipe:
    entries = overlay_entries(overlay)
    stays = [
        entry.path
        for entry in entries
        if entry.kind == "file" and entry.path.startswith(OVERLAY_STAYS)
    ]
    return recipe(
        name="snowdrop-overlay",
        version=release,
        description="Files of the image's maintainer",
        license="custom",
        replaces=tuple(sorted({"snowdrop-init", *replaces})),
        depends=("busybox",),
        scripts=removal_scripts(stays),
        entries=entries,
    )


def _repository(recipes: list[Recipe], description: str) -> LocalPackages:
    key = local_key()
    recipes = sorted(recipes, key=lambda recipe: recipe.name)
    packages = [(f"{one.name}-{one.version}.apk", write_package(one, key)) for one in recipes]
    return LocalPackages(
        packages=tuple(packages),
        index=write_index([content for _, content in packages], key, description),
        key_name=KEY_NAME,
        public_pem=key.public_pem(),
        versions={recipe.name: recipe.version for recipe in recipes},
    )


@cache
def local_key() -> SigningKey:
    """Return the key of the local packages and of subsets of indexes."""
    return derive_key(KEY_SEED, KEY_NAME)


def _release_file(**values: str) -> Entry:
    for key, value in values.items():
        if not WORD.fullmatch(value):
            raise BuildError(
                f"/etc/snowdrop-release: {key} = {value!r}, expected letters, digits and ._+-"
            )
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    return Entry("etc/snowdrop-release", 0o644, "file", content=text.encode())


def _locked_file(names: Iterable[str]) -> Entry:
    lines = sorted(set(names))
    for line in lines:
        if not PACKAGE.fullmatch(line):
            raise BuildError(f"locked package {line!r}: expected NAME-VERSION such as musl-1.2-r0")
    text = "".join(f"{line}\n" for line in lines)
    return Entry("usr/share/snowdrop/locked", 0o644, "file", content=text.encode())


def _apk_version(version: str) -> str:
    """Return a release's version in the form that apk compares (apk-tools, apk-package(5)).

    Packages of a dirty tree are older than those of the clean release of that name, so that
    `apk upgrade` replaces them.

    >>> _apk_version("v3.24.20261123.1"), _apk_version("edge.20261123-dirty")
    ('3.24.20261123.1-r0', '20261123_pre-r0')
    """
    match = RELEASE_VERSION.fullmatch(version)
    if match is None:
        raise BuildError(f"release {version!r}: expected a version such as v3.24.20261123.1")
    return match["numbers"] + ("_pre" if match["dirty"] else "") + "-r0"
