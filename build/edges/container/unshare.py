"""The plain namespaces of util-linux as an engine (unshare(1)); needs root."""

import shlex
import shutil
from collections.abc import Mapping

from build.edges.container.job import TMPFS_OPTIONS, Job
from build.edges.container.stream import stream
from build.edges.process import PATH, PLAIN, Finished


def run_unshare(_: Mapping[str, str], job: Job) -> Finished:
    """Run the job in new namespaces; all its processes end with it (unshare(1), --kill-child)."""
    chroot = shutil.which("chroot", path=PATH) or "chroot"
    argv = [
        *("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork"),
        *("--kill-child", "--propagation=private", "--"),
        *("/bin/sh", "-euc", _enter_script(job), "sh", str(job.root)),
        *("env", "-i", *(f"{name}={value}" for name, value in job.environment.items())),
        *(chroot, str(job.root), *job.argv),
    ]
    return stream(argv, PLAIN, job)


def _enter_script(job: Job) -> str:
    """Return the shell lines that make the root's mounts; `$1` is the root, the rest runs."""
    lines = [
        "root=$1; shift; umask 022; cd /",
        f"hostname {job.host_name} 2>/dev/null || echo {job.host_name} >/proc/sys/kernel/hostname",
        # apk 3 makes a namespace of its own, which needs `/` to be a mount point.
        'mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"',
        'mount -t proc -o nosuid,nodev,noexec proc "$root/proc"',
        'mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"',
        'mount -t tmpfs -o mode=0755,size=64k tmpfs "$root/dev"',
        "for node in null zero full random urandom tty; do",
        '  : >"$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done',
        'ln -s /proc/self/fd "$root/dev/fd"; mkdir "$root/dev/shm"',
    ]
    for target, mount in job.targets():
        path = shlex.quote(f"{job.root}{target}")
        if mount is None:
            lines.append(f"mount -t tmpfs -o {TMPFS_OPTIONS} tmpfs {path}")
            continue
        lines.append(f"mount --bind {shlex.quote(str(mount.source.resolve()))} {path}")
        if mount.read_only:
            # With MS_BIND the kernel ignores MS_RDONLY: it takes a second call (mount(2)).
            lines.append(f"mount -o remount,bind,ro {path}")
    lines.append('exec "$@"')
    return "\n".join(lines)
