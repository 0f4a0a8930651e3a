"""In which order the chosen packages are installed: what one needs comes before it.

World's names in alphabetical order, each after its dependencies as its `D:` line has them; a
package that install_if brings in comes right after the last one that it waited for.
"""

from collections.abc import Iterable

from .repository import Package
from .solver import Name, Solver, accepts, display_order
from .versions import Dependency


class Walk:
    """One walk over a solved world; `order` is the result."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.order: list[Package] = []
        self._done: set[Name] = set()
        self._taken: set[Package] = set()

    def follow(self, dependency: Dependency, by: Package | None) -> None:
        """Place what `dependency` leads to; a dependency that does not hold is an error."""
        name = self.solver.name(dependency.name)
        chosen = name.chosen
        if not accepts(dependency, chosen, by) and by is not None:
            self.solver.blame(by)
        self._visit(name)
        if chosen is not None and by is not None and self.solver.standing[chosen[0]].broken:
            self.solver.blame(by)

    def _visit(self, name: Name) -> None:
        if name in self._done:
            return
        self._done.add(name)
        if name.chosen is None or name.chosen[0] in self._taken:
            return
        package = name.chosen[0]
        self._taken.add(package)
        provided = [self.solver.name(one) for one, _ in package.provides]
        self._done.update(provided)
        for dependency in package.depends:
            self.follow(dependency, package)
        self.order.append(package)
        for one in provided:
            for waiting in one.triggers:
                self._trigger(waiting)

    def _trigger(self, name: Name) -> None:
        if name.chosen is None or name in self._done:
            return
        package = name.chosen[0]
        for dependency in package.install_if:
            awaited = self.solver.name(dependency.name)
            if not dependency.negated and awaited not in self._done:
                return
            if not accepts(dependency, awaited.chosen, package):
                return
        self._visit(name)


def install_order(solver: Solver, world: Iterable[Dependency]) -> list[Package]:
    """Return every chosen package, dependencies first; `solver.errors` counts what is wrong."""
    walk = Walk(solver)
    for dependency in sorted(world, key=display_order):
        walk.follow(dependency, None)
    return walk.order
