"""What to do about a package of release.toml that no repository has: where it is, or what is meant.

Alpine moves packages between `main` and `community`, and names differ between distributions. The
indexes that are at hand are asked: those of the other role, and those that earlier pins left in the
store. Nothing is fetched.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from build.apk.index import INDEX, Records, locked_records
from build.config import BuildConfig
from build.errors import SnowdropError
from build.snapshot.fetch import HttpCache
from build.snapshot.forward import branch_and_name
from build.snapshot.lock import Lock
from build.snapshot.repositories import IndexGroups
from build.snapshot.solve import UnsolvedError
from build.snapshot.solver_errors import NO_SUCH, WORLD, parse_reasons

MAX_NAMES = 3
"""Similar names that a hint suggests."""


def explain_missing(
    error: UnsolvedError,
    config: BuildConfig,
    groups: IndexGroups,
    previous: Lock | None,
    cache: HttpCache,
) -> None:
    """Put into the hint of `error` where the packages are that release.toml asks for in vain."""
    missing = [
        reason.name
        for reason in parse_reasons(error.report)
        if reason.remark == NO_SUCH and any(by == WORLD for by, _ in reason.needs("required by"))
    ]
    if not missing:
        return
    group = groups.builder if error.closure == "builder" else groups.image
    own = {repository.url: repository.index.records for repository in group.repositories}
    others = dict(_others(groups, previous, cache, {branch_and_name(url) for url in own}))
    names = sorted({record.name for records in own.values() for record in records})
    error.hint = "; ".join(_hint(name, own, others, names, config) for name in missing)


def _hint(
    name: str,
    own: dict[str, Records],
    others: dict[str, Records],
    names: list[str],
    config: BuildConfig,
) -> str:
    holders = [url for url, records in others.items() if records.named(name)]
    if holders:
        return f"{name} is in {' and '.join(holders)}: add it to `repositories` in {config.file}"
    if similar := get_close_matches(name, names, MAX_NAMES):
        return f"{name}: is {' or '.join(similar)} meant?"
    parts = [branch_and_name(url).partition("/") for url in own]
    if parts and all(repository == "main" for _, _, repository in parts):
        return f"{name}: look in {parts[0][0]}/community, which is not among the repositories"
    return f"{name}: no repository has it or a similar name: change `packages` in {config.file}"


def _others(
    groups: IndexGroups, previous: Lock | None, cache: HttpCache, own: set[str]
) -> Iterator[tuple[str, Records]]:
    """Yield URL and packages of the repositories of the same branches that are not among `own`."""
    branches = {each.partition("/")[0] for each in own}
    digests = {
        url.removesuffix(f"/{INDEX}").rpartition("/")[0]: received.sha256
        for url, received in cache.responses.items()
        if url.endswith(f"/{INDEX}")
    }
    if previous is not None:
        digests |= {each.url: each.index_sha256 for each in previous.repositories}
    for repository in groups.repositories:
        if _is_other(repository.url, own, branches):
            yield repository.url, repository.index.records
            digests.pop(repository.url, None)
    for url, sha256 in digests.items():
        if _is_other(url, own, branches):
            try:
                # Verified when it was put into the store.
                yield url, locked_records(cache.store.read(sha256), where=url)
            except (SnowdropError, ValueError):
                continue  # the store has lost it


def _is_other(url: str, own: set[str], branches: set[str]) -> bool:
    place = branch_and_name(url)
    return place not in own and place.partition("/")[0] in branches
