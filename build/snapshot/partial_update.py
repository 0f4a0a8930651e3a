"""Update of some packages and of what they force; the others stay as the previous lock has them.

apk is given subsets of the indexes: for what stays, the versions of the lock, out of the index
that lists them; for what moves, those that are served now. Packages that are built from one
source move together, since they depend on each other's exact version. When apk reports that
something else prevents a solution, that moves too and apk is asked again: as in `solve`, apk
decides.

The resulting lock may name two indexes of one repository; each package refers to the one that
lists it.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from build.apk.index import Index, IndexRecord, parse_records, read_index
from build.apk.signature import Keyring
from build.apk.writing import write_index
from build.config import BuildConfig
from build.errors import ConfigError, SnapshotError, StaleLockError
from build.firstboot.packages import KEY_NAME, local_key
from build.snapshot.lock import Lock, LockedPackage, Role
from build.snapshot.repositories import IndexGroup, IndexGroups, Repository
from build.snapshot.solve import (
    MissingDependencyError,
    UnsolvedError,
    dependency_name,
    version_rank,
)
from build.snapshot.solver_errors import NO_SUCH, parse_reasons
from build.snapshot.store import Store

Moving = Mapping[Role, frozenset[str]]
"""Names of the packages that move."""
PIN_ALL = "pin everything once, with `nox -s pin`, and one package after that"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleUpdate:
    """One role: what the lock has, and what its repositories serve now."""

    role: Role
    previous: tuple[tuple[Repository, tuple[LockedPackage, ...]], ...]
    """Each repository with an index that the lock names, and the lock's packages from it."""
    served: IndexGroup

    @classmethod
    def prepare(cls, role: Role, previous: Lock, served: IndexGroup, store: Store) -> "RoleUpdate":
        """Return the update of one role; errors are those of `PartialUpdate.prepare`.

        Locked packages come from the store. One that the store lacks comes from the repository
        itself, if it is still there. Mirrors are not asked: they were compared when the lock was
        made.
        """
        entries = [(n, each) for n, each in enumerate(previous.repositories) if each.role == role]
        by_url = {repository.url: repository for repository in served.repositories}
        if {locked.url for _, locked in entries} != set(by_url):
            raise StaleLockError(
                f"release.lock: not made of these repositories ({role})", hint=PIN_ALL
            )
        pairs = []
        for number, locked in entries:
            now = by_url[locked.url]
            raw = store.read(locked.index_sha256)
            index = read_index(raw, now.keys, where=f"index of {locked.url}")
            first = next((source for source in now.sources if not source.mirror), now.sources[0])
            before = replace(now, index=index, sources=(replace(first, mirror=""),))
            packages = (each for each in previous.packages if each.repository == number)
            pairs.append((before, tuple(packages)))
        return cls(role=role, previous=tuple(pairs), served=served)

    @property
    def locked(self) -> list[LockedPackage]:
        """The packages of the lock."""
        return [package for _, packages in self.previous for package in packages]

    @property
    def names(self) -> set[str]:
        """Names of the packages of the lock."""
        return {package.name for package in self.locked}

    def served_as(self, name: str) -> tuple[IndexRecord, ...]:
        """Return the packages called `name` that are served now."""
        served = self.served.repositories
        return tuple(record for each in served for record in each.index.records.named(name))

    def is_changed(self, name: str) -> bool:
        """Return whether the newest package served as `name` is not in the lock."""
        ranked = max(
            self.served_as(name), key=lambda each: version_rank(each.version), default=None
        )
        locked = {package.checksum for package in self.locked if package.name == name}
        return ranked is not None and ranked.checksum not in locked

    def with_siblings(self, names: Collection[str]) -> frozenset[str]:
        """Return `names` and those that are, or were, built from the same sources."""
        sources = {package.origin for package in self.locked if package.name in names}
        sources |= {record.origin for name in names for record in self.served_as(name)}
        sources.discard("")  # packages without an origin are not related to each other
        siblings = {package.name for package in self.locked if package.origin in sources}
        for repository in self.served.repositories:
            siblings |= {each.name for each in repository.index.records if each.origin in sources}
        return frozenset({*names, *siblings})

    def group(self, first: int, moving: Collection[str]) -> IndexGroup:
        """Return the repositories with the subsets that apk may choose from.

        The previous ones keep their order and those with a new index follow, so that an update
        of an updated lock keeps the numbers. Of several indexes that list a package the first
        counts: that is where apk looks for the file.
        """
        changed = {name for name in moving if self.is_changed(name)}
        repositories = [repository for repository, _ in self.previous]
        wanted = [
            {(each.name, each.version) for each in packages if each.name not in changed}
            for _, packages in self.previous
        ]
        for repository in self.served.repositories:
            indexes = [(each.url, each.index.raw) for each in repositories]
            if (repository.url, repository.index.raw) in indexes:
                # The same index as in the lock, but its sources are those of today.
                number = indexes.index((repository.url, repository.index.raw))
                repositories[number] = repository
            else:
                repositories.append(repository)
                wanted.append(set())
            for name in changed:
                for record in repository.index.records.named(name):
                    first_listing = next(
                        number
                        for number, each in enumerate(repositories)
                        if each.url == repository.url and record in each.index.records.named(name)
                    )
                    wanted[first_listing].add((name, record.version))
        pairs = zip(repositories, wanted, strict=True)
        keys = self.served.keys
        return IndexGroup(
            repositories=tuple(repositories),
            keys=Keyring(keys.where, {**keys.files, KEY_NAME: local_key().public_pem()}),
            first=first,
            subsets=tuple(_subset(each.index, names) for each, names in pairs),
        )

    def preventing(
        self, error: UnsolvedError | MissingDependencyError, moving: Collection[str]
    ) -> set[str]:
        """Return the names that `error` shows to prevent a solution while they stay."""
        if isinstance(error, MissingDependencyError):
            return self._staying(error.needed_by, moving) or self._providers(error.wanted)
        found = set[str]()
        for reason in parse_reasons(error.report):
            if reason.remark == NO_SUCH:
                for by, _ in reason.needs("required by"):
                    found |= self._staying(by, moving) or self._providers(reason.name)
            for by, _ in (*reason.needs("breaks"), *reason.needs("conflicts")):
                found |= self._staying(reason.name, moving) or self._staying(by, moving)
        return found

    def _staying(self, label: str, moving: Collection[str]) -> set[str]:
        """Return the name of the package `label` (with or without version) if it stays."""
        return {
            package.name
            for package in self.locked
            if label in (package.name, f"{package.name}-{package.version}")
            and package.name not in moving
        }

    def _providers(self, wanted: str) -> set[str]:
        """Return the names of the served packages that are, or provide, what is `wanted`."""
        name = dependency_name(wanted)
        served = [each.index.records for each in self.served.repositories]
        found = (record for each in served for record in each.providing(name))
        return {record.name for record in (*self.served_as(name), *found)}


