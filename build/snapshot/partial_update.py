"""Move one package and what it forces; everything else stays as the former lock has it.

apk is shown excerpts of the indexes: of what stays, the versions of the lock, out of the index
that vouches for them; of what moves, those that are served now. What is built from one source
moves together, since such packages ask for one another's very version. When apk finds something
else in the way, that moves too and apk is asked again: as in `solve`, apk decides.

The lock that comes of it may name two indexes of one repository, each the one that vouches for
the packages that say so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from build.apk.index import IndexRecord, read_index
from build.apk.signature import Keyring
from build.config import BuildConfig
from build.errors import ConfigError, SnapshotError, StaleLockError
from build.firstboot.packages import KEY_NAME, local_key
from build.snapshot.index_subset import shown
from build.snapshot.lock import Lock, LockedPackage, LockedRepository
from build.snapshot.repositories import Group, Groups, Location, Repository
from build.snapshot.solve import LackingError, UnsolvedError, name_of, rank
from build.snapshot.solver_errors import NO_SUCH, parse_reasons
from build.snapshot.store import Store

Moving = Mapping[Location, frozenset[str]]
"""Names of the packages that move, by place."""
WHOLE = "pin everything once, with `nox -s pin`, and one package after that"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """One place: what the lock has there, and what its repositories serve now."""

    place: Location
    former: tuple[Repository, ...]
    """As the lock has them, each with the index it names."""
    taken: tuple[tuple[LockedPackage, ...], ...]
    """What the lock took from each of them."""
    served: Group

    @property
    def locked(self) -> list[LockedPackage]:
        """The packages of the lock."""
        return [package for packages in self.taken for package in packages]

    @property
    def names(self) -> set[str]:
        """Their names."""
        return {package.name for package in self.locked}

    def served_as(self, name: str) -> tuple[IndexRecord, ...]:
        """Return the packages called `name` that are served now."""
        served = self.served.repositories
        return tuple(record for each in served for record in each.index.records.named(name))

    def moves(self, name: str) -> bool:
        """Return whether what is served as `name` is not what the lock has."""
        newest = max(self.served_as(name), key=lambda each: rank(each.version), default=None)
        had = {package.checksum for package in self.locked if package.name == name}
        return newest is not None and newest.checksum not in had

    def with_siblings(self, names: Collection[str]) -> frozenset[str]:
        """Return `names` and those that are, or were, built from the same sources."""
        sources = {package.origin for package in self.locked if package.name in names}
        sources |= {record.origin for name in names for record in self.served_as(name)}
        sources.discard("")
        siblings = {package.name for package in self.locked if package.origin in sources}
        for repository in self.served.repositories:
            siblings |= {each.name for each in repository.index.records if each.origin in sources}
        return frozenset({*names, *siblings})

    def group(self, start: int, moving: Collection[str]) -> Group:
        """Return the repositories with what apk may choose of each when `moving` names move.

        The former ones keep their order and those with a new index follow, so that a lock that
        is moved on from keeps its numbers. Of several indexes that name a package the first
        vouches for it: that is where apk looks for the file.
        """
        moved = {name for name in moving if self.moves(name)}
        repositories = list(self.former)
        wanted = [
            {(package.name, package.version) for package in packages if package.name not in moved}
            for packages in self.taken
        ]
        for repository in self.served.repositories:
            number = _number_of(repository, repositories)
            if number is None:
                number = len(repositories)
                repositories.append(repository)
                wanted.append(set())
            repositories[number] = repository
            for name in moved:
                for record in repository.index.records.named(name):
                    first = _first_naming(record, repository.url, repositories)
                    wanted[first].add((name, record.version))
        pairs = zip(repositories, wanted, strict=True)
        keys = self.served.keys
        return Group(
            repositories=tuple(repositories),
            keys=Keyring(keys.where, {**keys.files, KEY_NAME: local_key().public_pem()}),
            first=start,
            excerpts=tuple(shown(repository.index, each) for repository, each in pairs),
        )

    def in_the_way(self, error: UnsolvedError | LackingError, moving: Collection[str]) -> set[str]:
        """Return the names that have to move as well, as far as `error` says it."""
        if isinstance(error, LackingError):
            return self._staying(error.by, moving) or self._bringing(error.wanted)
        found = set[str]()
        for reason in parse_reasons(error.report):
            if reason.remark == NO_SUCH:
                for by, _ in reason.needs("required by"):
                    found |= self._staying(by, moving) or self._bringing(reason.name)
            for by, _ in (*reason.needs("breaks"), *reason.needs("conflicts")):
                found |= self._staying(reason.name, moving) or self._staying(by, moving)
        return found

    def _staying(self, label: str, moving: Collection[str]) -> set[str]:
        """Return the name of the package that stays and that `label` means; else nothing."""
        return {
            package.name
            for package in self.locked
            if label in (package.name, f"{package.name}-{package.version}")
            and package.name not in moving
        }

    def _bringing(self, wanted: str) -> set[str]:
        """Return the names of what is served now and brings what is `wanted`."""
        name = name_of(wanted)
        found = {record.name for record in self.served_as(name)}
        for repository in self.served.repositories:
            found |= {record.name for record in repository.index.records.providing(name)}
        return found


@dataclass(frozen=True, slots=True)
class Partial:
    """Both places; one stock when the builder has no repositories of its own."""

    stocks: tuple[Stock, ...]
    """Of the image, and of the builder when that is another."""

    @classmethod
    def of(cls, config: BuildConfig, former: Lock, served: Groups, store: Store) -> "Partial":
        """Return what there is, now that the repositories serve `served`.

        Raises:
            StaleLockError: release.toml names other repositories than `former` was made from.
            SnapshotError: the store has lost an index of `former`.
            VerificationError: an index of `former` is not what a trusted key signed.
        """
        groups: dict[Location, Group] = {"image": served.image}
        if served.builder is not served.image:
            groups["builder"] = served.builder
        if {repository.place for repository in former.repositories} != set(groups):
            raise StaleLockError(f"{config.lock}: made with other keys for the builder", hint=WHOLE)
        return cls(tuple(_stock(place, former, each, store) for place, each in groups.items()))

    def start(self, names: Sequence[str]) -> Moving:
        """Return what moves, by place, when `names` shall.

        Raises:
            ConfigError: the lock has no package of one of these names.
            SnapshotError: one is not served any more.
        """
        for name in names:
            stocks = [stock for stock in self.stocks if name in stock.names]
            if not stocks:
                raise ConfigError(
                    f"--package {name}: the lock has no package of this name",
                    hint="`nox -s pin` without --package takes in what release.toml adds",
                )
            if not any(stock.served_as(name) for stock in stocks):
                raise SnapshotError(f"{name}: no repository has it any more", hint=WHOLE)
        return {
            stock.place: stock.with_siblings(
                {name for name in names if name in stock.names and stock.moves(name)}
            )
            for stock in self.stocks
        }

    def groups(self, moving: Moving) -> Groups:
        """Return the repositories of the lock to be, with what apk may choose of each."""
        image = self.stocks[0].group(0, moving["image"])
        if len(self.stocks) == 1:
            return Groups(image, image)
        return Groups(image, self.stocks[1].group(len(image.repositories), moving["builder"]))

    def forced(self, error: UnsolvedError | LackingError, moving: Moving) -> Moving:
        """Return what moves beyond `moving` because of what `error` says; empty when nothing."""
        found = {}
        for stock in self.stocks:
            if isinstance(error, UnsolvedError) and self._place_of(error.asked_by) != stock.place:
                continue
            before = moving[stock.place]
            if more := stock.with_siblings(stock.in_the_way(error, before)) - before:
                found[stock.place] = more
        return found

    def _place_of(self, closure: str) -> Location:
        return "builder" if closure == "builder" and len(self.stocks) > 1 else "image"


def joined(moving: Moving, more: Moving) -> Moving:
    """Return both together."""
    return {place: names | more.get(place, frozenset()) for place, names in moving.items()}


def without_unused(lock: Lock) -> Lock:
    """Return `lock` without the indexes that no package needs any more.

    Of each repository one stays: what nothing was taken from is part of the choice, too.
    """
    used = {package.repository for package in lock.packages}
    kept = [
        number
        for number, repository in enumerate(lock.repositories)
        if number in used or number == _stand_in(repository, lock.repositories, used)
    ]
    places = {number: place for place, number in enumerate(kept)}
    return replace(
        lock,
        repositories=tuple(lock.repositories[number] for number in kept),
        packages=tuple(
            replace(package, repository=places[package.repository]) for package in lock.packages
        ),
    )


def _stand_in(
    repository: LockedRepository, all_: Sequence[LockedRepository], used: Collection[int]
) -> int | None:
    """Return the first index of a repository of whose indexes none is used, else None."""
    same = [
        number
        for number, each in enumerate(all_)
        if (each.place, each.url) == (repository.place, repository.url)
    ]
    return None if set(same) & set(used) else same[0]


def _stock(place: Location, former: Lock, served: Group, store: Store) -> Stock:
    numbered = [
        (number, locked)
        for number, locked in enumerate(former.repositories)
        if locked.place == place
    ]
    by_url = {repository.url: repository for repository in served.repositories}
    if {locked.url for _, locked in numbered} != set(by_url):
        raise StaleLockError(f"release.lock: not made of these repositories ({place})", hint=WHOLE)
    taken = tuple(
        tuple(package for package in former.packages if package.repository == number)
        for number, _ in numbered
    )
    repositories = tuple(_as_locked(locked, by_url[locked.url], store) for _, locked in numbered)
    return Stock(place=place, former=repositories, taken=taken, served=served)


def _as_locked(locked: LockedRepository, now: Repository, store: Store) -> Repository:
    """Return the repository `now` as it was when it was locked.

    Packages come from the store. One that it lacks comes from where it always did, if it is
    still there, and no mirror is asked: they were compared at the time.
    """
    index = read_index(store.read(locked.index_sha256), now.keys, where=f"index of {locked.url}")
    first = next((place for place in now.served_by if not place.written), now.served_by[0])
    return replace(now, index=index, served_by=(replace(first, written=""),))


def _first_naming(record: IndexRecord, url: str, all_: Sequence[Repository]) -> int:
    """Return the first index of the repository at `url` that names just this package."""
    return next(
        number
        for number, each in enumerate(all_)
        if each.url == url and record in each.index.records
    )


def _number_of(repository: Repository, all_: Sequence[Repository]) -> int | None:
    for number, each in enumerate(all_):
        if (each.url, each.index.raw) == (repository.url, repository.index.raw):
            return number
    return None
