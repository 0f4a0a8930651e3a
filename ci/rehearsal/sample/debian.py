"""Debian's packages through a private apt root, verified with the host's Debian keyring.

Of the host's apt only the address of its Debian mirror (see `mirror`) and its proxy are used;
its lists, cache and installed packages are neither read nor changed. Downloaded packages are kept
and used again without a request to the mirror: remove the folder to get the newest packages.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build.edges.files import hash_file, write_file
from build.edges.process import PLAIN, run
from build.edges.progress import Progress
from build.errors import ConfigError, MissingToolError, RemoteError, SnowdropError
from build.tables import refuse_userinfo
from ci.rehearsal.sample.mirror import MIRROR_OPTION, mirror_of_host
from ci.rehearsal.sample.recipes import KERNEL, Table

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RECORD = "fetched.json"
"""Names, versions and digests of the kept packages: written last, when all are complete."""
SUFFIXES = {"alpha", "beta", "pre", "rc"}


@dataclass(frozen=True, slots=True)
class Deb:
    """One downloaded and verified Debian package."""

    name: str
    """As in recipes.toml: KERNEL for the kernel."""
    version: str
    sha256: str
    path: Path


def apk_version(debian: str) -> str:
    """Return Debian's version as a version of apk, in the same order.

    The leading numbers stay; each number after them becomes a separate `_p`, so that a
    longer revision is newer; Debian's epoch is dropped, `~` makes the rest older
    (deb-version(7)).

    >>> apk_version("1:10.0p1-7+deb13u1")
    '10.0_p1_p7_p13_p1-r0'
    >>> apk_version("1.2.3-4+deb12u1")
    '1.2.3_p4_p12_p1-r0'
    >>> apk_version("2.0~rc1-1")
    '2.0_rc1_p1-r0'
    """
    text = debian.partition(":")[2] if ":" in debian else debian
    head = re.match(r"\d+(?:\.\d+)*", text)
    numbers = head.group() if head else "0"
    parts = []
    for before, word, digits in re.findall(r"([-+~._]*)([A-Za-z]*)(\d+)", text[len(numbers) :]):
        suffix = word if word in SUFFIXES else "pre" if "~" in before else "p"
        parts.append(f"_{suffix}{int(digits)}")
    return f"{numbers}{''.join(parts)}-r0"


def fetch(table: Table, folder: Path, *, mirror: str | None, progress: Progress) -> list[Deb]:
    """Return the packages that the table names, from `folder` or else from the mirror.

    Raises:
        MissingToolError: apt, dpkg-deb or the keyring is absent.
        ConfigError: no mirror is known.
        RemoteError: the mirror does not respond, or its signature is invalid.
    """
    kept = _read_record(table, folder)
    if kept:
        return kept
    if not KEYRING.is_file():
        hint = "install it with `apt-get install debian-archive-keyring`"
        raise MissingToolError(f"{KEYRING}: no such file", hint=hint)
    mirror = mirror or mirror_of_host(table.suite)
    refuse_userinfo("the Debian mirror", mirror)
    environment = _private_root(table, folder / "apt", mirror)
    with progress.step("Update the Debian package lists"):
        _remote("update", environment=environment, cwd=folder)
    names = {name: name for name in table.sources if name != KERNEL}
    names[KERNEL] = _kernel_name(table.kernel, environment)
    debs = folder / "debs"
    (folder / RECORD).unlink(missing_ok=True)
    shutil.rmtree(debs, ignore_errors=True)
    debs.mkdir()
    with progress.step(f"Fetch {len(names)} Debian packages"):
        _remote("download", *sorted(names.values()), environment=environment, cwd=debs)
    found = [_read_deb(name, debian, debs) for name, debian in sorted(names.items())]
    _write_record(found, folder)
    return found


def _read_record(table: Table, folder: Path) -> list[Deb]:
    """Return the packages of an earlier run; nothing when a package is missing or changed."""
    try:
        rows = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        debs = [
            Deb(name, row["version"], row["sha256"], folder / row["file"])
            for name, row in rows.items()
        ]
        unchanged = all(hash_file(deb.path).sha256 == deb.sha256 for deb in debs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return debs if unchanged and {deb.name for deb in debs} == set(table.sources) else []


def _write_record(debs: Sequence[Deb], folder: Path) -> None:
    rows = {
        deb.name: {
            "file": str(deb.path.relative_to(folder)),
            "sha256": deb.sha256,
            "version": deb.version,
        }
        for deb in debs
    }
    text = json.dumps(rows, indent=2, sort_keys=True) + "\n"
    write_file(folder / RECORD, text.encode())


def _private_root(table: Table, root: Path, mirror: str) -> dict[str, str]:
    """Make an apt root that shares nothing with the host's, and return the environment for it."""
    if not re.fullmatch(r"(?:https?|file)://[^\s\"\[\]]+", mirror):
        raise ConfigError(f"Debian mirror {mirror!r}, expected a URL", hint=MIRROR_OPTION)
    for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    status, sources, settings = root / "status", root / "sources.list", root / "apt.conf"
    # An empty list of installed packages in place of the host's.
    status.write_bytes(b"")
    sources.write_text(f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {table.suite} main\n")
    values = {
        "Dir": root,
        "Dir::State": root / "state",
        "Dir::State::status": status,
        "Dir::Cache": root / "cache",
        "Dir::Etc": root / "etc",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        # As root, apt downloads as the user _apt, who may not write into this folder.
        "APT::Sandbox::User": "root",
    }
    # The host's settings for reaching a mirror, such as a proxy.
    dump = ["dump", "--no-empty", "--format", '%F "%v";%n', "Acquire::http", "Acquire::https"]
    own = "".join(f'{key} "{value}";\n' for key, value in values.items())
    settings.write_text(own + run(["apt-config", *dump]).text)
    return {**PLAIN, "APT_CONFIG": str(settings)}


def _kernel_name(meta: str, environment: Mapping[str, str]) -> str:
    """Return the package that the meta package `meta` depends on at present."""
    words = ["apt-cache", "show", "--no-all-versions", meta]
    text = run(words, environment=environment).text
    found = re.search(r"^Depends:.*?\b(linux-image-\S+)", text, re.MULTILINE)
    if not found:
        raise SnowdropError(f"{meta}: depends on no linux-image, expected one")
    return found.group(1)


def _read_deb(name: str, debian: str, folder: Path) -> Deb:
    """Return the file of the package `debian`, whose digest apt has verified."""
    files = list(folder.glob(f"{debian}_*.deb"))
    if len(files) != 1:
        raise RemoteError(f"{debian}: apt downloaded {len(files)} files, expected one")
    version = run(["dpkg-deb", "--field", str(files[0]), "Version"]).text.strip()
    return Deb(name, version, hash_file(files[0]).sha256, files[0])


def _remote(*words: str, environment: Mapping[str, str], cwd: Path) -> None:
    try:
        _apt(*words, environment=environment, cwd=cwd)
    except MissingToolError:
        raise
    except SnowdropError as error:
        raise RemoteError(f"Debian mirror: {error}", hint=MIRROR_OPTION) from None


def _apt(*words: str, environment: Mapping[str, str], cwd: Path | None = None) -> str:
    # Without Error-Mode=any, `update` ends with 0 though a signature is invalid.
    options = ["-qq", "-o", "APT::Update::Error-Mode=any"]
    try:
        return run(["apt-get", *options, *words], environment=environment, cwd=cwd).text
    except MissingToolError:
        raise MissingToolError(
            "apt-get: no such program on this machine",
            hint="rehearse on Debian or Ubuntu",
        ) from None
