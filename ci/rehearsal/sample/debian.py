"""Debian's packages in a private apt root: checked by the host's own Debian keyring.

Nothing of the host's apt is used but the address of its Debian mirror; its lists, its cache
and its installed packages are neither read nor changed. What was fetched once is kept and
used again without asking the mirror: remove the folder to get the packages of today.
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
from ci.rehearsal.sample.recipes import KERNEL, Table

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
KEYRING_HINT = "install it with `apt-get install debian-archive-keyring`"
MIRROR_OPTION = "name a mirror with `--debian-mirror URL` or SNOWDROP_DEBIAN_MIRROR"
TARGETS = "$(ORIGIN)\t$(CREATED_BY)\t$(COMPONENT)\t$(REPO_URI)\t$(CODENAME)"
NAMES = "fetched.json"
"""What the kept packages are: written last, when all are there."""
SUFFIXES = {"alpha", "beta", "pre", "rc"}


@dataclass(frozen=True, slots=True)
class Deb:
    """One Debian package that was fetched and checked."""

    name: str
    """As recipes.toml calls it: KERNEL for the kernel."""
    version: str
    sha256: str
    path: Path


def apk_version(debian: str) -> str:
    """Return Debian's version as a version of apk.

    The leading numbers stay; each number behind them becomes a `_p` of its own, so that a
    longer revision is newer; Debian's epoch goes, `~` makes what follows older.

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


def mirror_of_host() -> str:
    """Return the address of the Debian mirror that the host's own apt uses.

    Raises:
        MissingToolError: the host has no apt.
        ConfigError: its apt knows no Debian mirror, as on Ubuntu.
    """
    lines = _apt("indextargets", "--format", TARGETS, environment=PLAIN).splitlines()
    for line in sorted(set(lines)):
        origin, created_by, component, uri, codename = line.split("\t")
        if (origin, created_by, component) == ("Debian", "Packages", "main") and re.fullmatch(
            "[a-z]+", codename
        ):
            return uri.rstrip("/")
    raise ConfigError("apt: no Debian mirror in its sources, expected one", hint=MIRROR_OPTION)


def fetch(table: Table, folder: Path, *, mirror: str | None, progress: Progress) -> list[Deb]:
    """Return the packages that the table names, from `folder` or else from the mirror.

    Raises:
        MissingToolError: apt, dpkg-deb or the keyring is absent.
        ConfigError: there is no mirror to ask.
        RemoteError: the mirror does not answer, or its signature does not hold.
    """
    kept = _kept(table, folder)
    if kept:
        return kept
    if not KEYRING.is_file():
        raise MissingToolError(f"{KEYRING}: no such file", hint=KEYRING_HINT)
    environment = _private_root(table, folder / "apt", mirror or mirror_of_host())
    with progress.step("Ask the Debian mirror"):
        _remote("update", environment=environment, cwd=folder)
    names = {name: name for name in table.sources if name != KERNEL}
    names[KERNEL] = _kernel_name(table.kernel, environment)
    debs = folder / "debs"
    (folder / NAMES).unlink(missing_ok=True)
    shutil.rmtree(debs, ignore_errors=True)
    debs.mkdir()
    with progress.step(f"Fetch {len(names)} Debian packages"):
        _remote("download", *sorted(names.values()), environment=environment, cwd=debs)
    found = [_deb(name, debian, debs) for name, debian in sorted(names.items())]
    _keep(found, folder)
    return found


def _kept(table: Table, folder: Path) -> list[Deb]:
    """Return what an earlier run fetched, nothing when it is not all there and unchanged."""
    try:
        rows = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        debs = [
            Deb(n, row["version"], row["sha256"], folder / row["file"]) for n, row in rows.items()
        ]
        whole = all(hash_file(deb.path).sha256 == deb.sha256 for deb in debs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return debs if whole and {deb.name for deb in debs} == set(table.sources) else []


def _keep(debs: Sequence[Deb], folder: Path) -> None:
    rows = {
        deb.name: {
            "file": str(deb.path.relative_to(folder)),
            "sha256": deb.sha256,
            "version": deb.version,
        }
        for deb in debs
    }
    text = json.dumps(rows, indent=2, sort_keys=True) + "\n"
    write_file(folder / NAMES, text.encode())


def _private_root(table: Table, root: Path, mirror: str) -> dict[str, str]:
    """Make an apt root that shares nothing with the host's, and return the environment for it."""
    if not re.fullmatch(r"(?:https?|file)://[^\s\"\[\]]+", mirror):
        raise ConfigError(f"Debian mirror {mirror!r}, expected a URL", hint=MIRROR_OPTION)
    for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    status, sources, settings = root / "status", root / "sources.list", root / "apt.conf"
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
        # apt would fetch as its own user, who may not write here.
        "APT::Sandbox::User": "root",
    }
    written = "".join(f'{key} "{value}";\n' for key, value in values.items())
    settings.write_text(written + _proxies_of_host())
    return {**PLAIN, "APT_CONFIG": str(settings)}


def _proxies_of_host() -> str:
    """Return the host's own settings of how a mirror is reached, such as a proxy."""
    words = ["dump", "--no-empty", "--format", '%F "%v";%n', "Acquire::http", "Acquire::https"]
    return run(["apt-config", *words]).text


def _kernel_name(meta: str, environment: Mapping[str, str]) -> str:
    """Return the package that the meta package `meta` depends on today."""
    shown = run(["apt-cache", "show", "--no-all-versions", meta], environment=environment).text
    found = re.search(r"^Depends:.*?\b(linux-image-\S+)", shown, re.MULTILINE)
    if not found:
        raise SnowdropError(f"{meta}: depends on no linux-image, expected one")
    return found.group(1)


def _deb(name: str, debian: str, folder: Path) -> Deb:
    """Return the file of the package `debian`, whose digest apt has checked."""
    files = list(folder.glob(f"{debian}_*.deb"))
    if len(files) != 1:
        raise RemoteError(f"{debian}: apt fetched {len(files)} files, expected one")
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
    # Error-Mode: without it `update` ends with 0 though a signature does not hold.
    options = ["-qq", "-o", "APT::Update::Error-Mode=any"]
    try:
        return run(["apt-get", *options, *words], environment=environment, cwd=cwd).text
    except MissingToolError:
        raise MissingToolError(
            "apt-get: no such program on this machine",
            hint="rehearse on Debian or Ubuntu, or with `--repository` and a builder of your own",
        ) from None
