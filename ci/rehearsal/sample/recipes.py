"""The table in recipes.toml as frozen values: which Debian files become which package."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KERNEL = "KERNEL"
"""Stands for the Debian package of the kernel, whose name changes with each of its versions."""
LIBRARY_FOLDER = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of `files`: which paths it takes, and where they go."""

    pattern: re.Pattern[str]
    place: str
    """The path in the package; ends in a slash for a folder; empty: where it is."""

    def place_of(self, path: str) -> str | None:
        """Return where `path` of a Debian package goes, None when this line is not about it."""
        if not self.pattern.fullmatch(path):
            return None
        if self.place.endswith("/"):
            return self.place + path.rpartition("/")[2]
        return self.place or path


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecipe:
    """One table of recipes.toml."""

    name: str
    description: str
    sources: tuple[str, ...]
    version: str
    """Empty: that of the first source."""
    files: tuple[Choice, ...]
    without: tuple[re.Pattern[str], ...]
    folders: tuple[str, ...]
    links: Mapping[str, str]
    modes: Mapping[str, str]
    modules: tuple[str, ...]
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    install_if: tuple[str, ...]
    triggers: tuple[str, ...]
    replaces: tuple[str, ...]
    provider_priority: int | None

    def place_of(self, path: str) -> str | None:
        """Return where a file of a Debian package goes, None when it is not taken."""
        if any(pattern.fullmatch(path) for pattern in self.without):
            return None
        places = (choice.place_of(path) for choice in self.files)
        return next((place for place in places if place), None)

    @property
    def own_files(self) -> Path:
        """The folder of our own files for this package, which may not be there."""
        return HERE / "files" / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All of recipes.toml."""

    suite: str
    kernel: str
    """The Debian package that depends on the kernel of the day."""
    epoch: int
    """Seconds since 1970: the time of packages that hold only our own files."""
    recipes: tuple[SampleRecipe, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The Debian packages that are needed, KERNEL among them."""
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
    """Return recipes.toml, which is part of the source: a mistake in it is a bug of ours."""
    table = tomllib.loads((HERE / "recipes.toml").read_text(encoding="utf-8"))
    recipes = [_recipe(name, values) for name, values in table["packages"].items()]
    recipes += [_library(name, files) for name, files in table["libraries"].items()]
    return Table(
        suite=table["suite"],
        kernel=table["kernel"],
        epoch=table["epoch"],
        recipes=tuple(sorted(recipes, key=lambda recipe: recipe.name)),
    )


def _library(name: str, files: list[str]) -> SampleRecipe:
    values = {
        "description": f"shared libraries of Debian's {name}",
        "from": [name],
        "files": [f"{LIBRARY_FOLDER}/{file}" for file in files],
    }
    return _recipe(name, values)


def _recipe(name: str, values: Mapping[str, Any]) -> SampleRecipe:
    left = dict(values)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(left.pop(key, ()))

    recipe = SampleRecipe(
        name=name,
        description=left.pop("description"),
        sources=texts("from"),
        version=left.pop("version", ""),
        files=tuple(_choice(line) for line in texts("files")),
        without=tuple(pattern_of(glob) for glob in texts("without")),
        folders=texts("folders"),
        links=left.pop("links", {}),
        modes=left.pop("modes", {}),
        modules=texts("modules"),
        depends=texts("depends"),
        provides=texts("provides"),
        install_if=texts("install_if"),
        triggers=texts("triggers"),
        replaces=texts("replaces"),
        provider_priority=left.pop("provider_priority", None),
    )
    if left or bool(recipe.sources) == bool(recipe.version):
        raise ValueError(f"recipes.toml: {name}: {left}, expected known keys and from or version")
    return recipe


def _choice(line: str) -> Choice:
    glob, _, place = (part.strip() for part in line.partition(" -> "))
    return Choice(pattern_of(glob), place)
