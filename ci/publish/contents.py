"""What is in an image, for people: from its image.json, build record and boot report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.errors import VerificationError
from build.tables import Table
from build.words import counted
from ci.report.table import escape

MEMORY = 512
"""MiB of the virtual machine in which every image is booted, as in the smallest droplet."""
LEVELS = ("boot", "default")
"""OpenRC's runlevels of the services that users know; the others set up devices."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a user of an image asks first."""

    image: str
    """Name of the file."""
    kernel: str
    packages: Mapping[str, str]
    """Version by name."""
    services: tuple[str, ...]
    disk: int
    """In bytes."""
    ports: tuple[str, ...] | None
    """Open ports in the boot test, such as `22/tcp`; None when they are not known."""
    ssh_seconds: float | None
    """From the start to the first login, in the boot test; None when there was none."""


def read_contents(
    path: Path, record: Mapping[str, Any], report: Mapping[str, Any]
) -> Contents | None:
    """Return what the image.json at `path`, the build record and the boot report of an image say.

    None when there is no image.json: older releases have none.

    Raises:
        VerificationError: it has another form.
    """
    if not path.is_file():
        return None
    try:
        inventory = Table(path.name, json.loads(path.read_bytes()), VerificationError)
    except (OSError, ValueError, RecursionError) as error:
        raise VerificationError(f"{path.name}: {error}") from None
    services = inventory.table("services")
    seconds = (report.get("seconds") or {}).get("ssh")
    ports = report.get("ports")
    return Contents(
        image=inventory.table("image").text("file"),
        kernel=", ".join(inventory.table("kernel").strings("releases")),
        packages={each.text("name"): each.text("version") for each in inventory.tables("packages")},
        services=tuple(
            name for level in LEVELS for name in services.strings(level, default=(), unique=False)
        ),
        disk=Table("build record", record, VerificationError).table("raw").number("size"),
        ports=tuple(map(str, ports)) if isinstance(ports, list) else None,
        ssh_seconds=seconds if isinstance(seconds, int | float) else None,
    )


def format_contents(contents: Contents, named: Sequence[str]) -> str:
    """Return the contents as a list in GitHub's Markdown.

    `named`: the packages that release.toml names; the others are there because these need them.
    """
    versions = [f"{name} {contents.packages[name]}" for name in named if name in contents.packages]
    lines = [
        (
            f"- Linux {contents.kernel}; {counted(len(contents.packages), 'package')}, among them "
            f"{', '.join(versions) or 'none by name'}. The SBOM lists all of them."
        ),
        f"- Services: {', '.join(contents.services) or 'none'}.",
    ]
    if contents.ports is not None:
        lines.append(f"- Open ports in the boot test: {', '.join(contents.ports) or 'none'}.")
    if "sshd" in contents.services:
        lines.append(
            "- Log in as `root` with the SSH key that you give the droplet; there is no password."
        )
    lines.append(
        f"- At least {MEMORY} MiB of memory, with which the image was booted, and a disk of "
        f"{contents.disk // MIB:,} MiB; a larger disk is used as a whole."
    )
    if contents.ssh_seconds is not None:
        lines.append(f"- First login {contents.ssh_seconds:.0f} s after the start, in QEMU.")
    return "\n".join(escape(line) for line in lines)
