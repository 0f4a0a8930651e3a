"""The command line: global options anywhere, one command, its words."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .database import Database
from .explain import explain
from .installing import Installation, progress_line
from .ordering import install_order
from .repository import Package, read_repository, unite
from .solver import Solver, display_order
from .trust import Keys, UntrustedError, gzip_members, read_keys, verify_member
from .versions import Dependency, UnreadableDependencyError, parse_dependency

VERSION = "3.0.0_standin"

WITH_VALUE = {
    "--arch": "arch",
    "--root": "root",
    "-p": "root",
    "--keys-dir": "keys",
    "--repository": "repositories",
    "-X": "repositories",
    "--repositories-file": "repositories_file",
}
FLAGS = {
    "--initdb": "initdb",
    "--simulate": "simulate",
    "-s": "simulate",
    "--quiet": "quiet",
    "-q": "quiet",
    "--verbose": "verbose",
    "-v": "verbose",
    "--no-scripts": "no_scripts",
    "--version": "version",
    "-V": "version",
}
WITHOUT_EFFECT = frozenset(
    ("--no-network", "--no-cache", "--no-progress", "--no-interactive", "--no-logfile")
)
"""What this apk does anyway."""

FATAL = 99
"""Exit status when there is nothing to work on: no database, or words that are no names."""
MANY = 98
"""The highest exit status that counts errors."""


class UsageError(Exception):
    """The command line makes no sense."""


class FatalError(Exception):
    """There is nothing to work on."""


@dataclass
class Options:
    """The command line, taken apart."""

    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    repositories: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The target."""
        return Path(self.values.get("root", "/"))


def parse(arguments: Sequence[str]) -> Options:
    """Return the command line taken apart.

    Raises:
        UsageError: an unknown option, or one without its value.
    """
    options = Options()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if word == "--":
            options.words += rest
            break
        if not word.startswith("-") or word == "-":
            options.words.append(word)
        elif option in WITH_VALUE:
            if not equals and not rest:
                raise UsageError(
                    f"command line: option '{option.lstrip('-')}' requires an argument"
                )
            _store(options, WITH_VALUE[option], value if equals else rest.pop(0))
        elif word in FLAGS:
            options.flags.add(FLAGS[word])
        elif word not in WITHOUT_EFFECT:
            raise UsageError(f"command line: unrecognized option '{word.lstrip('-')}'")
    return options


def _store(options: Options, key: str, value: str) -> None:
    if key == "repositories":
        options.repositories.append(value)
    else:
        options.values[key] = value


def tell(text: str) -> None:
    """Write a line that is not an error."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Write a line about something that went wrong."""
    print(text, file=sys.stderr, flush=True)


def _keys(options: Options) -> Keys:
    given = options.values.get("keys")
    folder = Path(given) if given is not None else options.root / "etc/apk/keys"
    # As in apk: a relative folder is one of the target's.
    return read_keys(folder if folder.is_absolute() else options.root / folder)


def _repositories(options: Options) -> list[str]:
    given = options.values.get("repositories_file")
    path = Path(given) if given is not None else options.root / "etc/apk/repositories"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [*options.repositories, *found]


def _available(options: Options, arch: str, keys: Keys) -> list[list[Package]]:
    """Return the packages of each repository; one that cannot be trusted has none."""
    found = []
    for number, url in enumerate(_repositories(options)):
        try:
            found.append(read_repository(url, arch, number, keys))
        except UntrustedError as error:
            complain(f"WARNING: opening {error}")
        except OSError as error:
            complain(f"WARNING: opening {error.filename}: {error.strerror}")
    return found


def _open(options: Options) -> Database:
    database = Database(options.root)
    new = "initdb" in options.flags and "simulate" not in options.flags
    if database.exists:
        database.read()
    elif not new:
        raise FatalError("Unable to read database: No such file or directory")
    return database


