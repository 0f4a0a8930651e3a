"""What a session stands on: a Python environment installed with hashes, and programs of the host.

Standard library only: the noxfile imports this module before anything is installed.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".nox"

TOOLS = {
    "engine": ("podman", "podman runc"),
    "qemu": ("qemu-system-x86_64", "qemu-system-x86"),
    "ssh": ("ssh", "openssh-client"),
    "git": ("git", "git"),
    "dpkg": ("dpkg-deb", "dpkg"),
    "qemu-img": ("qemu-img", "qemu-utils"),
    "e2fsck": ("e2fsck", "e2fsprogs"),
    "shellcheck": ("shellcheck", "shellcheck"),
    "busybox": ("busybox", "busybox"),
    "sfdisk": ("sfdisk", "fdisk"),
    "sshd": ("sshd", "openssh-server"),
}
"""What a session may ask for: the program that proves it, and Debian's packages that bring it."""

UNPACKED_TOOLS = {"sshd"}
"""Tools that are unpacked under UNPACKED instead of being installed.

The package openssh-server starts a server that listens on every address; the tests only want its
program, and only those that run as root.
"""
UNPACKED = ENVIRONMENTS / "tools"

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""sbin is not on the path of an ordinary user at Debian, though e2fsck is of use to anybody."""


class EnvironmentProblem(Exception):  # noqa: N818  # not an error of ours: a thing to be done
    """What is missing, and the one command that brings it."""


def python_of(name: str) -> Path:
    """Return the python of the environment `name`, installed from `requirements/NAME.txt`.

    The stamp (digest of the requirements, version of Python) is written last, so that an
    interrupted install is made anew; two sessions at once wait for each other.

    Raises:
        EnvironmentProblem: pip could not install; its last lines are in the message.
    """
    folder = ENVIRONMENTS / name
    requirements = ROOT / "requirements" / f"{name}.txt"
    stamp, wanted = folder / "snowdrop-stamp", _stamp(requirements)
    python = folder / "bin" / "python"
    ENVIRONMENTS.mkdir(exist_ok=True)
    with _locked(ENVIRONMENTS / f"{name}.lock"):
        if stamp.is_file() and stamp.read_text() == wanted and python.exists():
            return python
        print(f"Installing {requirements.relative_to(ROOT)} into .nox/{name}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update", str(folder)])
        # The file names every package: nothing is left to resolve, whatever came out since.
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wheels = ("--no-deps", "--only-binary=:all:", "--require-hashes")
        _run([*pip, *wheels, "-r", str(requirements)])
        stamp.write_text(wanted)
    return python


def have_tools(*names: str) -> None:
    """Make sure that the programs behind `names` (keys of TOOLS) are there; root gets them by apt.

    Raises:
        EnvironmentProblem: some are missing and this user may not install; with the command.
    """
    missing = [name for name in names if not _there(name)]
    if os.geteuid() != 0:
        missing = [name for name in missing if name not in UNPACKED_TOOLS]
    if not missing:
        return
    packages = _packages(name for name in missing if name not in UNPACKED_TOOLS)
    unpacked = _packages(name for name in missing if name in UNPACKED_TOOLS)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        programs = ", ".join(TOOLS[name][0] for name in missing)
        raise EnvironmentProblem(
            f"missing on this machine: {programs}\n"
            f"hint: run `sudo {' '.join(command)}`, or the same of your distribution"
        )
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "--quiet"], quiet)
    if packages:
        print(f"Installing with apt: {' '.join(packages)}", flush=True)
        _run(command, quiet)
    if unpacked:
        print(f"Unpacking under {UNPACKED}: {' '.join(unpacked)}", flush=True)
        _unpack(unpacked, quiet)


def find_tool(program: str) -> str | None:
    """Return the path of a program that is installed or unpacked, None when it is neither."""
    folders = (
        os.environ.get("PATH", ""),
        SYSTEM_PATH,
        f"{UNPACKED}/usr/sbin",
        f"{UNPACKED}/usr/bin",
    )
    return shutil.which(program, path=":".join(folders))


def _packages(names: Iterable[str]) -> list[str]:
    return sorted({word for name in names for word in TOOLS[name][1].split()})


def _unpack(packages: Sequence[str], environment: dict[str, str]) -> None:
    """Unpack packages, and those they depend on that are not installed, under UNPACKED."""
    ENVIRONMENTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ENVIRONMENTS) as work:
        debs = Path(work) / "debs"
        (debs / "partial").mkdir(parents=True)
        options = ["--yes", "--download-only", "--no-install-recommends"]
        # apt would fetch as its own user, who may not write here.
        options += ["-o", f"Dir::Cache::archives={debs}", "-o", "APT::Sandbox::User=root"]
        _run(["apt-get", "install", *options, *packages], environment)
        for deb in sorted(debs.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(deb), f"{work}/root"])
        shutil.rmtree(UNPACKED, ignore_errors=True)
        # Moved when complete: an interrupted run leaves no half of a tool behind.
        (Path(work) / "root").rename(UNPACKED)


def _there(name: str) -> bool:
    if name == "engine" and _docker_answers():
        return True
    return find_tool(TOOLS[name][0]) is not None


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], capture_output=True, check=False)  # noqa: S607
    return asked.returncode == 0


def _stamp(requirements: Path) -> str:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    return f"{digest}\n{platform.python_version()} {sys.executable}\n"


def _run(argv: Sequence[str], environment: dict[str, str] | None = None) -> None:
    with tempfile.TemporaryFile() as output:
        status = subprocess.run(
            argv, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
        if status == 0:
            return
        output.seek(0)
        lines = output.read().decode(errors="backslashreplace").splitlines()
    raise EnvironmentProblem(
        f"`{' '.join(argv)}` failed with status {status}:\n" + "\n".join(lines[-15:])
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
