"""Packages, one after another, into the root; then their triggers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .database import Database, Installed
from .murmur import bucket
from .packages import Content, read_package
from .repository import Package
from .scripts import Runner, matching_folders
from .trust import Keys, UntrustedError
from .unpacking import Owners, Unpacking, settle_folders


@dataclass
class Installation:
    """One run of `add`; `errors` says how much went wrong."""

    root: Path
    database: Database
    keys: Keys
    tell: Callable[[str], None]
    complain: Callable[[str], None]
    with_scripts: bool = True
    errors: int = 0
    """Packages that could not be opened or are broken, from earlier too, and failed triggers."""
    made: set[str] = field(default_factory=set)
    changed: dict[str, None] = field(default_factory=dict)

    def run(self, packages: Sequence[Package]) -> None:
        """Install `packages` in the order given, fire triggers, write the database."""
        runner = Runner(self.root, self.tell, self.complain)
        fresh: list[Installed] = []
        try:
            for number, package in enumerate(packages, 1):
                self.tell(progress_line(number, len(packages), package))
                installed = self._install(package, runner)
                fresh += [installed] if installed is not None else []
            settle_folders(self.root, self.database.packages, self.made)
            self.errors += sum(bool(one.broken) for one in self.database.packages)
            self._fire_triggers(runner, fresh)
        finally:
            runner.devices.remove()
            self.database.write()

    def _refuse(self, text: str) -> None:
        self.complain(f"ERROR: {text}")
        self.errors += 1

    def _install(self, package: Package, runner: Runner) -> Installed | None:
        try:
            content = read_package(package, self.keys)
        except UntrustedError as error:
            self._refuse(str(error))
            return None
        except FileNotFoundError:
            self._refuse(
                f"{package.label}: package mentioned in index not found (try 'apk update')"
            )
            return None
        installed = _enter(package, content)
        self.database.add(installed)
        # apk takes a package without size for an empty one and does not open it.
        if package.installed_size > 0:
            # A script that fails breaks the package, and the rest of it goes on all the same.
            self._script(runner, installed, "pre-install", [package.version])
            self._unpack(installed, content)
            self._script(runner, installed, "post-install", [package.version])
        return installed

    def _unpack(self, installed: Installed, content: Content) -> None:
        unpacking = Unpacking(
            self.root,
            self.database,
            installed,
            Owners.of(self.root),
            lambda text: self.complain(f"ERROR: {text}"),
            self.made,
            self.changed,
        )
        beside = unpacking.run(content.data)
        for place in sorted(beside, key=lambda path: path.rpartition("/")[::2]):
            self.tell(f"  Installing file to {place}")

    def _script(
        self, runner: Runner, installed: Installed, kind: str, arguments: Sequence[str]
    ) -> bool:
        """Run a script of the package; return whether it failed."""
        problem = runner.run(installed, kind, arguments) if self.with_scripts else None
        if problem is not None:
            self.complain(f"ERROR: {problem}")
            installed.mark_broken("s")
        return problem is not None

    def _fire_triggers(self, runner: Runner, fresh: Sequence[Installed]) -> None:
        """Run triggers: a new package's on all folders, an older one's on those that changed."""
        known = [folder for one in self.database.packages for folder in one.folders]
        everything = _as_table(["", *known])
        changed = _as_table(self.changed)
        older = [one for one in self.database.packages if one not in fresh]
        for installed in (*fresh, *older):
            folders = everything if installed in fresh else changed
            arguments = matching_folders(installed.triggers, folders, self.changed)
            if arguments:
                self.errors += self._script(runner, installed, "trigger", arguments)


def _as_table(folders: Iterable[str]) -> list[str]:
    """Return the folders in the order of apk's hash table, in which triggers get them."""
    order = list(dict.fromkeys(folders))
    newest = {folder: -number for number, folder in enumerate(order)}
    return sorted(order, key=lambda folder: (bucket(folder), newest[folder]))


def _enter(package: Package, content: Content) -> Installed:
    return Installed(
        Package(package.fields, -1, None),
        replaces=content.words("replaces"),
        replaces_priority=content.number("replaces_priority"),
        triggers=content.words("triggers"),
        scripts=content.scripts,
    )


def progress_line(number: int, total: int, package: Package) -> str:
    """Return apk 3's line about one package, the number padded to the width of the total."""
    return f"({number:{len(str(total))}}/{total}) Installing {package.name} ({package.version})"
