"""Secrets and traces that no published image may contain.

To add a secret that is recognised by its content, add a row to SECRET_PATTERNS; to add one that
is recognised by its path, a row to SECRET_PATHS. Each row needs an example in
tests/inspect/test_search.py or test_findings.py. Findings name a secret and never print it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from build.errors import ImageError
from build.inside.normalise import MACHINE_ID, SEEDS, SHELL_HISTORIES
from build.inspect.readers.cpio import read_members
from build.inspect.readers.packages import Database
from build.inspect.readers.search import Hit, Pattern, search
from build.inspect.readers.tree import MAX_TEXT, Tree
from build.inspect.rules import Finding

KEY_BODY = (
    rb"-----(?:\\n|\s){1,8}(?:(?:Proc-Type|DEK-Info|Comment|Version)[^\n]{0,80}\n\s{0,4}){0,6}"
    rb"[\w+/=]{16}"
)
"""The start of a key: a file that only parses keys contains the BEGIN line without a body."""


def key(literal: bytes, expression: bytes, before: int = 0) -> Pattern:
    """Return the pattern of a private key."""
    return Pattern("private-key", literal, re.compile(expression), before)


def token(literal: bytes, rest: bytes, before: bytes = b"", longest: int = 0) -> Pattern:
    """Return the pattern of a token that is delimited by other characters than its own.

    `before` is the expression for the bytes before `literal`, at most `longest` bytes.
    """
    word = rb"[A-Za-z0-9_]"
    expression = rb"(?<!%b)%b%b%b(?!%b)" % (word, before, re.escape(literal), rest, word)
    # One byte more than the token: the first look-behind needs it.
    return Pattern("token", literal, re.compile(expression), longest + 1)


SECRET_PATTERNS = (
    # PEM (RFC 7468), encrypted PEM (RFC 1421), OpenSSH; also as a string of JSON.
    key(
        b"PRIVATE KEY-----",
        rb"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY" + KEY_BODY,
        before=48,
    ),
    key(b"PGP PRIVATE KEY BLOCK-----", rb"-----BEGIN PGP PRIVATE KEY BLOCK" + KEY_BODY, before=11),
    key(b"PuTTY-User-Key-File-", rb"PuTTY-User-Key-File-\d: [a-z0-9-]{3,}\r?\n"),
    key(b"AGE-SECRET-KEY-1", rb"AGE-SECRET-KEY-1[0-9A-Z]{58}(?![0-9A-Z])"),
    # GitHub: personal, OAuth, Actions, fine-grained.
    token(b"ghp_", rb"[A-Za-z0-9]{36}"),
    token(b"gho_", rb"[A-Za-z0-9]{36}"),
    token(b"ghs_", rb"[A-Za-z0-9]{36}"),
    token(b"github_pat_", rb"[A-Za-z0-9_]{40,}"),
    # GitLab.
    token(b"glpat-", rb"[A-Za-z0-9_-]{20,}"),
    # DigitalOcean: personal, OAuth, Spaces.
    token(b"dop_v1_", rb"[0-9a-f]{64}"),
    token(b"doo_v1_", rb"[0-9a-f]{64}"),
    token(b"DO00", rb"[A-Z0-9]{16}"),
    # AWS, PyPI, npm, Slack.
    token(b"AKIA", rb"[0-9A-Z]{16}"),
    token(b"pypi-AgEIcHlwaS5vcmc", rb"[A-Za-z0-9_-]{50,}"),
    token(b"npm_", rb"[A-Za-z0-9]{36}"),
    token(b"xoxb-", rb"[0-9]{8,}-[A-Za-z0-9-]{20,}"),
    # JSON web token (RFC 7519), its header before the literal part.
    token(
        b".eyJ",
        rb"[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",
        before=rb"eyJ[A-Za-z0-9_-]{10,}",
        longest=2048,
    ),
)
"""Secrets that are recognised by their content, in every file."""
KNOWN_KEYS = {("private-key", "*/libgnutls.so.*"): "keys of GnuTLS's self-tests, which are public"}
"""By rule and path pattern: accepted in a file that is unchanged since its package."""
HIT_NAMES = {
    "private-key": "a private key",
    "token": "a token",
    "build-path": "a path of the build",
}
BUILD_TREE = "/apk/build/"
"""Folder of the tree in the builder."""
MIN_PARTS = 3
"""A path with fewer parts, such as `/srv`, may occur in any file."""
LOCKED = re.compile(r"(?:\*|!{1,2}|!\*|\*!|!!\*|\*LK\*|x)")
"""A password field that matches no password and is no hash to guess (shadow(5))."""
URL_LETTER = r"(?:[^\s/:@\"'<>$%{]|%[0-9a-f]{2})"
"""In a user name or password, `@` and `:` are percent-encoded (RFC 3986, 3.2.1)."""
URL_WITH_PASSWORD = re.compile(
    rf"(?:[a-z]{{2,10}}://{URL_LETTER}+:|https?://)(?:{URL_LETTER}|:)+@[a-z0-9\[]", re.IGNORECASE
)
"""A token alone is one over http(s): `ssh://git@host` names an account."""
INITRAMFS = ("boot/initramfs*", "boot/initrd*")
HOMES = ("root", "home/*")


def secret_patterns(build_paths: Sequence[str] = ()) -> tuple[Pattern, ...]:
    """Return SECRET_PATTERNS, and patterns of paths that no file may contain."""
    contents = [path.encode() for path in build_paths]
    paths = [Pattern("build-path", each, re.compile(re.escape(each))) for each in contents]
    return (*SECRET_PATTERNS, *paths)


def searchable_paths(*folders: Path) -> tuple[str, ...]:
    """Return the absolute paths of those folders that have MIN_PARTS parts or more."""
    paths = (folder.resolve() for folder in folders)
    return tuple(str(path) for path in paths if len(path.parts) >= MIN_PARTS)


@dataclass(frozen=True, slots=True)
class File:
    """A file of the tree, or of an archive in it."""

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
    """A rule for files of certain paths."""

    rule: str
    paths: tuple[str, ...]
    """Patterns; `*` matches slashes too."""
    check: Callable[[File], str]
    """Returns the violation in the file, or an empty string."""


def _exists(file: File) -> str:
    return "exists and is not empty" if file.read() else ""


def _keys(file: File) -> str:
    count = len(file.lines())
    return f"{count} key{'s' * (count > 1)}" if count else ""


def _machine_id(file: File) -> str:
    # With this word systemd generates an id on the droplet (machine-id(5)).
    return "contains an id" if file.lines() not in ([], ["uninitialized"]) else ""


def _passwords(file: File) -> str:
    """Return the accounts with an empty second field or a hash in it, as text."""
    accounts = []
    for line in file.lines():
        name, _, rest = line.partition(":")
        field, colon, _ = rest.partition(":")
        if colon and not LOCKED.fullmatch(field):
            accounts.append(f"{name}: {'a password' if field else 'an empty password'}")
    return ", ".join(accounts)


def _group_passwords(file: File) -> str:
    """Return the groups with a hash: an empty field means no password (gshadow(5))."""
    groups = _passwords(file).split(", ")
    return ", ".join(group for group in groups if group.endswith(": a password"))


def _name_servers(file: File) -> str:
    servers = [line for line in file.lines() if line.startswith(("nameserver", "search", "domain"))]
    lines = f"{len(servers)} line{'s' * (len(servers) > 1)}"
    return f"{lines} of the machine that built the image" if servers else ""


def _urls(file: File) -> str:
    if b"://" not in file.read():
        return ""
    lines = (line for line in file.lines() if "://" in line)
    return "a URL with a password or token" if any(map(URL_WITH_PASSWORD.search, lines)) else ""


def _in_homes(*names: str) -> tuple[str, ...]:
    return tuple(f"{home}/{name}" for home in HOMES for name in names)


SECRET_PATHS = (
    PathRule("host-key", ("etc/ssh/ssh_host_*", "etc/dropbear/*_host_key"), _exists),
    PathRule(
        "authorized-key",
        ("*/.ssh/authorized_keys*", "etc/ssh/authorized_keys*", "etc/dropbear/authorized_keys"),
        _keys,
    ),
    PathRule("machine-id", MACHINE_ID, _machine_id),
    PathRule("random-seed", (*SEEDS, *(f"{seed}/*" for seed in SEEDS)), _exists),
    PathRule("history", _in_homes(*SHELL_HISTORIES, ".*_history"), _exists),
    PathRule(
        "credentials",
        _in_homes(
            *(".netrc", ".aws/credentials", ".docker/config.json", ".git-credentials"),
            *(".npmrc", ".pypirc", ".config/doctl/*", ".config/gh/*", ".s3cfg", ".ssh/id_*"),
        ),
        _exists,
    ),
    PathRule("credentials", ("etc/*", "root/*", "home/*"), _urls),
    PathRule("password", ("etc/shadow", "etc/shadow-", "etc/passwd", "etc/passwd-"), _passwords),
    PathRule("password", ("etc/gshadow", "etc/gshadow-", "etc/group"), _group_passwords),
    PathRule("name-servers", ("etc/resolv.conf",), _name_servers),
)
"""Secrets and traces that are recognised by their path."""


def check_secrets(tree: Tree, database: Database, patterns: Sequence[Pattern]) -> Iterator[Finding]:
    """Yield the secrets in the tree and in its initramfs; the tree was read with `patterns`."""
    for path, entry in tree.entries.items():
        if entry.kind != "file":
            continue
        owned = database.owned.get(path)
        is_unchanged = owned is not None and owned.sha1 == entry.checksum
        hits = [hit for hit in entry.hits if not (is_unchanged and _is_known(hit.rule, path))]
        yield from _hit_findings(f"/{path}", hits)
        if entry.size <= MAX_TEXT:
            yield from _path_findings(f"/{path}", File(path, partial(tree.read, path)))
        if any(fnmatchcase(path, pattern) for pattern in INITRAMFS):
            yield from _check_initramfs(tree, path, patterns)


def _check_initramfs(tree: Tree, path: str, patterns: Sequence[Pattern]) -> Iterator[Finding]:
    entry = tree.entries[path]
    content = tree.system.read(entry.inode, tree.system.size)
    try:
        for member in read_members(content, f"/{path}"):
            # Regular files only: S_IFREG, inode(7).
            if not member.content or member.fields["mode"] >> 12 != 0o10:
                continue
            name = member.name.decode(errors="backslashreplace")
            where = f"/{path}: {name}"
            yield from _hit_findings(where, search(patterns, member.content))
            file = File(name.removeprefix("./").lstrip("/"), partial(bytes, member.content))
            yield from _path_findings(where, file)
    except ImageError as error:
        yield Finding(f"/{path}", "start", str(error).removeprefix(f"/{path}: "))


def _is_known(rule: str, path: str) -> bool:
    return any(rule == name and fnmatchcase(path, pattern) for name, pattern in KNOWN_KEYS)


def _hit_findings(where: str, hits: Sequence[Hit]) -> Iterator[Finding]:
    for hit in hits:
        yield Finding(where, hit.rule, f"{HIT_NAMES[hit.rule]} at byte {hit.offset}")


def _path_findings(where: str, file: File) -> Iterator[Finding]:
    for rule in SECRET_PATHS:
        is_meant = any(fnmatchcase(file.path, pattern) for pattern in rule.paths)
        if is_meant and (text := rule.check(file)):
            yield Finding(where, rule.rule, text)
