"""Secrets and traces: what no image that is given away may hold, one table of rules.

Some are known by their path, some by what they look like. What is found is named, never shown.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from build.errors import ImageError
from build.inside.normalise import MACHINE_ID, SEEDS, SHELL_HISTORIES
from build.inspect.findings import Finding
from build.inspect.readers.cpio import members
from build.inspect.readers.packages import Database
from build.inspect.readers.search import Hit, Needle, Search
from build.inspect.readers.tree import MAX_TEXT, Tree

LOCKED = re.compile(r"(?:\*|!{1,2}|!\*|\*!|!!\*|\*LK\*|x)")
"""A password field that no password matches, and that gives nothing to guess."""
LOGGED_IN = re.compile(r"[a-z]{2,10}://[^\s/:@\"'<>$%{]+:[^\s/@\"'<>$%{]+@[a-z0-9]", re.I)
ACCEPTED = {("private-key", "*/libgnutls.so.*"): "the keys of GnuTLS's self-tests, known to all"}
"""By rule and pattern: why it may be there, as long as the file is as its package brought it."""
INITRAMFS = ("boot/initramfs*", "boot/initrd*")
SHORT = 2
"""Parts of a path that may be anybody's."""
HOMES = ("root", "home/*")


def _token(literal: bytes, pattern: bytes) -> Needle:
    edges = rb"(?<![A-Za-z0-9_])" + pattern + rb"(?![A-Za-z0-9_])"
    return Needle("token", literal, re.compile(edges), before=1)


KEY_FOLLOWS = (
    rb"-----(?:\\n|\s){1,8}(?:(?:Proc-Type|DEK-Info|Comment|Version)[^\n]{0,80}\n\s{0,4}){0,6}"
)
NEEDLES = (
    Needle(
        "private-key",
        b"PRIVATE KEY-----",
        re.compile(
            rb"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY" + KEY_FOLLOWS + rb"[\w+/=]{16}"
        ),
        before=48,
    ),
    Needle(
        "private-key",
        b"PGP PRIVATE KEY BLOCK-----",
        re.compile(rb"-----BEGIN PGP PRIVATE KEY BLOCK" + KEY_FOLLOWS + rb"[\w+/=]{16}"),
        before=11,
    ),
    Needle(
        "private-key",
        b"PuTTY-User-Key-File-",
        re.compile(rb"PuTTY-User-Key-File-\d: [a-z0-9-]{3,}\r?\n"),
    ),
    Needle(
        "private-key", b"AGE-SECRET-KEY-1", re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]{58}(?![0-9A-Z])")
    ),
    _token(b"ghp_", rb"ghp_[A-Za-z0-9]{36}"),
    _token(b"gho_", rb"gho_[A-Za-z0-9]{36}"),
    _token(b"ghs_", rb"ghs_[A-Za-z0-9]{36}"),
    _token(b"github_pat_", rb"github_pat_[A-Za-z0-9_]{40,}"),
    _token(b"glpat-", rb"glpat-[A-Za-z0-9_-]{20,}"),
    _token(b"dop_v1_", rb"dop_v1_[0-9a-f]{64}"),
    _token(b"doo_v1_", rb"doo_v1_[0-9a-f]{64}"),
    _token(b"DO00", rb"DO00[A-Z0-9]{16}"),
    _token(b"AKIA", rb"AKIA[0-9A-Z]{16}"),
    _token(b"pypi-AgEIcHlwaS5vcmc", rb"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
    _token(b"npm_", rb"npm_[A-Za-z0-9]{36}"),
    _token(b"xoxb-", rb"xoxb-[0-9]{8,}-[A-Za-z0-9-]{20,}"),
    _token(b".eyJ", rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"),
)
"""What is known by what it looks like, in every file; the last is a JSON web token."""
BUILD_TREE = "/apk/build/"
"""Where the tree grows in the builder."""
BEFORE_JWT = 2048
NAMES = {
    "private-key": "a private key",
    "token": "a token",
    "build-path": "a path of the build",
}


def search_for(build_paths: Sequence[str] = ()) -> Search:
    """Return what every file is searched for; `build_paths` must not be in any."""
    paths = [
        Needle("build-path", path.encode(), re.compile(re.escape(path.encode())))
        for path in build_paths
    ]
    tokens = [
        Needle(needle.rule, needle.literal, needle.pattern, BEFORE_JWT)
        if needle.literal == b".eyJ"
        else needle
        for needle in NEEDLES
    ]
    return Search([*tokens, *paths])


def places(*folders: Path) -> tuple[str, ...]:
    """Return the absolute paths of folders; one as short as `/srv` says nothing."""
    paths = (folder.resolve() for folder in folders)
    return tuple(str(path) for path in paths if len(path.parts) > SHORT)


@dataclass(frozen=True, slots=True)
class File:
    """A file that is scanned, of the tree or of an archive in it."""

    path: str
    """Without the first slash."""
    read: Callable[[], bytes]

    def lines(self) -> list[str]:
        """Return its lines without comments and empty ones."""
        text = self.read().decode(errors="backslashreplace")
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True, slots=True)
class PathRule:
    """What is known by where it is."""

    rule: str
    paths: tuple[str, ...]
    """Patterns; `*` goes over slashes."""
    judge: Callable[[File], str]
    """Gives what is wrong with the file, or nothing."""


