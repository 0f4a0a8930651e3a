"""The runner: a mount namespace with a home folder, users, few programs and a Docker daemon.

Two namespaces, one in the other. In the outer one are /home, /run and /tmp of the runner, and its
Docker daemon, which needs the programs of this machine. In the inner one, where the jobs run as
user 1001, /usr/bin has the links that `programs` made. Nothing of this machine is changed, and
everything ends with the namespaces (mount_namespaces(7)).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from build.errors import MissingToolError, RemoteError
from ci.environment import SYSTEM_PATH, UNPACKED, find_tool
from ci.rehearsal.runner import runtime
from ci.rehearsal.runner.programs import HOST, TOOLS, as_unpacked, make_links
from ci.rehearsal.services import stop

HERE = Path(__file__).parent
USER, DOCKER_GROUP = 1001, 990
"""As on GitHub's runners; the second is free in Debian's static ids."""
DOCKER = UNPACKED / "dockerd"
RUN = "artifacts/1"
"""Artifacts of act's run, whose number is 1; its server ends a listing of a folder that is not
there without a response."""
SOCKET = "/run/docker.sock"
OS_RELEASE = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n'
"""What tells a program that it is not on Debian (os-release(5))."""
READY_SECONDS = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SETUP = f"""
set -eu
# Held in /mnt while /home, which may contain them, is replaced.
mount -t tmpfs -o mode=0755 tmpfs /mnt
for name in machine python tools; do
    mkdir "/mnt/$name"
    if [ -d "$1" ]; then mount --rbind "$1" "/mnt/$name"; fi
    shift
done
mount -t tmpfs -o mode=0755 tmpfs /home
mount -t tmpfs -o mode=0755 tmpfs /root
if [ "$2" ] && [ -d "$2" ]; then mount -t tmpfs -o mode=0755 tmpfs "$2"; fi
mkdir /home/machine /home/runner /home/python {TOOLS} {HOST} {HOST}/usr
for name in machine python tools; do mount --rbind "/mnt/$name" "/home/$name"; done
if [ ! -d "$1" ]; then mkdir -p "$1"; mount --rbind /mnt/python "$1"; fi
umount -l /mnt
mount --bind /home/machine/home /home/runner
mount --rbind /usr {HOST}/usr
mount --bind /home/machine/passwd /etc/passwd
mount --bind /home/machine/group /etc/group
mount --bind /home/machine/os-release /etc/os-release
for name in sources.list sources.list.d; do
    if [ -e "/etc/apt/$name" ]; then mount --bind "/home/machine/$name" "/etc/apt/$name"; fi
done
mount --bind /home/machine/run /run
mount --bind /home/machine/tmp /tmp
echo ready
read -r end || true
"""
"""The outer namespace; it lasts until the end of standard input.

Arguments: what becomes /home/machine, /home/python and /home/tools; the path at which Python's
libraries look for it; a folder above it that only its owner may enter, or nothing.
"""
HIDE = """
set -eu
for folder in /usr/local/sbin /usr/local/bin; do
    mount --bind /home/machine/empty "$folder"
done
# Both: some programs are looked for by their path, such as /usr/sbin/debootstrap.
mount --bind /home/machine/bin /usr/sbin
mount --bind /home/machine/bin /usr/bin
"$@"
exit $?
"""
"""The inner namespace: `$@` is run by its absolute path under HOST.

The shell stays as process 1, since a change of user clears the signal of --kill-child
(PR_SET_PDEATHSIG); with it, every process of the namespace ends (pid_namespaces(7)).
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A running machine."""

    folder: Path
    """Appears as /home/machine; readable by the jobs."""
    process: int
    """A process in the outer namespace."""

    def command(self, environment: Mapping[str, str], argv: Sequence[str]) -> list[str]:
        """Return what runs `argv` as the runner's user in the inner namespace."""
        usr = f"{HOST}/usr"
        groups = f"--groups={USER},{DOCKER_GROUP}"
        return [
            *("nsenter", f"--mount=/proc/{self.process}/ns/mnt", "--wd=/"),
            *("unshare", "--mount", "--propagation=private"),
            # Every process of a job ends with this one: act leaves them when it is ended itself.
            *("--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", HIDE, "sh"),
            *(f"{usr}/bin/setpriv", f"--reuid={USER}", f"--regid={USER}", groups),
            *("--inh-caps=-all", f"{usr}/bin/env", "-i"),
            *(f"{name}={value}" for name, value in environment.items()),
            *argv,
        ]


