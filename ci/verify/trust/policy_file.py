"""The policy file: the trusted signer with GitHub's numbers, and the newest releases seen.

It is written at the first use, from certificates that passed, and its numbers are required from
then on. For each line of releases it has the newest one that was verified with it, so that an
older one, which is signed just as well, is not taken for the current one. `[require]` and comments
are the person's own, and stay when the file is written again.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from build.edges.files import write_file
from build.errors import ConfigError
from build.tables import Table, read_toml
from ci.config import REPOSITORY, URL
from ci.release.version import TAG, parse_tag
from ci.verify.trust.policy import GITHUB_ID, Seen, TrustedSigner
from ci.verify.trust.rules import dump_rules, read_rules

HEADER = """\
# The signer that `verify` trusts. The numbers stay the same when the repository is renamed, and
# differ when another owner registers its name later. Review them, and keep this file.
# A table [require] adds rules about each release (docs/verify.md, Rules of your own).
"""
KEYS: Mapping[str, re.Pattern[str]] = {
    "repository": REPOSITORY,
    "repository_id": GITHUB_ID,
    "owner_id": GITHUB_ID,
    "issuer": URL,
}
TABLE = r"^[ \t]*\[[ \t]*newest[ \t]*\.[ \t]*{}[ \t]*\].*\n(?:(?![ \t]*\[).*\n)*"
"""A table of a line of releases, up to that of another name."""
TAG_LINE = r"^([ \t]*tag[ \t]*=[ \t]*)(?:\"[^\"\n]*\"|'[^'\n]*')"
EPOCH_LINE = r"^([ \t]*epoch[ \t]*=[ \t]*)[0-9_]+"
HINT = "correct it, or remove the file and verify once more with `--repository OWNER/REPO`"


def read_signer(path: Path) -> TrustedSigner:
    """Return the signer in the policy file `path`.

    Raises:
        ConfigError: it cannot be read, or has other keys or values.
    """
    try:
        top = read_toml(path)
        return _read_signer(top)
    except ConfigError as error:
        raise ConfigError(f"{error}: no policy file", hint=error.hint or HINT) from None


def _read_signer(top: Table) -> TrustedSigner:
    top.only(*KEYS, "newest", "require")
    texts = {key: top.text(key, pattern=pattern) for key, pattern in KEYS.items()}
    newest = top.table("newest", required=False)
    return TrustedSigner(
        repository=texts["repository"],
        issuer=texts["issuer"],
        repository_id=texts["repository_id"],
        owner_id=texts["owner_id"],
        newest={line: _read_seen(newest.table(line), line) for line in newest.values},
        rules=read_rules(top.table("require", required=False)),
    )


def dump_signer(signer: TrustedSigner) -> str:
    """Return the content of the policy file for `signer`, whose numbers are known."""
    lines = [f'{key} = "{getattr(signer, key)}"' for key in KEYS]
    lines += dump_rules(signer.rules)
    for line, seen in sorted(signer.newest.items()):
        lines += _dump_seen(line, seen)
    return HEADER + "".join(f"{text}\n" for text in lines)


def update_text(text: str, signer: TrustedSigner) -> str:
    """Return a policy file with the newest releases of `signer`, and all else as it was written.

    A table of a form that is not found is written anew with the whole file, without its comments:
    the result always has the values of `signer`.
    """
    changed = text if not text or text.endswith("\n") else f"{text}\n"
    for line, seen in sorted(signer.newest.items()):
        found = re.search(TABLE.format(re.escape(json.dumps(line))), changed, re.MULTILINE)
        if found is None:
            changed += "".join(f"{each}\n" for each in _dump_seen(line, seen))
            continue
        table = re.sub(TAG_LINE, rf'\g<1>"{seen.tag}"', found[0], count=1, flags=re.MULTILINE)
        table = re.sub(EPOCH_LINE, rf"\g<1>{seen.epoch}", table, count=1, flags=re.MULTILINE)
        changed = changed[: found.start()] + table + changed[found.end() :]
    try:
        same = _read_signer(Table("", tomllib.loads(changed))) == signer
    except (ConfigError, ValueError):
        same = False
    return changed if same else dump_signer(signer)


def write_signer(path: Path, signer: TrustedSigner) -> None:
    """Write the policy file `path` atomically; what a person wrote into it stays.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = dump_signer(signer)
        if path.exists():
            content = update_text(path.read_text(encoding="utf-8"), signer)
        write_file(path.resolve(), content.encode())
    except OSError as error:
        raise ConfigError(
            f"--policy {path}: {error.strerror}, not written",
            hint="the file keeps the newest release seen: make it writable",
        ) from None


def find_newer(signer: TrustedSigner, tag: str, epoch: int | None) -> Seen | None:
    """Return the release that `signer` has seen and that `tag` must not follow, None without one.

    It is of the same line, and newer by its tag or its epoch, or another release of this tag.
    `epoch`: in seconds since 1970, None when it is not known.
    """
    parts = parse_tag(tag)
    seen = signer.newest.get(parts.line) if parts else None
    known = parse_tag(seen.tag) if seen else None
    if parts is None or seen is None or known is None:
        return None
    age = seen.epoch if epoch is None else epoch
    # Another lock under the same tag: the tag was moved.
    moved = parts.order == known.order and age != seen.epoch
    return seen if parts.order < known.order or age < seen.epoch or moved else None


def remember(signer: TrustedSigner, tag: str, epoch: int) -> TrustedSigner:
    """Return `signer` with the release `tag` as one that was seen, if it is the newest."""
    parts = parse_tag(tag)
    if parts is None or find_newer(signer, tag, epoch):
        return signer
    seen = Seen(tag=tag, epoch=epoch)
    return replace(signer, newest={**signer.newest, parts.line: seen})


def _dump_seen(line: str, seen: Seen) -> list[str]:
    # JSON's strings are TOML's too (TOML 1.0, strings); a line may have a dot.
    return ["", f"[newest.{json.dumps(line)}]", f'tag = "{seen.tag}"', f"epoch = {seen.epoch}"]


def _read_seen(table: Table, line: str) -> Seen:
    table.only("tag", "epoch")
    seen = Seen(tag=table.text("tag", pattern=TAG), epoch=table.number("epoch"))
    parts = parse_tag(seen.tag)
    if parts is None or parts.line != line:
        raise table.fail("tag", f"a tag of the line {line}")
    return seen