def _there(file: File) -> str:
    return "is there" if file.read() else ""


def _keys(file: File) -> str:
    count = len(file.lines())
    return f"{count} key{'s' * (count > 1)}" if count else ""


def _identity(file: File) -> str:
    # systemd writes one on the droplet when this word is there (machine-id(5)).
    return "holds an id" if file.lines() not in ([], ["uninitialized"]) else ""


def _host_key(file: File) -> str:
    return "a host key" if file.read() else ""


def _passwords(file: File) -> str:
    """Name the accounts whose second field is empty or something to guess."""
    told = []
    for line in file.lines():
        name, _, rest = line.partition(":")
        field, more, _ = rest.partition(":")
        if not more or LOCKED.fullmatch(field):
            continue
        told.append(f"{name}: {'a password' if field else 'an empty password'}")
    return ", ".join(told)


def _group_passwords(file: File) -> str:
    """A group without a password has an empty field (gshadow(5)): only hashes count."""
    told = _passwords(file).split(", ")
    return ", ".join(word for word in told if word.endswith(": a password"))


def _name_servers(file: File) -> str:
    servers = [line for line in file.lines() if line.startswith(("nameserver", "search", "domain"))]
    lines = f"{len(servers)} line{'s' * (len(servers) > 1)}"
    return f"{lines} of the machine that built" if servers else ""


def _urls(file: File) -> str:
    if b"://" not in file.read():
        return ""
    lines = (line for line in file.lines() if "://" in line)
    return "a URL with a password" if any(LOGGED_IN.search(line) for line in lines) else ""


PATH_RULES = (
    PathRule("host-key", ("etc/ssh/ssh_host_*", "etc/dropbear/*_host_key"), _host_key),
    PathRule(
        "authorized-key",
        ("*/.ssh/authorized_keys*", "etc/ssh/authorized_keys*", "etc/dropbear/authorized_keys"),
        _keys,
    ),
    PathRule("machine-id", MACHINE_ID, _identity),
    PathRule("random-seed", (*SEEDS, *(f"{seed}/*" for seed in SEEDS)), _there),
    PathRule(
        "history",
        tuple(f"{home}/{name}" for home in HOMES for name in (*SHELL_HISTORIES, ".*_history")),
        _there,
    ),
    PathRule(
        "credentials",
        tuple(
            f"{home}/{name}"
            for home in HOMES
            for name in (
                *(".netrc", ".aws/credentials", ".docker/config.json", ".git-credentials"),
                *(".npmrc", ".pypirc", ".config/doctl/*", ".config/gh/*", ".s3cfg", ".ssh/id_*"),
            )
        ),
        _there,
    ),
    PathRule("credentials", ("etc/*", "root/*", "home/*"), _urls),
    PathRule("password", ("etc/shadow", "etc/shadow-", "etc/passwd", "etc/passwd-"), _passwords),
    PathRule("password", ("etc/gshadow", "etc/gshadow-", "etc/group"), _group_passwords),
    PathRule("name-servers", ("etc/resolv.conf",), _name_servers),
)


def scan(tree: Tree, database: Database, search: Search) -> Iterator[Finding]:
    """Give what the tree holds and no image may, its initramfs looked into.

    `search` is what the tree was read with.
    """
    for path, entry in tree.entries.items():
        if entry.kind != "file":
            continue
        owned = database.owned.get(path)
        unchanged = owned is not None and owned.sha1 == entry.checksum
        hits = [hit for hit in entry.hits if not (unchanged and _accepted(hit.rule, path))]
        yield from _hits(f"/{path}", hits)
        if entry.size <= MAX_TEXT:
            yield from _paths(f"/{path}", File(path, partial(tree.read, path)))
        if any(fnmatchcase(path, pattern) for pattern in INITRAMFS):
            yield from _initramfs(tree, path, search)


def _initramfs(tree: Tree, path: str, search: Search) -> Iterator[Finding]:
    entry = tree.entries[path]
    content = tree.system.read(entry.inode, tree.system.size)
    try:
        for member in members(content, f"/{path}"):
            where = f"/{path}: {member.name}"
            if not member.content or member.fields["mode"] >> 12 != 0o10:
                continue
            yield from _hits(where, search.hits(member.content))
            name = member.name.removeprefix("./").lstrip("/")
            yield from _paths(where, File(name, partial(bytes, member.content)))
    except ImageError as error:
        yield Finding(f"/{path}", "start", str(error).removeprefix(f"/{path}: "))


def _accepted(rule: str, path: str) -> bool:
    return any(rule == name and fnmatchcase(path, pattern) for name, pattern in ACCEPTED)


def _hits(where: str, hits: Sequence[Hit]) -> Iterator[Finding]:
    for hit in hits:
        yield Finding(where, hit.rule, f"{NAMES[hit.rule]} at byte {hit.offset}")


def _paths(where: str, file: File) -> Iterator[Finding]:
    for rule in PATH_RULES:
        if any(fnmatchcase(file.path, pattern) for pattern in rule.paths) and (
            told := rule.judge(file)
        ):
            yield Finding(where, rule.rule, told)
