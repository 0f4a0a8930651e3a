"""Choice of the packages for a world, and the order of their installation.

A name that one package alone can fill is decided at once; then names of packages, then names that
several packages provide. No decision is taken back.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

from .dependencies import Dependency, rank
from .repository import Package


class Provider(NamedTuple):
    """A package, and the version at which it provides a name (None: without one)."""

    package: Package
    version: str | None


class Demand(NamedTuple):
    """A dependency, and the package that has it (None: the world)."""

    dependency: Dependency
    by: Package | None

    def accepts(self, provider: Provider | None) -> bool:
        """Return whether it is met when its name is filled by `provider`, or by no package."""
        if provider is None or (provider.package is self.by and self.dependency.negated):
            return self.dependency.negated
        return self.dependency.matches(provider.version) != self.dependency.negated


class Resolver:
    """The choice of packages for one world; `report` lists the conflicts."""

    def __init__(self, packages: Sequence[Package], world: Sequence[Dependency]) -> None:
        self.world = sorted(world, key=lambda one: (one.name.lower(), one.name))
        self.chosen: dict[Package, None] = {}
        self.filled: dict[str, Provider] = {}
        """Name -> the chosen package that provides it."""
        self.providers: dict[str, list[Provider]] = {}
        self.demands: dict[str, list[Demand]] = {}
        self._open: dict[str, None] = {}
        self._refused: set[Package] = set()
        """Packages that conflict with the chosen ones."""
        waiting = []
        for package in packages:
            for name, version in package.provides:
                self.providers.setdefault(name, []).append(Provider(package, version))
            waiting += [package] if package.install_if else []
        while lost := {one for one in packages if not self._possible(one)} - self._refused:
            self._refused |= lost
        self._demand(self.world, None)
        # The newest of several versions is tried first.
        waiting.sort(key=lambda package: rank(package.version), reverse=True)
        while self._open or self._take_automatic(waiting):
            if self._open:
                name, candidates = self._next()
                # A package that install_if selects may fill an undecided name.
                if len(candidates) == 1 or not self._take_automatic(waiting, early=True):
                    self._decide(name, candidates)

    def order(self) -> list[Package]:
        """Return the chosen packages, each one after its dependencies and install_if."""
        order: dict[Package, None] = {}
        visited: set[Package] = set()
        automatic = sorted((one for one in self.chosen if one.install_if), key=lambda one: one.name)

        def visit(package: Package) -> None:
            if package not in visited:
                visited.add(package)
                for needed in self._filling(package.depends):
                    visit(needed)
                order[package] = None
                for one in automatic:
                    if order.keys() >= self._filling(one.install_if).keys():
                        visit(one)

        for package in (*self._filling(self.world), *self.chosen):
            visit(package)
        return list(order)

    def _filling(self, dependencies: Iterable[Dependency]) -> dict[Package, None]:
        found = [self.filled[one.name] for one in dependencies if one.name in self.filled]
        return dict.fromkeys(provider.package for provider in found)

    def _demand(self, dependencies: Iterable[Dependency], by: Package | None) -> None:
        for dependency in dependencies:
            name, demand = dependency.name, Demand(dependency, by)
            self.demands.setdefault(name, []).append(demand)
            providers = self.providers.get(name, ())
            self._refused |= {one.package for one in providers if not demand.accepts(one)}
            if not dependency.negated and name not in self.filled:
                self._open[name] = None

    def _possible(self, package: Package) -> bool:
        """Return whether `package` fits the chosen ones and its dependencies can be met."""
        return package not in self._refused and all(
            self._satisfiable(Demand(dependency, package)) for dependency in package.depends
        )

    def _satisfiable(self, demand: Demand) -> bool:
        name = demand.dependency.name
        if demand.dependency.negated or name in self.filled:
            return demand.accepts(self.filled.get(name))
        return any(
            demand.accepts(provider) and provider.package not in self._refused
            for provider in self.providers.get(name, ())
        )

    def _next(self) -> tuple[str, list[Provider]]:
        """Return the name to decide now, and the packages that can fill it, of equal rank."""
        best: tuple[int, str, list[Provider]] = (3, next(iter(self._open)), [])
        for name in self._open:
            candidates = [
                one
                for one in self.providers.get(name, ())
                # Several programs provide a name without a version: only a package with a
                # priority fills it automatically.
                if (one.version is not None or one.package.record.provider_priority)
                and self._possible(one.package)
            ]
            if len(candidates) == 1:
                return name, candidates
            # A name that nothing fills yet may be provided by a later choice.
            if candidates:
                is_virtual = all(one.package.name != name for one in candidates)
                best = min(best, (1 + is_virtual, name, candidates), key=lambda row: row[0])
        return best[1:]

    def _decide(self, name: str, candidates: list[Provider]) -> None:
        del self._open[name]
        if not candidates:
            # One with a conflict, for the report.
            candidates = [one for one in self.providers.get(name, ()) if one.version is not None]
        if candidates:
            best = reduce(_better, candidates).package
            same = [one.package for one in candidates if one.package.name == best.name]
            self._take(max(same, key=lambda one: (rank(one.version), -one.repository)))

    def _take(self, package: Package) -> None:
        self.chosen[package] = None
        for name, version in package.provides:
            self.filled.setdefault(name, Provider(package, version))
            self._open.pop(name, None)
            # Only one package provides a name, unless all of them do without a version.
            rivals = {one.package for one in self.providers[name] if version or one.version}
            self._refused |= rivals - {package}
        self._demand(package.depends, package)

    def _take_automatic(self, waiting: Iterable[Package], *, early: bool = False) -> bool:
        """Take one of the packages whose install_if is met; return whether there was one.

        `early`: that a name is absent is not yet known.
        """
        for package in waiting:
            demands = [Demand(one, package) for one in package.install_if]
            filling = [self.filled.get(one.dependency.name) for one in demands]
            met = all(map(Demand.accepts, demands, filling)) and not (early and None in filling)
            if met and package not in self.chosen and self._possible(package):
                self._take(package)
                return True
        return False


def _better(one: Provider, other: Provider) -> Provider:
    """Return the one that apk prefers, the first of equal ones.

    Versions count only if both have one (apk-tools, src/solver.c, `compare_providers`).
    """

    def preference(provider: Provider) -> tuple[object, ...]:
        version = provider.version if one.version and other.version else None
        priority = provider.package.record.provider_priority or 0
        return rank(version or ""), priority, -provider.package.repository

    return max(one, other, key=preference)