def human_size(size: int) -> str:
    """Return a number of bytes as apk 3 tells it.

    >>> human_size(6_586_368), human_size(27_577_549)
    ('6432 KiB', '26.3 MiB')
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    step, amount = 0, float(size)
    while amount >= 10_000 and step < len(units) - 1:
        step, amount = step + 1, amount / 1024
    return f"{size >> (10 * step)} {units[step]}" if step < 2 else f"{amount:.1f} {units[step]}"


def _summary(packages: Sequence[Package], errors: int) -> str:
    size = human_size(sum(package.installed_size for package in packages))
    start = f"{errors} error{'s' if errors > 1 else ''};" if errors else "OK:"
    return f"{start} {size} in {len(packages)} packages"


def _new_world(database: Database, names: Sequence[str]) -> list[Dependency]:
    """Return the world with `names` in it; a name stands once, as it was asked for last."""
    world = {parse_dependency(word).name: parse_dependency(word) for word in database.world}
    for word in names:
        if "@" in word:
            raise FatalError("Not committing changes due to missing repository tags.")
        world[parse_dependency(word).name] = parse_dependency(word)
    return sorted(world.values(), key=display_order)


def add(options: Options, names: Sequence[str]) -> int:
    """Choose and install what `names` and the world need; return the exit status."""
    database = _open(options)
    keys = _keys(options)
    arch = options.values.get("arch") or database.arch or "x86_64"
    installed = [one.package for one in database.packages]
    available = unite([installed, *_available(options, arch, keys)])
    world = _new_world(database, names)
    solver = Solver(available)
    solver.solve(world, [parse_dependency(word).name for word in names])
    chosen = install_order(solver, world)
    if solver.errors:
        complain(explain(solver, world, chosen))
        return min(solver.errors, MANY)
    _check_kept(installed, chosen)
    packages = [package for package in chosen if not package.installed]
    database.world = tuple(dependency.text for dependency in world)
    if "simulate" in options.flags:
        for number, package in enumerate(packages, 1):
            tell(progress_line(number, len(packages), package))
        tell(_summary(chosen, 0))
        return 0
    return _install(options, database, keys, packages)


def _check_kept(installed: Sequence[Package], chosen: Sequence[Package]) -> None:
    gone = [package.label for package in installed if package not in chosen]
    if gone:
        raise FatalError(f"this apk adds only, and would have to remove {' '.join(gone)}")


def _install(options: Options, database: Database, keys: Keys, packages: Sequence[Package]) -> int:
    quiet = "quiet" in options.flags
    database.create(options.values.get("arch") or database.arch or "x86_64")
    installation = Installation(
        options.root.resolve(),
        database,
        keys,
        tell=(lambda _: None) if quiet else tell,
        complain=complain,
        with_scripts="no_scripts" not in options.flags,
    )
    installation.run(packages)
    if not quiet or installation.errors:
        tell(_summary([one.package for one in database.packages], installation.errors))
    return min(installation.errors, MANY)


def info(options: Options, names: Sequence[str]) -> int:
    """List what is installed, all or the named ones; status 1 if a named one is not."""
    database = _open(options)
    found = {one.package.name: one.package for one in database.packages}
    for name in sorted(found) if not names else [name for name in names if name in found]:
        tell(found[name].label if "verbose" in options.flags else name)
    return 0 if all(name in found for name in names) else 1


def verify(options: Options, files: Sequence[str]) -> int:
    """Check the signature of package files; status 1 if one is not trusted."""
    keys = _keys(options)
    errors = 0
    for name in files:
        try:
            members = gzip_members(Path(name).read_bytes(), where=name)
            verify_member(members, keys, where=name)
            tell(f"{name}: OK")
        except UntrustedError as error:
            errors += 1
            tell(str(error))
        except OSError as error:
            errors += 1
            tell(f"{name}: {error.strerror}")
    return min(errors, 1)


COMMANDS = {"add": add, "info": info, "verify": verify}


def _run(options: Options) -> int:
    if "version" in options.flags:
        tell(f"apk-tools {VERSION}, compiled for x86_64.")
        return 0
    command = options.words[0] if options.words else ""
    if command not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise UsageError(f"'{command}' is not an apk command. This apk has {known}.")
    return COMMANDS[command](options, options.words[1:])


def main(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit status."""
    try:
        return _run(parse(arguments))
    except UsageError as error:
        complain(f"ERROR: {error}")
        return 1
    except (FatalError, UnreadableDependencyError) as error:
        complain(f"ERROR: {error}")
        return FATAL
    except (OSError, ValueError) as error:
        complain(f"ERROR: {error}")
        return 1
