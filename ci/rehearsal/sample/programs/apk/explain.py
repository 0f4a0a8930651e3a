"""Why a world cannot be: apk's own words, so that whoever knows apk can read them."""

from collections.abc import Iterable, Iterator

from .repository import Package
from .solver import Name, Solver, accepts
from .versions import Dependency

WIDTH = 80
"""Columns of a screen that nobody told the width of."""

Ask = tuple[str, Dependency, Package | None]
"""Who asks (`world`, or `name-version`), for what, and as which package."""


def explain(solver: Solver, world: Iterable[Dependency], chosen: list[Package]) -> str:
    """Return the message of a failed solution, several lines."""
    asks: list[Ask] = [("world", dependency, None) for dependency in world]
    chosen = sorted(chosen, key=lambda package: package.name)
    for package in chosen:
        asks += [(package.label, dependency, package) for dependency in package.depends]
    lines = ["ERROR: unable to select packages:"]
    seen: set[str] = set()
    for _, dependency, _ in asks:
        name = solver.name(dependency.name)
        if name.chosen is None and not dependency.negated and name.name not in seen:
            seen.add(name.name)
            lines += _about_name(name, asks)
    for package in chosen:
        lines += _about_package(solver, package, asks, chosen)
    return "\n".join(lines)


def _about_name(name: Name, asks: list[Ask]) -> Iterator[str]:
    providers = sorted({package.name for package, _ in name.providers})
    if providers:
        yield f"  {name.name} (virtual):"
        yield _line("provided by:", providers)
    else:
        yield f"  {name.name} (no such package):"
    yield _line("required by:", _asking(name.name, asks))


def _line(label: str, words: list[str]) -> str:
    """Return the words after their label, broken below one another at the screen's edge."""
    start = f"    {label}"
    lines = [start]
    for word in words:
        if len(lines[-1]) + 1 + len(word) >= WIDTH and lines[-1].strip() != label:
            lines.append(" " * len(start))
        lines[-1] += f" {word}"
    return "\n".join(lines)


def _asking(name: str, asks: list[Ask]) -> list[str]:
    return [
        f"{who}[{dependency.text}]"
        for who, dependency, _ in asks
        if dependency.name == name and not dependency.negated
    ]


def _about_package(
    solver: Solver, package: Package, asks: list[Ask], chosen: list[Package]
) -> list[str]:
    """Return what stands against a chosen package; nothing if nothing does."""
    rivals = _rivals(solver, package, chosen)
    versions = dict(package.provides)
    mine = [ask for ask in asks if ask[1].name in versions and ask[2] is not package]
    broken: list[str] = []
    kept: list[str] = []
    for who, dependency, by in mine:
        holds = accepts(dependency, (package, versions[dependency.name]), by)
        (kept if holds else broken).append(f"{who}[{dependency.text}]")
    if not rivals and not broken:
        return []
    lines = [f"  {package.label}:"]
    lines += [_line("conflicts:", rivals)] if rivals else []
    lines += [_line("breaks:", broken)] if broken else []
    return lines + ([_line("satisfies:", kept)] if kept else [])


def _rivals(solver: Solver, package: Package, chosen: list[Package]) -> list[str]:
    """Return the other chosen packages that provide a name which only one may have."""
    found = []
    for provided, version in package.provides:
        for other, other_version in solver.name(provided).providers:
            shared = version is None and other_version is None
            if other in chosen and other is not package and not shared:
                suffix = "" if provided == package.name else f"[{_spell(provided, version)}]"
                found.append(f"{other.label}{suffix}")
    return found


def _spell(name: str, version: str | None) -> str:
    return name if version is None else f"{name}={version}"
