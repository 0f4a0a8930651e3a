"""Files that belong to no package: enabled services, and files that name this disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from build.inside.programs import StepError


def enable(tree: Path, services: Mapping[str, Sequence[str]]) -> None:
    """Enable `services`, given by runlevel, as `rc-update add` does (rc-update(8)).

    Raises:
        StepError: a service has no script.
    """
    for level, names in services.items():
        folder = tree / "etc/runlevels" / level
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not (tree / "etc/init.d" / name).exists():
                raise StepError(
                    f"service {name} of runlevel {level}: no /etc/init.d/{name} in the image",
                    hint=f"add the package that has it (often `{name}-openrc`), or leave it out",
                )
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(f"/etc/init.d/{name}")


def write_files(tree: Path, *, root_uuid: str, repositories: Sequence[str]) -> None:
    """Write the files that depend on the disk and on the snapshot.

    /etc/fstab names the UUID of the root file system: without the line it is never checked nor
    made writable. /etc/apk/repositories lets `apk upgrade` on a droplet use the branch that the
    image was built from; a file of the maintainer's overlay is kept.
    """
    _write(tree / "etc/fstab", f"UUID={root_uuid} / ext4 rw,noatime 0 1\n")
    path = tree / "etc/apk/repositories"
    if path.exists() and path.stat().st_size:
        return
    lines = "".join(f"{url}\n" for url in repositories)
    # The text is part of the image: another one changes its digest.
    note = "# No public repository belongs to this image: write the URL of one here.\n"
    _write(path, lines or note)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
