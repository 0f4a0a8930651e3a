"""The difference of two locks: rows for a table, Markdown, JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from build.errors import VerificationError
from build.snapshot.compare import KINDS, ClosureDifference, LockDifference, compare_closures
from build.snapshot.lock import Lock
from build.tables import Table
from ci.report.table import escape, markdown_table, size_text

HEADER = ("closure", "change", "package", "old", "new", "size", "origin")
TOTALS_HEADER = ("closure", "packages", "size", "changes")
OPEN_ROWS = 20
"""A longer table is folded in Markdown, to keep a pull request readable."""


@dataclass(frozen=True, slots=True)
class NamedLock:
    """The name and the digest of a lock."""

    name: str
    lock_id: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two locks."""

    old: NamedLock
    new: NamedLock
    closures: tuple[ClosureDifference, ...]
    other: tuple[str, ...]
    """Other differences, a line each: apk, the newest package, the indexes."""

    @property
    def different(self) -> bool:
        """Whether an image could differ: other packages, or another order of installing them."""
        return any(closure.different for closure in self.closures)


def compare_locks(old: Lock, new: Lock, *, names: tuple[str, str]) -> Difference:
    """Return the difference of two locks; `names` are those of the old and the new one."""
    return Difference(
        old=NamedLock(names[0], old.id),
        new=NamedLock(names[1], new.id),
        closures=compare_closures(old, new),
        other=tuple(_other_lines(old, new)),
    )


def is_same_choice(before: Lock, lock: Lock) -> bool:
    """Return whether both locks give the same images: only the indexes may differ."""
    same = (before.choice_sha256, before.apk_version) == (lock.choice_sha256, lock.apk_version)
    return same and not compare_locks(before, lock, names=("before", "now")).different


def rows(difference: Difference) -> list[list[str]]:
    """Return a row for every change, with the columns of HEADER."""
    return [
        [change.closure, *_cells(change)]
        for closure in difference.closures
        for change in closure.changes
    ]


def total_rows(difference: Difference) -> list[list[str]]:
    """Return a row for every closure, with the columns of TOTALS_HEADER."""
    return [
        [
            closure.name,
            str(closure.new_count)
            if closure.old_count == closure.new_count
            else f"{closure.old_count} -> {closure.new_count}",
            f"{size_text(closure.new_size)} ({signed_size(closure.size_change)})",
            _summary(closure),
        ]
        for closure in difference.closures
    ]


def _other_lines(old: Lock, new: Lock) -> list[str]:
    lines = []
    if old.apk_version != new.apk_version:
        lines.append(f"apk: {escape(old.apk_version)} -> {escape(new.apk_version)}")
    if old.epoch != new.epoch:
        lines.append(f"newest package: {_day(old.epoch)} -> {_day(new.epoch)}")
    before, after = _indexes(old), _indexes(new)
    for (role, url), indexes in after.items():
        known = before.pop((role, url), None)
        if known is None:
            lines.append(f"repository {escape(url)}: new")
        elif known.keys() != indexes.keys():
            # A partial update keeps the old index beside the new one.
            texts = (escape(" and ".join(each.values())) for each in (known, indexes))
            lines.append(f"index of {escape(url)}: {' -> '.join(texts)}")
    return lines + [f"repository {escape(url)}: gone" for _, url in before]


def format_markdown(difference: Difference) -> str:
    """Return the difference as GitHub Markdown: totals first, then a section for each closure."""
    parts = [
        f"Snapshot {_side(difference.old)} → {_side(difference.new)}",
        markdown_table(total_rows(difference), TOTALS_HEADER),
    ]
    if difference.other:
        parts.append("\n".join(f"- {_escape_markdown(line)}" for line in difference.other))
    parts += [_section(closure) for closure in difference.closures if closure.changes]
    return "\n\n".join(parts)


def document(difference: Difference) -> Mapping[str, object]:
    """Return the difference as values for JSON; sizes in bytes."""
    return {
        "old": {"name": difference.old.name, "lock": difference.old.lock_id},
        "new": {"name": difference.new.name, "lock": difference.new.lock_id},
        "different": difference.different,
        "other": list(difference.other),
        "closures": {closure.name: _closure(closure) for closure in difference.closures},
    }


