"""The table in recipes.toml as frozen values: which Debian files become which package."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from build.apk.writing import Recipe

HERE = Path(__file__).parent
KERNEL = "KERNEL"
"""Placeholder of the kernel's Debian package, whose name changes with each of its versions."""
PLAIN_KEYS = frozenset({"folders", "links", "modes", "modules"})
LIBRARY_FOLDER = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True)
class FileRule:
    """One line of `files`: the paths that it selects, and where they go."""

    pattern: re.Pattern[str]
    target: str
    """The path in the package; ends in a slash for a folder; empty: the path is kept."""

    def target_of(self, path: str) -> str | None:
        """Return the path in the package for `path` of a Debian package, None without a match."""
        if not self.pattern.fullmatch(path):
            return None
        if self.target.endswith("/"):
            return self.target + path.rpartition("/")[2]
        return self.target or path


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecipe:
    """One table of recipes.toml."""

    package: Recipe
    """The metadata as far as the table has them: without entries, needed libraries and commands.

    An empty version means that of the first source.
    """
    sources: tuple[str, ...] = ()
    files: tuple[FileRule, ...] = ()
    without: tuple[re.Pattern[str], ...] = ()
    folders: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the package."""
        return self.package.name

    def target_of(self, path: str) -> str | None:
        """Return where a file of a Debian package goes, None when it is not taken."""
        if any(pattern.fullmatch(path) for pattern in self.without):
            return None
        targets = (rule.target_of(path) for rule in self.files)
        return next((target for target in targets if target), None)

    @property
    def own_files(self) -> Path:
        """The folder of our own files for this package, which may be absent."""
        return HERE / "files" / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All of recipes.toml."""

    suite: str
    kernel: str
    """The Debian package that depends on the newest kernel."""
    recipes: tuple[SampleRecipe, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The needed Debian packages, KERNEL among them."""
        return tuple(sorted({name for recipe in self.recipes for name in recipe.sources}))


def pattern_of(glob: str) -> re.Pattern[str]:
    """Return the expression for a pattern in which `*` stops at a slash and `**` does not.

    >>> bool(pattern_of("usr/lib/*.so*").fullmatch("usr/lib/perl/a.so"))
    False
    >>> bool(pattern_of("**/test/**").fullmatch("usr/lib/test/a.py"))
    True
    """
    words = re.split(r"(\*\*|\*)", glob)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(w, re.escape(w)) for w in words))


@cache
def read_table() -> Table:
    """Return the content of recipes.toml.

    Raises:
        TypeError, ValueError: an unknown key, or neither of `from` and `version`, or both.
    """
    table = tomllib.loads((HERE / "recipes.toml").read_text(encoding="utf-8"))
    libraries = {
        name: {
            "description": f"shared libraries of Debian's {name}",
            "from": [name],
            "files": [f"{LIBRARY_FOLDER}/{file}" for file in files],
        }
        for name, files in table["libraries"].items()
    }
    packages = {**table["packages"], **libraries}
    recipes = [_read_recipe(name, values, table["epoch"]) for name, values in packages.items()]
    return Table(
        suite=table["suite"],
        kernel=table["kernel"],
        recipes=tuple(sorted(recipes, key=lambda recipe: recipe.name)),
    )


def _read_recipe(name: str, values: Mapping[str, Any], epoch: int) -> SampleRecipe:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    sources = fields.pop("from", ())
    if bool(sources) == ("version" in fields):
        raise ValueError(f"recipes.toml: {name}: expected one of from and version")
    files = tuple(_read_rule(line) for line in fields.pop("files", ()))
    without = tuple(pattern_of(glob) for glob in fields.pop("without", ()))
    plain = {key: fields.pop(key) for key in PLAIN_KEYS & set(fields)}
    package = {"version": "", "license": "various", "url": "https://www.debian.org/", **fields}
    return SampleRecipe(
        package=Recipe(name=name, epoch=epoch, **package),
        sources=sources,
        files=files,
        without=without,
        **plain,
    )


def _read_rule(line: str) -> FileRule:
    glob, _, target = (part.strip() for part in line.partition(" -> "))
    return FileRule(pattern_of(glob), target)