@dataclass(frozen=True, slots=True)
class PartialUpdate:
    """Update of the image's packages and, if it has its own repositories, of the builder's."""

    roles: tuple[RoleUpdate, ...]

    @classmethod
    def prepare(
        cls, config: BuildConfig, previous: Lock, served: IndexGroups, store: Store
    ) -> "PartialUpdate":
        """Return the update of `previous` with what the repositories serve now.

        Raises:
            StaleLockError: release.toml names other repositories than `previous` was made from.
            SnapshotError: the store has lost an index of `previous`.
            VerificationError: an index of `previous` is not what a trusted key signed.
        """
        groups: dict[Role, IndexGroup] = {"image": served.image}
        if served.builder is not served.image:
            groups["builder"] = served.builder
        if {repository.role for repository in previous.repositories} != set(groups):
            raise StaleLockError(
                f"{config.lock}: made with other keys for the builder", hint=PIN_ALL
            )
        roles = (RoleUpdate.prepare(role, previous, groups[role], store) for role in groups)
        return cls(tuple(roles))

    def start(self, names: Sequence[str]) -> Moving:
        """Return what moves when `names` are to be updated.

        Raises:
            ConfigError: the lock has no package of one of these names.
            SnapshotError: one is no longer served.
        """
        for name in names:
            roles = [each for each in self.roles if name in each.names]
            if not roles:
                raise ConfigError(
                    f"--package {name}: the lock has no package of this name",
                    hint="`nox -s pin` without --package takes in what release.toml adds",
                )
            if not any(each.served_as(name) for each in roles):
                raise SnapshotError(f"{name}: no repository has it any more", hint=PIN_ALL)
        return {
            each.role: each.with_siblings(
                {name for name in names if name in each.names and each.is_changed(name)}
            )
            for each in self.roles
        }

    def groups(self, moving: Moving) -> IndexGroups:
        """Return the repositories of the new lock, with what apk may choose of each."""
        image = self.roles[0].group(0, moving["image"])
        if len(self.roles) == 1:
            return IndexGroups(image, image)
        return IndexGroups(image, self.roles[1].group(len(image.repositories), moving["builder"]))

    def forced(self, error: UnsolvedError | MissingDependencyError, moving: Moving) -> Moving:
        """Return what has to move besides `moving` because of `error`; empty if nothing."""
        found, roles = {}, self.roles
        if isinstance(error, UnsolvedError) and len(roles) > 1:
            roles = roles[1:] if error.closure == "builder" else roles[:1]
        for each in roles:
            before = moving[each.role]
            if more := each.with_siblings(each.preventing(error, before)) - before:
                found[each.role] = more
        return found


def without_unused_indexes(lock: Lock) -> Lock:
    """Return `lock` without the indexes that no package refers to.

    Of each repository one index stays: a repository that nothing was taken from is part of the
    choice, too.
    """
    used = {package.repository for package in lock.packages}
    used_urls = {(lock.repositories[n].role, lock.repositories[n].url) for n in used}
    kept: list[int] = []
    for number, repository in enumerate(lock.repositories):
        address = (repository.role, repository.url)
        if number in used or address not in used_urls:
            kept.append(number)
            used_urls.add(address)
    numbers = {old: new for new, old in enumerate(kept)}
    return replace(
        lock,
        repositories=tuple(lock.repositories[number] for number in kept),
        packages=tuple(
            replace(package, repository=numbers[package.repository]) for package in lock.packages
        ),
    )


def _subset(index: Index, wanted: Set[tuple[str, str]]) -> Index:
    """Return `index` with only the packages whose (name, version) is in `wanted`.

    It is no longer what the repository signed, so it is signed with the key of the local
    packages, which is public: it is read at once and never published.
    """
    texts = index.records.texts(wanted)
    return replace(
        index,
        raw=write_index(texts, local_key(), index.description),
        signer=KEY_NAME,
        records=parse_records("\n".join(texts).encode(), where="index subset"),
    )
