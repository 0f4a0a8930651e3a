"""`trust`: show the trust root, or renew it for review."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from build.edges.files import write_file
from build.errors import ConfigError, VerificationError
from ci.report.console import Console
from ci.verify.trust.bundles import PUBLIC_ROOT
from ci.verify.trust.refresh import PUBLIC, Source, fetch_root
from ci.verify.trust.root import Root, TrustAnchor, parse_root, read_root

HELP = "Show the trusted sigstore instance; --update fetches the current trust root"
HEADER = ["what", "where", "key", "from", "to"]
"""Columns of the table, and keys of a row as JSON."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `trust`."""
    parser.set_defaults(config=None)
    parser.add_argument(
        "--trust-root",
        type=Path,
        default=PUBLIC_ROOT,
        metavar="FILE",
        help="the root to show or renew (default: the reviewed one of this checkout)",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="fetch the current root by TUF, show the differences, keep it",
    )
    parser.add_argument(
        "--accept-removals",
        action="store_true",
        help="keep it even if keys were removed",
    )
    parser.add_argument("--tuf", default=PUBLIC.url, metavar="URL", help="another TUF repository")
    parser.add_argument(
        "--tuf-root",
        type=Path,
        metavar="FILE",
        help="the root.json that signs the metadata of --tuf",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Show the trust root, or renew it with --update."""
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
    what = "renewed: review the differences before you commit it" if changed else "is up to date"
    console.line(f"{path}: {what}, sha256 {fresh.sha256}")
    console.data({**_summary(fresh), "changed": changed})
    return 0


def _compare(old: Root | None, fresh: Root, console: Console, *, accept: bool) -> None:
    """Show the differences.

    Raises:
        VerificationError: keys were removed, and that was not accepted.
    """
    changes = list(_changes(old, fresh))
    if changes:
        console.table([[kind, *_row(anchor)] for kind, anchor in changes], ["change", *HEADER])
    removed = [anchor for kind, anchor in changes if kind == "removed"]
    if removed and not accept:
        raise VerificationError(
            f"{fresh.name}: {len(removed)} of its keys are not in the current root; not changed",
            hint="review the removal, then add `--accept-removals`: releases signed with these "
            "keys are then refused",
        )


def _changes(old: Root | None, new: Root) -> Iterator[tuple[str, TrustAnchor]]:
    """Yield the kind of change and the trust anchor of each difference."""
    before = {(anchor.kind, anchor.identity): anchor for anchor in (old.anchors if old else ())}
    after = {(anchor.kind, anchor.identity): anchor for anchor in new.anchors}
    for key, anchor in after.items():
        if key not in before:
            yield "new", anchor
        elif before[key].end != anchor.end:
            yield "ended" if anchor.end else "valid again", anchor
        elif before[key].start != anchor.start:
            yield "other start", anchor
    for key, anchor in before.items():
        if key not in after:
            yield "removed", anchor


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
    console.table([_row(anchor) for anchor in root.anchors], header=HEADER)
    rows = [dict(zip(HEADER, _row(anchor), strict=True)) for anchor in root.anchors]
    console.data({**_summary(root), "parties": rows})


def _summary(root: Root) -> dict[str, str]:
    return {"path": root.name, "sha256": root.sha256, "date": root.date}


def _row(anchor: TrustAnchor) -> list[str]:
    end = f"{anchor.end:%Y-%m-%d}" if anchor.end else "-"
    return [anchor.kind, anchor.uri, anchor.identity[:16], f"{anchor.start:%Y-%m-%d}", end]
