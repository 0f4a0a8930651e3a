"""Conflicts in a choice of packages, in the form of apk's own report (`src/print.c`)."""

from collections.abc import Iterable, Mapping

from .repository import Package
from .resolver import Demand, Provider, Resolver


def format_report(choice: Resolver) -> str:
    """Return the conflicts in `choice`, several lines; empty when there are none."""
    lines: list[str] = []
    for name, demands in sorted(choice.demands.items()):
        if name in choice.filled or all(demand.accepts(None) for demand in demands):
            continue
        providers = {provider.package.name for provider in choice.providers.get(name, ())}
        details = {"provided by": sorted(providers), "required by": _spell(demands)}
        lines += _block(f"{name} ({'virtual' if providers else 'no such package'})", details)
    for package in sorted(choice.chosen, key=lambda package: package.name):
        details = _details(package, choice)
        if details["conflicts"] or details["breaks"]:
            lines += _block(package.label, details)
    return "\n".join(lines)


def _details(package: Package, choice: Resolver) -> dict[str, list[str]]:
    rivals, broken, kept = list[str](), list[Demand](), list[Demand]()
    for name, version in package.provides:
        for other in choice.providers[name]:
            versioned = version or other.version
            if other.package in choice.chosen and other.package is not package and versioned:
                rivals.append(f"{other.package.label}[{name}={versioned}]")
        for demand in choice.demands.get(name, ()):
            (kept if demand.accepts(Provider(package, version)) else broken).append(demand)
    return {"conflicts": rivals, "breaks": _spell(broken), "satisfies": _spell(kept)}


def _block(subject: str, details: Mapping[str, list[str]]) -> list[str]:
    rows = [f"    {key}: {' '.join(words)}" for key, words in details.items() if words]
    return [f"  {subject}:", *rows]


def _spell(demands: Iterable[Demand]) -> list[str]:
    return [f"{one.by.label if one.by else 'world'}[{one.dependency.text}]" for one in demands]