def read_document(value: object, *, where: str) -> Difference:
    """Return the difference that `document` made `value` of; `where` names it in an error.

    Raises:
        VerificationError: it is not of that form.
    """
    top = Table(where, value, VerificationError)
    old, new, closures = top.table("old"), top.table("new"), top.table("closures")
    return Difference(
        old=NamedLock(old.text("name"), old.text("lock")),
        new=NamedLock(new.text("name"), new.text("lock")),
        closures=tuple(_read_closure(name, closures.table(name)) for name in closures.values),
        other=top.strings("other", unique=False),
    )


def _read_closure(name: str, closure: Table) -> ClosureDifference:
    packages, size = closure.table("packages"), closure.table("size")
    return ClosureDifference(
        name=name,
        changes=tuple(_read_change(name, change) for change in closure.tables("changes")),
        reordered=closure.flag("reordered"),
        old_count=packages.number("old"),
        new_count=packages.number("new"),
        old_size=size.number("old"),
        new_size=size.number("new"),
    )


def _read_change(closure: str, change: Table) -> LockDifference:
    kind = next((kind for kind in KINDS if kind == change.values.get("kind")), None)
    if kind is None:
        raise change.fail("kind", "one of: " + ", ".join(KINDS))
    return LockDifference(
        closure=closure,
        kind=kind,
        name=change.text("name"),
        old=change.text_or_null("old"),
        new=change.text_or_null("new"),
        old_size=change.number("old_size"),
        new_size=change.number("new_size"),
        origin=change.text("origin", empty=True),
    )


def signed_size(size: int) -> str:
    """Return a change of size in bytes as text.

    >>> signed_size(1500), signed_size(-20), signed_size(0)
    ('+1.5 kB', '-20 B', '0 B')
    """
    return size_text(0) if size == 0 else f"{'+' if size > 0 else '-'}{size_text(abs(size))}"


def _cells(change: LockDifference) -> list[str]:
    size, origin = signed_size(change.size_change), escape(change.origin) or "-"
    return [change.kind, change.name, change.old or "-", change.new or "-", size, origin]


def _indexes(lock: Lock) -> dict[tuple[str, str], dict[str, str]]:
    """Return description by SHA-256 of the indexes of each repository, by its role and URL."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for each in lock.repositories:
        indexes = found.setdefault((each.role, each.url), {})
        indexes[each.index_sha256] = each.description
    return found


def _summary(closure: ClosureDifference) -> str:
    parts = [f"{count} {kind}" for kind, count in closure.counts.items()]
    if closure.reordered:
        parts.append("another order")
    return ", ".join(parts) or "none"


def _section(closure: ClosureDifference) -> str:
    title = f"{closure.name}: {_summary(closure)} ({signed_size(closure.size_change)})"
    cells = [[_escape_markdown(cell) for cell in _cells(change)] for change in closure.changes]
    table = markdown_table(cells, HEADER[1:])
    if len(cells) <= OPEN_ROWS:
        return f"### {title}\n\n{table}"
    return f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"


def _escape_markdown(text: str) -> str:
    """Return `text` with Markdown's punctuation escaped (CommonMark 0.31, 2.4)."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>&@#~" else letter for letter in text)


def _side(side: NamedLock) -> str:
    name, lock_id = (_escape_markdown(escape(text)) for text in (side.name, side.lock_id[:12]))
    return f"{name} (`{lock_id}`)"


def _day(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, tz=UTC).strftime("%Y-%m-%d %H:%M")


def _closure(closure: ClosureDifference) -> Mapping[str, object]:
    return {
        "packages": {"old": closure.old_count, "new": closure.new_count},
        "size": {"old": closure.old_size, "new": closure.new_size, "change": closure.size_change},
        "totals": dict(closure.counts),
        "reordered": closure.reordered,
        "changes": [
            {
                "size_change": change.size_change,
                **{key: value for key, value in asdict(change).items() if key != "closure"},
            }
            for change in closure.changes
        ],
    }
