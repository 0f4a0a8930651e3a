"""Which packages fulfil a world: narrowing first, then one decision at a time.

Apk's semantics (apk-tools, doc/apk-world.5 and doc/apk-package.5; seen in 3.0.6): what is certain
is drawn from the open names until nothing moves; then one name is decided for good, and so on.
There is no going back, as there is none in apk: a contradiction is an error to be explained.
"""

import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .murmur import bucket
from .repository import Package
from .versions import Dependency, compare

Provider = tuple[Package, str | None]
"""A package and the version at which it provides a name (None: unversioned)."""

START = (False, False, 0)
"""The order of a name that is being discovered."""


def display_order(dependency: Dependency) -> tuple[str, str]:
    """Return what a world is sorted by: names, capitals among small letters."""
    return dependency.name.lower(), dependency.name


@dataclass(eq=False)
class Standing:
    """What the solver knows about one package."""

    usable: bool = True
    triggered: bool = False
    """Its install_if holds."""
    hopeless: bool = False
    """Its install_if can no longer hold, or it has none."""
    preferred: bool = False
    """It was among the candidates when its name was last narrowed."""
    refusals: int = 0
    """How many demands it does not meet."""
    broken: bool = False


@dataclass(eq=False)
class Name:
    """What the solver knows about one name."""

    name: str
    newness: int
    """The lower, the later it was first heard of."""
    providers: list[Provider] = field(default_factory=list)
    dependents: dict["Name", None] = field(default_factory=dict)
    """Names with a provider that depends on this one."""
    triggers: dict["Name", None] = field(default_factory=dict)
    """Names with a provider whose install_if mentions this one."""
    order: tuple[bool, bool, int] | None = None
    """When it is decided: what was asked for now, then what is a package, then by discovery, so
    that what needs others comes before them; what is only provided comes late."""
    wanted: bool = False
    asked: bool = False
    """An install_if waits to hear that this is absent."""
    locked: bool = False
    chosen: Provider | None = None
    can_trigger: bool = False
    eligible: bool = False
    """A candidate may be taken without being named."""
    options: bool = False
    settled: bool = False
    """Every name that could depend on it is decided."""
    check_depends: bool = False
    check_triggers: bool = False
    moved: bool = False
    open: bool = False
    urgent: bool = False


def accepts(dependency: Dependency, provider: Provider | None, by: Package | None) -> bool:
    """Return whether `dependency` of package `by` holds when its name is `provider`."""
    if provider is None:
        return dependency.negated
    package, version = provider
    if dependency.negated and package is by:
        return True
    return dependency.accepts(version, package.checksum)


