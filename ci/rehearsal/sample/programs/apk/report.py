"""Why no set of packages fits a world, in the form of apk's own report (`src/print.c`)."""

from collections.abc import Iterable

from .repository import Package
from .resolver import Demand, Provider, Resolver


def format_report(choice: Resolver) -> str:
    """Return what stands against `choice`, several lines; empty when it fits."""
    lines: list[str] = []
    for name in sorted({demand.dependency.name for demand in choice.unmet()} - {*choice.filled}):
        providers = {provider.package.name for provider in choice.providers.get(name, ())}
        lines.append(f"  {name} ({'virtual' if providers else 'no such package'}):")
        lines += _line("provided by", sorted(providers))
        lines += _line("required by", map(_spell, choice.demands[name]))
    for package in sorted(choice.chosen, key=lambda package: package.name):
        lines += _about(package, choice)
    return "\n".join(lines)


def _about(package: Package, choice: Resolver) -> list[str]:
    rivals: list[str] = []
    broken: list[str] = []
    kept: list[str] = []
    for name, version in package.provides:
        for other in choice.providers[name]:
            versioned = version or other.version
            if other.package in choice.chosen and other.package is not package and versioned:
                rivals.append(f"{other.package.label}[{name}={versioned}]")
        for demand in choice.demands.get(name, ()):
            holds = demand.accepts(Provider(package, version))
            (kept if holds else broken).append(_spell(demand))
    if not rivals and not broken:
        return []
    return [
        f"  {package.label}:",
        *_line("conflicts", rivals),
        *_line("breaks", broken),
        *_line("satisfies", kept),
    ]


def _spell(demand: Demand) -> str:
    return f"{demand.by.label if demand.by else 'world'}[{demand.dependency.text}]"


def _line(key: str, words: Iterable[str]) -> list[str]:
    text = " ".join(words)
    return [f"    {key}: {text}"] if text else []
