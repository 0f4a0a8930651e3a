"""An OCI runtime in front of runc, for machines where root lacks capabilities.

In a container or a sandbox, root may lack CAP_SYS_RESOURCE and others. runc then refuses the
bundles that dockerd writes, since they ask for all capabilities of a privileged container and for
higher limits. This program takes what the machine lacks out of the bundle and starts runc.
Specification: OCI runtime-spec, config.json. Started as `python3 runtime.py RUNC ARGUMENTS`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE"),
    *("SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME"),
    *("SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ"),
    *("PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
"""In the order of their bits (capabilities(7), linux/capability.h)."""
RESOURCE = 1 << CAPABILITIES.index("SYS_RESOURCE")


def bounding_set(status: str) -> int:
    """Return CapBnd of a /proc/PID/status."""
    return next(int(line.split()[1], 16) for line in status.splitlines() if "CapBnd" in line)


def reduce_bundle(config: dict[str, Any], bounding: int) -> dict[str, Any]:
    """Return the bundle's configuration without what the bounding set does not allow."""
    process = dict(config["process"])
    allowed = {f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if bounding >> bit & 1}
    process["capabilities"] = {
        kind: [name for name in names if name in allowed]
        for kind, names in process.get("capabilities", {}).items()
    }
    if not bounding & RESOURCE:
        process.pop("rlimits", None)
        process.pop("oomScoreAdj", None)
    return {**config, "process": process}


def bundle_of(arguments: list[str]) -> Path | None:
    """Return the folder of the bundle that runc is to create, None for its other commands.

    >>> bundle_of(["--root", "/run/r", "create", "--bundle", "/run/b", "id"])
    PosixPath('/run/b')
    """
    if not {"create", "run"} & set(arguments):
        return None
    for position, word in enumerate(arguments):
        if word in ("--bundle", "-b"):
            return Path(arguments[position + 1])
        if word.startswith("--bundle="):
            return Path(word.partition("=")[2])
    return Path()


def main(arguments: list[str]) -> None:
    """Reduce the bundle, if there is one, and become runc."""
    runc, *words = arguments
    if (bundle := bundle_of(words)) is not None:
        path = bundle / "config.json"
        bounding = bounding_set(Path("/proc/self/status").read_text())
        path.write_text(json.dumps(reduce_bundle(json.loads(path.read_text()), bounding)))
    os.execv(runc, [runc, *words])  # noqa: S606 - becomes runc


if __name__ == "__main__":
    main(sys.argv[1:])
