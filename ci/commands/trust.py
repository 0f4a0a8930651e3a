"""`trust`: which sigstore is believed, and a newer root, to be reviewed before it is kept."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from build.edges.files import write_file
from build.errors import ConfigError, VerificationError
from ci.report.console import Console
from ci.verify.trust.bundles import PUBLIC_ROOT
from ci.verify.trust.refresh import PUBLIC, Source, fetch_root
from ci.verify.trust.root import Party, Root, parse_root, read_root

HELP = "Show which sigstore is believed; --update asks for the root of today"
HEADER = ["what", "where", "key", "from", "to"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `trust` takes."""
    parser.set_defaults(config=None)
    parser.add_argument(
        "--trust-root",
        type=Path,
        default=PUBLIC_ROOT,
        metavar="FILE",
        help="the root to show or to renew (default: the reviewed one of this checkout)",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="fetch today's root by TUF, show what differs, keep it",
    )
    parser.add_argument(
        "--accept-removals",
        action="store_true",
        help="keep it also when keys have gone or changed",
    )
    parser.add_argument("--tuf", default=PUBLIC.url, metavar="URL", help="another TUF repository")
    parser.add_argument(
        "--tuf-root", type=Path, metavar="FILE", help="the root.json that --tuf must follow from"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Show the trust root, or renew it when that was asked for."""
    path: Path = arguments.trust_root
    if not arguments.update:
        _show(read_root(path), console)
        return 0
    source = _source(arguments)
    raw = fetch_root(source)
    try:
        fresh = parse_root(raw, str(path))
    except VerificationError as error:
        raise ConfigError(f"{source.url}: {error}") from None
    old = read_root(path) if path.exists() else None
    _compare(old, fresh, console, accept=arguments.accept_removals)
    changed = old is None or old.sha256 != fresh.sha256
    if changed:
        write_file(path, raw)
    what = "renewed: review the difference, then keep it" if changed else "is that of today"
    console.line(f"{path}: {what}, sha256 {fresh.sha256}")
    console.data(
        {"path": str(path), "sha256": fresh.sha256, "date": fresh.date, "changed": changed}
    )
    return 0


def _compare(old: Root | None, fresh: Root, console: Console, *, accept: bool) -> None:
    """Show what differs.

    Raises:
        VerificationError: keys have gone, and that was not accepted.
    """
    changes = list(changes_of(old, fresh))
    if changes:
        console.table([[kind, *_row(party)] for kind, party in changes], ["change", *HEADER])
    gone = [party for kind, party in changes if kind == "gone"]
    if gone and not accept:
        raise VerificationError(
            f"{fresh.name}: {len(gone)} of its keys are not in the root of today; not changed",
            hint="releases signed with them would be refused: review it, then say "
            "`--accept-removals`",
        )


def changes_of(old: Root | None, new: Root) -> Iterator[tuple[str, Party]]:
    """Give what is `new`, `gone`, or has `ended` or another time, each with its party."""
    before = {(party.kind, party.identity): party for party in (old.parties if old else ())}
    after = {(party.kind, party.identity): party for party in new.parties}
    for key, party in after.items():
        if key not in before:
            yield "new", party
        elif before[key].end != party.end:
            yield "ended" if party.end else "believed again", party
        elif before[key].start != party.start:
            yield "other start", party
    for key, party in before.items():
        if key not in after:
            yield "gone", party


def _source(arguments: argparse.Namespace) -> Source:
    if arguments.tuf_root is None:
        if arguments.tuf != PUBLIC.url:
            raise ConfigError(f"--tuf {arguments.tuf}: expected --tuf-root FILE with it")
        return PUBLIC
    try:
        return Source(arguments.tuf.rstrip("/"), arguments.tuf_root.read_bytes())
    except OSError as error:
        raise ConfigError(f"--tuf-root {arguments.tuf_root}: {error.strerror}") from None


def _show(root: Root, console: Console) -> None:
    console.line(f"{root.name}: newest key of {root.date}, sha256 {root.sha256}")
    console.table([_row(party) for party in root.parties], header=HEADER)
    console.data(
        {
            "path": root.name,
            "sha256": root.sha256,
            "date": root.date,
            "parties": [dict(zip(HEADER, _row(party), strict=True)) for party in root.parties],
        }
    )


def _row(party: Party) -> list[str]:
    end = f"{party.end:%Y-%m-%d}" if party.end else "-"
    return [party.kind, party.where, party.identity[:16], f"{party.start:%Y-%m-%d}", end]
