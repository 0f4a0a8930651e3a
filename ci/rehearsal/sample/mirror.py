"""The Debian mirror of this host: that of its own apt, or the one that debootstrap comes with.

On Debian, apt's sources name a mirror. Other distributions of the family have the package
debootstrap, whose scripts name Debian's own; no address of a mirror is written down here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from build.edges.process import PLAIN, run
from build.errors import ConfigError, MissingToolError

MIRROR_OPTION = "name a mirror with `--debian-mirror URL` or SNOWDROP_DEBIAN_MIRROR"
DEBOOTSTRAP = "run `sudo apt-get install debootstrap debian-archive-keyring`"
TARGETS = "$(ORIGIN)\t$(CREATED_BY)\t$(COMPONENT)\t$(REPO_URI)\t$(CODENAME)"
SCRIPTS = Path("usr/share/debootstrap/scripts")
PROGRAM = Path("usr/sbin/debootstrap")
SUITE_OF_ALL = "sid"
"""debootstrap's script of every Debian release; a newer release than it has no script."""
NAMED = re.compile(
    r'^\s*(?:default_mirror\s+|DEF_MIRROR=)"?(https?://[^\s"]+?/debian)/?"?\s*$', re.M
)
"""A mirror of Debian: the same package names Ubuntu's for Ubuntu's releases."""


def mirror_of_host(
    suite: str, *, root: Path = Path("/"), environment: Mapping[str, str] = PLAIN
) -> str:
    """Return the address of a Debian mirror that this host names, without a slash at its end.

    `suite` is the release of Debian that is wanted; `root` and `environment` are those of the
    host's packages and of its apt.

    Raises:
        MissingToolError: the host has no apt.
        ConfigError: neither its apt nor a debootstrap names a Debian mirror.
    """
    found = [*mirrors_of_apt(_targets(environment)), *mirrors_of_debootstrap(suite, root)]
    if not found:
        hint = f"{DEBOOTSTRAP}, or {MIRROR_OPTION}"
        raise ConfigError("no Debian mirror in apt's sources, and no debootstrap", hint=hint)
    return found[0]


def mirrors_of_apt(targets: Iterable[str]) -> Iterator[str]:
    """Yield the Debian mirrors in lines that `apt-get indextargets` printed by TARGETS."""
    for line in sorted(set(targets)):
        origin, created_by, component, uri, codename = line.split("\t")
        is_main = (origin, created_by, component) == ("Debian", "Packages", "main")
        # A suite such as trixie-security has another archive.
        if is_main and re.fullmatch("[a-z]+", codename):
            yield uri.rstrip("/")


def mirrors_of_debootstrap(suite: str, root: Path) -> Iterator[str]:
    """Yield the mirrors that an installed debootstrap names: its script of `suite` first."""
    for path in (SCRIPTS / suite, SCRIPTS / SUITE_OF_ALL, PROGRAM):
        if (root / path).is_file():
            yield from NAMED.findall((root / path).read_text(encoding="utf-8", errors="replace"))


def _targets(environment: Mapping[str, str]) -> list[str]:
    words = ["apt-get", "-qq", "indextargets", "--format", TARGETS]
    try:
        return run(words, environment=environment).text.splitlines()
    except MissingToolError:
        raise MissingToolError(
            "apt-get: no such program on this machine", hint="rehearse on Debian or Ubuntu"
        ) from None
