"""Packages, one after another, into an empty root; then their triggers."""

import sys
import tarfile
from collections.abc import Sequence

from build.errors import SnowdropError

from .database import Database, Installed
from .keys import Keys
from .repository import Package, read_content
from .scripts import matching_folders, run_script
from .unpack import Unpacking, settle_folders


def install(packages: Sequence[Package], database: Database, keys: Keys) -> int:
    """Install `packages` in the order given and run their triggers; return the number of errors."""
    root, made, unread = database.root, set[str](), 0
    for number, package in enumerate(packages, 1):
        print_progress(number, len(packages), package)
        try:
            _install_one(package, database, keys, made)
        except (SnowdropError, OSError, tarfile.TarError) as error:
            print(f"ERROR: {error}", file=sys.stderr)
            unread += 1
    settle_folders(root, database.packages, made)
    folders = sorted({"/", *(f"/{path}" for one in database.packages for path in one.folders)})
    for installed in database.packages:
        if arguments := matching_folders(installed.content.words("triggers"), folders):
            run_script(root, installed, "trigger", arguments)
    return unread + sum(bool(one.broken) for one in database.packages)


def _install_one(package: Package, database: Database, keys: Keys, made: set[str]) -> None:
    installed = Installed(package, read_content(package, keys))
    database.packages.append(installed)
    # apk takes a package without size for an empty one and does not open it.
    if package.record.installed_size:
        # A script that fails breaks its package, and the rest goes on as with apk.
        run_script(database.root, installed, "pre-install", [package.version])
        Unpacking(database, installed, made).run()
        run_script(database.root, installed, "post-install", [package.version])


def print_progress(number: int, total: int, package: Package) -> None:
    """Write apk's line about one package, the number padded to the width of the total."""
    print(f"({number:{len(str(total))}}/{total}) Installing {package.name} ({package.version})")
