"""The target of `verify`: a folder, an image, a tag or a URL; and the tag that it names.

A target that names a tag must contain the release of that tag. Names have one spelling: a URL
with another one (percent codes, dots, doubled slashes) would name a tag to the server alone.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from build.errors import ConfigError
from ci.release.locks import RELEASE_PAGE
from ci.release.manifest import CHECKSUMS
from ci.release.version import TAG, parse_tag

IMAGE_PAGE = re.compile(r"(https?://.+)/([^/]+\.qcow2)")
IMAGE_NAME = re.compile(
    r".+-(?P<tag>(?:v[0-9]+(?:\.[0-9]+)*|edge)\.[0-9]{8}(?:\.[0-9]+)?(?:-rc[0-9]+)?(?:-dirty)?)-[a-z0-9_]+\.qcow2"
)
"""The name of an image: `snowdrop-droplet-v3.24.20261123-x86_64.qcow2`."""
NEARLY_TAG = re.compile(r"(?:v[0-9]|edge).*[0-9]{8}.*", re.IGNORECASE)
"""A folder of a mirror that is a tag, or that a person would take for one."""
EXAMPLE = "such as v3.24.20261123"


@dataclass(frozen=True, slots=True)
class Remote:
    """The URL below which the files of a release are served, each under its name."""

    base: str
    """Without a slash at the end."""
    tag: str | None = None
    """The release that the target names, if it names one."""
    image: str | None = None
    """The image that the target names, if it names one."""


def locate(target: str, *, repository: str, web: str) -> Path | Remote:
    """Return the folder, the image file or the URL that `target` means.

    A target is a folder, an image file, an http(s) URL (a release's page, an image, or the
    folder of SHA256SUMS), or a tag of `repository` at `web`.

    Raises:
        ConfigError: it is none of these, or can be two of them.
    """
    if target.startswith(("http://", "https://")):
        return _parse_url(target)
    path, is_tag = find_local(target), parse_tag(target) is not None
    if path is not None and is_tag:
        raise ConfigError(
            f"{target}: a tag, and also a file or folder here",
            hint=f"write `./{target}` for the one here, or verify the tag from another folder",
        )
    if path is not None:
        return path
    if is_tag:
        return Remote(f"{web}/{repository}/releases/download/{target}", target)
    raise _no_target(target)


def check_target(target: str) -> None:
    """Check that `target` is something to verify, before anything else is asked for.

    Raises:
        ConfigError: it is neither a file or folder, nor has the form of a URL or a tag.
    """
    is_url = target.startswith(("http://", "https://"))
    if not is_url and find_local(target) is None and parse_tag(target) is None:
        raise _no_target(target)


def _no_target(target: str) -> ConfigError:
    return ConfigError(
        f"{target}: no such folder or file, and no http(s) URL or tag {EXAMPLE}",
        hint="check the spelling; a path is relative to the folder where the command is typed",
    )


def find_local(target: str) -> Path | None:
    """Return the folder or file on this machine that `target` names, None without one."""
    with suppress(OSError):  # a name longer than the file system allows
        path = Path(target)
        if path.is_dir() or path.is_file():
            return path
    return None


def check_outside(target: str, named: Mapping[str, Path | None]) -> None:
    """Check that no file that determines trust is part of the target; read none.

    Such a file may lie neither anywhere in a folder to verify, nor beside an image.
    `named`: paths by what names them.

    Raises:
        ConfigError: naming the first that does.
    """
    local = find_local(target)
    if local is None:
        return
    folder = (local if local.is_dir() else local.parent).resolve()
    for where, path in named.items():
        if path is None:
            continue
        inside = path.resolve()
        if inside.parent == folder or (local.is_dir() and inside.is_relative_to(folder)):
            raise ConfigError(
                f"{where} {path}: is part of the target, which must not determine trust",
                hint="name a file that you had before, or from a source that you trust",
            )


def find_tag(option: str | None, target: Path | Remote) -> str | None:
    """Return the tag that the release must have, None when nothing names one.

    `option`: the value of `--tag`. A folder that is named like a tag, and an image, name one too.

    Raises:
        ConfigError: two of them differ, or `option` is no tag.
    """
    if option is not None and parse_tag(option) is None:
        raise ConfigError(f"--tag {option}: no tag of a release, expected one {EXAMPLE}")
    sources = [("--tag", option)] if option is not None else []
    sources += _tags_of(target)
    for where, tag in sources[1:]:
        if tag != sources[0][1]:
            raise ConfigError(
                f"{sources[0][0]} names {sources[0][1]}, {where} names {tag}: expected one tag",
                hint="an older release is signed as well as a newer one: name the one you want",
            )
    if not sources and isinstance(target, Remote) and "latest" in target.base.split("/"):
        raise ConfigError(
            f"{target.base}: the server decides which release `latest` is",
            hint="name the release with `--tag TAG`",
        )
    return sources[0][1] if sources else None


def _tags_of(target: Path | Remote) -> Iterator[tuple[str, str]]:
    """Yield each description and tag that a target has."""
    if isinstance(target, Remote):
        names = [target.image or ""]
        if target.tag:
            yield "the URL", target.tag
    else:
        # The name that was written, and that of the folder which a link or `.` leads to.
        names = [
            name for path in (target, target.resolve()) for name in (path.parent.name, path.name)
        ]
        names = names if target.is_file() else names[1::2]
    for name in names:
        image = IMAGE_NAME.fullmatch(name)
        if image or parse_tag(name):
            yield f"the name {name}", image["tag"] if image else name


def _parse_url(url: str) -> Remote:
    """Return what a URL names.

    Raises:
        ConfigError: it is spelled in a way that could hide the name of a release.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"{url}: {error}, expected a URL") from None
    segments = parts.path.removesuffix("/").split("/")[1:]
    if (
        parts.query
        or parts.fragment
        or re.search(r"[%\\\s;?#]", url)
        or {"", ".", ".."} & {*segments}
    ):
        raise ConfigError(
            f"{url}: expected a URL without query, fragment, percent code, dot segment or "
            "doubled slash",
            hint="write the address of the release's page, of its folder or of its image",
        )
    if match := RELEASE_PAGE.fullmatch(url.removesuffix("/")):
        _require_tag(url, match[2])
        return Remote(f"{match[1]}/releases/download/{match[2]}", match[2])
    image = IMAGE_PAGE.fullmatch(url)
    base = (image[1] if image else url).removesuffix(f"/{CHECKSUMS}").rstrip("/")
    last = base.rpartition("/")[2]
    if NEARLY_TAG.fullmatch(last):
        _require_tag(url, last)
    return Remote(base, last if TAG.fullmatch(last) else None, image[2] if image else None)


def _require_tag(url: str, name: str) -> None:
    if parse_tag(name) is None:
        raise ConfigError(f"{url}: {name!r} is no tag of a release, expected one {EXAMPLE}")
