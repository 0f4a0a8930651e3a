"""`trust`: show the trust root, or renew it for review."""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from build.edges.files import write_file
from build.errors import ConfigError, VerificationError
from ci.commands import parse_path, parse_text
from ci.report.console import Console
from ci.verify.trust.bundles import PUBLIC_ROOT
from ci.verify.trust.refresh import PUBLIC, Source, fetch_root, keep_metadata, metadata_folder
from ci.verify.trust.root import Root, TrustAnchor, parse_root, read_root

if TYPE_CHECKING:
    from pathlib import Path

HELP = "Show the trusted sigstore instance; --update fetches the current trust root"
HEADER = ["what", "where", "key", "from", "to"]
"""Columns of the table, and keys of a row as JSON."""
LOSSES = ("removed", "shortened")
"""Changes after which a release that was valid may be refused."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `trust`."""
    parser.set_defaults(config=None)
    parser.add_argument(
        "--trust-root",
        type=parse_path,
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
        help="keep it even if keys were removed, or are valid for less time",
    )
    parser.add_argument(
        "--tuf", type=parse_text, default=PUBLIC.url, metavar="URL", help="another TUF repository"
    )
    parser.add_argument(
        "--tuf-root",
        type=parse_path,
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
    kept = metadata_folder(path)
    fetched = fetch_root(source, kept)
    try:
        fresh = parse_root(fetched.content, str(path))
    except VerificationError as error:
        raise ConfigError(f"{source.url}: {error}") from None
    old = read_root(path) if path.exists() else None
    _compare(old, fresh, console, accept=arguments.accept_removals)
    changed = old is None or old.sha256 != fresh.sha256
    if changed:
        write_file(path, fetched.content)
    keep_metadata(kept, fetched)
    what = "renewed: review the differences before you commit it" if changed else "is up to date"
    console.line(f"{path}: {what}, sha256 {fresh.sha256}")
    console.line(f"{kept}: the metadata that signs it; a later update may not go back")
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
    lost = [anchor for kind, anchor in changes if kind in LOSSES]
    if lost and not accept:
        raise VerificationError(
            f"{fresh.name}: {len(lost)} of its keys are not in the current root, or valid for "
            "less time; not changed",
            hint="review that, then add `--accept-removals`: releases that these keys signed "
            "are then refused",
        )


def _changes(old: Root | None, new: Root) -> Iterator[tuple[str, TrustAnchor]]:
    """Yield the kind of change and the trust anchor of each difference.

    A key may have several periods of validity. One that had no end and now has one is `ended`:
    that is how sigstore retires a key.
    """
    before, after = _periods(old), _periods(new)
    for key, anchors in after.items():
        for anchor in anchors:
            if key not in before:
                yield "new", anchor
            elif not any(_covers(known, anchor) for known in before[key]):
                yield "extended", anchor
    for key, anchors in before.items():
        for anchor in anchors:
            now = after.get(key, ())
            if not now:
                yield "removed", anchor
            elif not any(_covers(each, anchor) for each in now):
                ended = [each for each in now if anchor.end is None and _begins(each, anchor)]
                yield ("ended", ended[-1]) if ended else ("shortened", now[-1])


def _periods(root: Root | None) -> Mapping[tuple[str, str], list[TrustAnchor]]:
    """Return the entries of each key, in the order of their start."""
    periods: defaultdict[tuple[str, str], list[TrustAnchor]] = defaultdict(list)
    for anchor in sorted(root.anchors if root else (), key=lambda anchor: anchor.start):
        periods[anchor.kind, anchor.identity].append(anchor)
    return dict(periods)


def _begins(one: TrustAnchor, other: TrustAnchor) -> bool:
    """Return whether `one` is valid when `other` begins, and for some time after it."""
    return one.start <= other.start and (one.end is None or one.end > other.start)


def _covers(one: TrustAnchor, other: TrustAnchor) -> bool:
    """Return whether `one` is valid at every time at which `other` is."""
    if one.start > other.start:
        return False
    return one.end is None or (other.end is not None and one.end >= other.end)


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