def prepare(folder: Path, programs: Mapping[str, str]) -> None:
    """Make the files of a machine in the new folder `folder`."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    for name in ("home", "home/work", "pip", "run", "tmp", "empty", "artifacts", RUN):
        (folder / name).mkdir()
    (folder / "tmp").chmod(0o1777)
    make_links(folder / "bin", programs)
    _copy_programs(folder)
    for name in ("sudo", "apt-get"):
        (folder / "bin" / name).unlink(missing_ok=True)
        (folder / "bin" / name).symlink_to(f"/home/machine/ci/rehearsal/runner/inside/{name}")
    # dockerd takes the path of a program without arguments.
    runc = as_unpacked(find_tool("runc") or "runc")
    shutil.copyfile(runtime.__file__, folder / "runtime.py")
    python = f"/home/python/bin/python3.{sys.version_info.minor}"
    script = f'#!/bin/sh\nexec {python} -I /home/machine/runtime.py {runc} "$@"\n'
    (folder / "runtime").write_text(script)
    (folder / "runtime").chmod(0o755)
    names = sorted(path.name for path in (folder / "bin").iterdir())
    (folder / "programs.json").write_text(json.dumps(names))
    # Programs such as ssh refuse to run for a user without a name (getpwuid(3)).
    users = f"root::0:0::/root:/bin/bash\nrunner:x:{USER}:{USER}::/home/runner:/bin/bash\n"
    others = Path("/etc/passwd").read_text().splitlines(keepends=True)
    others = [line for line in others if not line.startswith("root:")]
    (folder / "passwd").write_text(users + "".join(others))
    groups = f"runner:x:{USER}:\ndocker:x:{DOCKER_GROUP}:runner\n"
    (folder / "group").write_text(Path("/etc/group").read_text() + groups)
    (folder / "os-release").write_text(OS_RELEASE)
    # No Debian mirror: a rehearsal finds the one that the package debootstrap names.
    (folder / "sources.list").touch()
    (folder / "sources.list.d").mkdir()
    for name in ("home", "home/work", "bin", "pip", "artifacts", RUN):
        os.chown(folder / name, USER, USER)


def closed_ancestor(path: str) -> str:
    """Return the first folder on the way to `path` that only its owner may enter, or nothing."""
    for folder in [*reversed(Path(path).parents), Path(path)]:
        if not folder.stat().st_mode & 0o001:
            return str(folder)
    return ""


def _copy_programs(folder: Path) -> None:
    """Copy the stand-ins of the actions, and the modules that they run."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(HERE / "actions", folder / "actions", ignore=ignored)
    inside = folder / "ci" / "rehearsal" / "runner" / "inside"
    shutil.copytree(HERE / "inside", inside, ignore=ignored)
    (inside / "run.py").rename(folder / "run.py")


@contextmanager
def running(folder: Path, *, log: Path) -> Iterator[Machine]:
    """Run the machine of `folder` with a Docker daemon while the context is open.

    `log` gets what the daemon writes.

    Raises:
        MissingToolError: the daemon is not installed.
        RemoteError: namespaces are not permitted here, or the daemon does not start.
    """
    base = sys.base_prefix
    with ExitStack() as stack:
        argv = ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", SETUP, "sh"]
        outer = stack.enter_context(
            subprocess.Popen(
                [*argv, str(folder.resolve()), base, str(UNPACKED), base, closed_ancestor(base)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        stack.callback(stop, outer)
        assert outer.stdout is not None  # for the type checker: stdout=PIPE
        assert outer.stderr is not None  # for the type checker: stderr=PIPE
        if outer.stdout.readline() != b"ready\n":
            reason = outer.stderr.read().decode(errors="backslashreplace").strip()
            raise RemoteError(f"no mount namespace for a runner: {reason}", hint="run as root")
        machine = Machine(folder, outer.pid)
        daemon = stack.enter_context(_start_daemon(machine, log))
        stack.callback(stop, daemon)
        _wait_for_daemon(machine, daemon, log)
        yield machine


def _start_daemon(machine: Machine, log: Path) -> subprocess.Popen[bytes]:
    found = find_tool("dockerd")
    if found is None:
        raise MissingToolError("dockerd: no such program", hint="`apt-get install docker.io`")
    dockerd, docker = as_unpacked(found), as_unpacked(str(DOCKER))
    libraries = {path.parent.relative_to(DOCKER) for path in DOCKER.glob("**/*.so*")}
    environment = {
        "PATH": f"{docker}/usr/sbin:{docker}/usr/bin:{SYSTEM_PATH}",
        "LD_LIBRARY_PATH": ":".join(f"{docker}/{folder}" for folder in sorted(libraries)),
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            [
                *("nsenter", f"--mount=/proc/{machine.process}/ns/mnt", "--wd=/"),
                # It ends with this process, also when that is killed (PR_SET_PDEATHSIG).
                *("setpriv", "--pdeathsig=TERM", dockerd),
                *("--data-root=/home/machine/docker", "--exec-root=/run/docker"),
                *("--pidfile=/run/docker.pid", f"--host=unix://{SOCKET}"),
                f"--group={DOCKER_GROUP}",
                # The builder has no network: no bridge, and no change of the firewall.
                *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
                *("--add-runtime=reduced=/home/machine/runtime", "--default-runtime=reduced"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )


def _wait_for_daemon(machine: Machine, daemon: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(READY_SECONDS * 5):
        if daemon.poll() is not None:
            break
        argv = machine.command({"PATH": PATH, "HOME": "/home/runner"}, ["docker", "version"])
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    last = "\n".join(log.read_text(errors="backslashreplace").splitlines()[-10:])
    raise RemoteError(f"no Docker daemon for the runner:\n{last}", hint=f"read {log}")