class Solver:
    """Decides names one after another; the answer is in `names` and `standing`."""

    def __init__(self, packages: Sequence[Package]) -> None:
        # Discovery goes down the chains of a whole distribution.
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 200_000))
        self.names: dict[str, Name] = {}
        self.standing: dict[Package, Standing] = {package: Standing() for package in packages}
        self.missing: list[Name] = []
        """Wanted, and nobody provides them."""
        self.errors = 0
        self._discovered: set[Package] = set()
        self._named: frozenset[str] = frozenset()
        self._count = 0
        self._moved: deque[Name] = deque()
        self._urgent: deque[Name] = deque()
        self._open: dict[Name, None] = {}
        for package in packages:
            self._enter(package)

    def name(self, text: str) -> Name:
        """Return what is known about the name `text`."""
        found = self.names.get(text)
        if found is None:
            found = self.names[text] = Name(text, -len(self.names))
        return found

    def solve(self, world: Iterable[Dependency], named: Iterable[str] = ()) -> None:
        """Decide every name that `world` leads to, first those `named` on the command line."""
        self._named = frozenset(named)
        demands = sorted(world, key=display_order)
        for demand in demands:
            self._discover(self.name(demand.name))
        for demand in demands:
            self._demand(demand, None)
        while True:
            while self._moved:
                moved = self._moved.popleft()
                moved.moved = False
                if not moved.locked:
                    self._narrow(moved)
            decided = self._next()
            if decided is None:
                return
            self._decide(decided)

    # The graph

    def _enter(self, package: Package) -> None:
        for word in (package.provides[0], *((one.name, "") for one in package.depends)):
            self.name(word[0])
        mine = [self.name(name) for name, _ in package.provides]
        for name, (_, version) in zip(mine, package.provides, strict=True):
            name.providers.append((package, version))
        for dependency in package.depends:
            self.name(dependency.name).dependents.update(dict.fromkeys(mine))
        for dependency in package.install_if:
            self.name(dependency.name).triggers.update(dict.fromkeys(mine))
        self.standing[package].hopeless = not package.install_if

    def _discover(self, name: Name) -> None:
        """Number `name` and all that it may bring in, dependencies before it."""
        if name.order is not None:
            return
        name.order = START
        name.dependents, name.triggers = _as_table(name.dependents), _as_table(name.triggers)
        for package, _ in name.providers:
            if package not in self._discovered:
                self._discovered.add(package)
                for dependency in package.depends:
                    self._discover(self.name(dependency.name))
        for other in name.triggers:
            self._discover(other)
        for package, _ in name.providers:
            for other in self.name(package.name).triggers:
                self._discover(other)
            for provided, _ in package.provides[1:]:
                self._discover(self.name(provided))
        self._count += 1
        real = any(package.name == name.name for package, _ in name.providers)
        asked = name.name in self._named
        name.order = (not asked, not real, -self._count)
        for package, _ in name.providers:
            for dependency in package.install_if:
                self._discover(self.name(dependency.name))

    # Queues

    def _move(self, name: Name) -> None:
        """Have `name` narrowed soon."""
        if not (name.locked or name.moved) and (name.wanted or name.check_triggers):
            name.moved = True
            self._moved.append(name)

    def _reopen(self, name: Name) -> None:
        """Put `name` among those to decide, at once if there is nothing to choose."""
        if name.locked or name.urgent:
            return
        if not (name.open or name.wanted or name.can_trigger or name.asked):
            return
        name.open = True
        name.urgent = name.settled and name.wanted and name.eligible and not name.options
        if name.urgent:
            self._open.pop(name, None)
            self._urgent.append(name)
        else:
            self._open[name] = None

    def _next(self) -> Name | None:
        while self._urgent:
            name = self._urgent.popleft()
            if not name.locked:
                return name
        if not self._open:
            return None
        name = min(self._open, key=lambda one: (not one.eligible, one.order or START))
        del self._open[name]
        return name

    def _stir_dependents(self, name: Name) -> None:
        for other in name.dependents:
            if other.order is not None:
                other.check_depends = True
                self._move(other)

    def _stir_triggers(self, name: Name) -> None:
        for other in name.triggers:
            if other.order is not None and not self._no_trigger_left(other):
                other.check_triggers = True
                self._move(other)

    def _no_trigger_left(self, name: Name) -> bool:
        return all(self.standing[package].hopeless for package, _ in name.providers)

    # What is certain

    def _want(self, name: Name) -> None:
        if not name.wanted:
            name.wanted = True
            self._reopen(name)
            self._stir_triggers(name)
            self._move(name)

    def _demand(self, dependency: Dependency, by: Package | None) -> None:
        """Hold every provider of the name against `dependency`."""
        name = self.name(dependency.name)
        if not dependency.negated:
            self._want(name)
        for provider in name.providers:
            if not accepts(dependency, provider, by):
                standing = self.standing[provider[0]]
                standing.refusals += 1
                if standing.usable:
                    self._exclude(provider[0])

    def _exclude(self, package: Package) -> None:
        self.standing[package].usable = False
        for provided, _ in package.provides:
            name = self.name(provided)
            self._stir_dependents(name)
            self._stir_triggers(name)

    def _satisfiable(self, dependency: Dependency, by: Package) -> bool:
        name = self.name(dependency.name)
        if name.locked:
            return accepts(dependency, name.chosen, by)
        if not name.wanted and dependency.negated:
            return True
        return any(
            self.standing[provider[0]].usable and accepts(dependency, provider, by)
            for provider in name.providers
        )

    def _narrow(self, name: Name) -> None:
        """Draw what is certain from the candidates that `name` still has."""
        check_depends, check_triggers = name.check_depends, name.check_triggers
        name.check_depends = name.check_triggers = False
        if check_depends:
            self._drop_unsatisfiable(name)
        usable = [one for one in name.providers if self.standing[one[0]].usable]
        if check_triggers:
            for package, _ in usable:
                self._weigh_triggers(package)
        name.can_trigger = any(self.standing[package].triggered for package, _ in usable)
        candidates = usable if name.wanted else []
        name.options = len({package for package, _ in candidates}) > 1
        name.eligible = name.can_trigger or any(self._eligible(one) for one in candidates)
        if candidates:
            members = {package for package, _ in candidates}
            for package, _ in name.providers:
                self.standing[package].preferred = package in members
            self._draw(name, candidates)
        name.settled = all(one.order is None or one.locked for one in name.dependents)
        self._reopen(name)

    def _drop_unsatisfiable(self, name: Name) -> None:
        for package, _ in name.providers:
            if self.standing[package].usable and not all(
                self._satisfiable(dependency, package) for dependency in package.depends
            ):
                self._exclude(package)

    def _weigh_triggers(self, package: Package) -> None:
        """Find out whether the install_if of `package` holds, fails or is still open."""
        standing = self.standing[package]
        if standing.triggered or standing.hopeless:
            return
        for dependency in package.install_if:
            name = self.name(dependency.name)
            if not name.locked:
                if dependency.negated:
                    name.asked = True
                    self._reopen(name)
                return
            if not accepts(dependency, name.chosen, package):
                standing.hopeless = True
                return
        standing.triggered = True

    def _draw(self, name: Name, candidates: list[Provider]) -> None:
        """Apply what all candidates of a wanted name have in common."""
        first = candidates[0][0]
        if not name.options:
            for dependency in first.depends:
                if not dependency.negated:
                    self._demand(dependency, first)
        else:
            sets = [{one.name for one in p.depends if not one.negated} for p, _ in candidates]
            shared = set.intersection(*sets)
            for dependency in first.depends:
                if dependency.name in shared:
                    self._want(self.name(dependency.name))
        provided = [{one for one, _ in package.provides} for package, _ in candidates]
        for other in sorted(set.intersection(*provided) - {name.name}):
            self._require_both(self.name(other), name, candidates)

    def _require_both(self, name: Name, other: Name, candidates: list[Provider]) -> None:
        """Exclude providers of `name` that do not provide `other`, as one package will be both."""
        virtual = any((name.name, None) in package.provides for package, _ in candidates)
        for package, version in name.providers:
            if not self.standing[package].usable or (virtual and version is None):
                continue
            if all(one != other.name for one, _ in package.provides):
                self._exclude(package)

    # Decisions

    def _eligible(self, provider: Provider) -> bool:
        package, version = provider
        return bool(version is not None or package.priority or self.name(package.name).wanted)

    def _decide(self, name: Name) -> None:
        best: Provider | None = None
        for provider in name.providers if name.wanted or name.can_trigger else ():
            standing = self.standing[provider[0]]
            called = name.wanted or (standing.triggered and standing.usable)
            if not called or not self._eligible(provider):
                continue
            if best is None or self._better(provider, best):
                best = provider
        if best is None:
            self._lock(name, None)
            if name.wanted:
                self.errors += 1
                self.missing.append(name)
            return
        package = best[0]
        if not self.standing[package].usable:
            self.blame(package)
        for provided, version in package.provides:
            self._lock(self.name(provided), (package, version))
        for dependency in package.depends:
            self._demand(dependency, package)

    def _better(self, mine: Provider, best: Provider) -> bool:
        """Return whether `mine` is to be preferred to the best so far."""
        (a, a_version), (b, b_version) = mine, best
        one, two = self.standing[a], self.standing[b]
        keep_installed = a.installed - b.installed if _comparable(mine, best) else 0
        by_name = _compare_provided(a_version, b_version)
        own = compare(a.version, b.version) if a.name == b.name else 0
        steps = (
            one.usable - two.usable,
            one.preferred - two.preferred,
            two.refusals - one.refusals,
            keep_installed,
            by_name,
            own,
            a.priority - b.priority,
            a.installed - b.installed,
            b.repository - a.repository,
        )
        return next((step for step in steps if step), 0) > 0

    def _lock(self, name: Name, provider: Provider | None) -> None:
        """Give `name` to `provider` for good; others that provide it are out."""
        if name.locked:
            self._share(name, provider)
            return
        name.locked, name.chosen = True, provider
        self._open.pop(name, None)
        if provider is not None:
            self._keep_trigger(name, provider[0])
        for package, version in name.providers:
            same = provider is not None and package is provider[0]
            shared = version is None and (provider is None or provider[1] is None)
            if not same and not shared:
                self._exclude(package)
        self._stir_dependents(name)
        for touched in provider[0].provides if provider else ((name.name, None),):
            self._stir_triggers(self.name(touched[0]))

    def _keep_trigger(self, name: Name, package: Package) -> None:
        """Hold the names that brought in an uncalled package to what it asked of them."""
        if not name.wanted and self.standing[package].triggered:
            for dependency in package.install_if:
                if not self.name(dependency.name).locked:
                    self._demand(dependency, package)

    def _share(self, name: Name, provider: Provider | None) -> None:
        """Two packages provide one name: allowed only if both do so without a version."""
        if provider is None or name.chosen is None or name.chosen[0] is provider[0]:
            return
        if provider[1] is not None or name.chosen[1] is not None:
            self.blame(provider[0])
            self.blame(name.chosen[0])

    def blame(self, package: Package) -> None:
        """Count `package` as one that cannot be as it was chosen."""
        standing = self.standing[package]
        if not standing.broken:
            standing.broken = True
            self.errors += 1


def _comparable(mine: Provider, best: Provider) -> bool:
    return mine[0].name == best[0].name or mine[1] is not None or best[1] is not None


def _compare_provided(mine: str | None, theirs: str | None) -> int:
    if mine is None or theirs is None:
        return (mine is not None) - (theirs is not None)
    return compare(mine, theirs)


def _as_table(names: Iterable[Name]) -> dict[Name, None]:
    return dict.fromkeys(sorted(names, key=lambda one: (bucket(one.name), one.newness)))
