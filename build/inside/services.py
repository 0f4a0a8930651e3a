"""What no package brings: which services start, and the few files that name this very disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from build.inside.programs import Failure


def enable(tree: Path, services: Mapping[str, Sequence[str]]) -> None:
    """Let OpenRC start `services`, given by runlevel, as `rc-update add` would.

    Raises:
        Failure: a service has no script.
    """
    for level, names in services.items():
        folder = tree / "etc/runlevels" / level
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not (tree / "etc/init.d" / name).exists():
                raise Failure(
                    f"service {name} of runlevel {level}: no /etc/init.d/{name} in the image",
                    hint=f"add the package that brings it (often `{name}-openrc`), or leave it out",
                )
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(f"/etc/init.d/{name}")


def write_files(tree: Path, *, root_uuid: str, repositories: Sequence[str]) -> None:
    """Write the files that depend on the disk and on the snapshot, not on a package.

    /etc/fstab, since only the builder knows the file system's UUID: without it the root is
    never checked nor made writable. /etc/apk/repositories, so that `apk upgrade` on a droplet
    goes on with the branch the image was made of; a package's (the maintainer's overlay) stays.
    """
    _write(tree / "etc/fstab", f"UUID={root_uuid} / ext4 rw,noatime 0 1\n")
    path = tree / "etc/apk/repositories"
    if path.exists() and path.stat().st_size:
        return
    lines = "".join(f"{url}\n" for url in repositories)
    note = "# No public repository belongs to this image: write the URL of one here.\n"
    _write(path, lines or note)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
