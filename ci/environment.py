"""The environment of a session: Python packages installed with hashes, and programs of the host.

Standard library only, and what needs no more: the noxfile imports this module before anything is
installed.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from build.edges.owners import chown_hint, owner_problem

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".nox"


@dataclass(frozen=True)
class Tool:
    """A program of the host that a session needs."""

    program: str
    packages: tuple[str, ...]
    """Debian's packages that contain it."""
    purpose: str
    """Its purpose in one sentence."""


TOOLS = {
    "engine": Tool("podman", ("podman", "runc"), "Runs the container that builds the images."),
    "qemu": Tool("qemu-system-x86_64", ("qemu-system-x86",), "Boots the images as droplets."),
    "ssh": Tool("ssh", ("openssh-client",), "Logs in to the droplets and checks them."),
    "git": Tool("git", ("git",), "Names the source commit that a release is built from."),
    "debian": Tool(
        "debootstrap",
        ("debootstrap", "debian-archive-keyring"),
        "Names a Debian mirror and its keys on a machine of another distribution.",
    ),
    "dpkg": Tool("dpkg-deb", ("dpkg",), "Unpacks the Debian packages of the sample distribution."),
    "qemu-img": Tool("qemu-img", ("qemu-utils",), "Checks qcow2 files, and makes those of tests."),
    "e2fsck": Tool("e2fsck", ("e2fsprogs",), "Checks the file systems of disk images."),
    "shellcheck": Tool("shellcheck", ("shellcheck",), "Checks the shell scripts of the droplets."),
    "busybox": Tool("busybox", ("busybox",), "Runs the shell scripts of the droplets in tests."),
    "sfdisk": Tool("sfdisk", ("fdisk",), "Runs with the droplets' shell scripts in tests."),
    "sshd": Tool("sshd", ("openssh-server",), "Reads the droplets' sshd settings in tests."),
    "debootstrap": Tool(
        "debootstrap",
        ("debootstrap", "debian-archive-keyring"),
        "Is installed by a workflow that a rehearsed runner runs.",
    ),
    "chromium": Tool("chromium", ("chromium",), "Shows the catalogue of a mirror in tests."),
    "dockerd": Tool("dockerd", ("docker.io",), "Runs the containers of a rehearsed runner."),
}
"""Tools that a session may need, by name."""

TEST_TOOLS = (
    *("engine", "qemu", "ssh", "git", "dpkg", "debian"),
    *("qemu-img", "e2fsck", "shellcheck"),
    # The first-boot scripts run with these in tests/firstboot.
    *("busybox", "sfdisk", "sshd"),
)
SESSION_TOOLS: Mapping[str, tuple[str, ...]] = {
    "pin": ("engine",),
    "pin --replace": ("git",),
    "refresh": ("engine", "git"),
    "propose": ("git",),
    "diff": ("git",),
    "store": ("git",),
    "build": ("engine", "git"),
    "build --another-day": ("qemu",),
    "inspect": ("qemu-img", "e2fsck"),
    "convert": ("qemu-img",),
    "verify --converted": ("qemu-img",),
    "boot": ("qemu", "ssh", "git"),
    "boot --faults": ("qemu-img",),
    "boot --only": ("qemu-img",),
    "archive": ("git",),
    "sign": ("git",),
    "version": ("git",),
    "preflight": ("git",),
    "rehearse": ("engine", "qemu", "ssh", "git", "dpkg", "debian"),
    # `rehearse` and a runner; its jobs find qemu-img after they install it.
    "act": ("engine", "dockerd", "qemu", "qemu-img", "ssh", "git", "dpkg", "debian"),
    # ci.yml runs the tests and installs debootstrap; the runner's apt has this machine's packages.
    "act --workflow": (*TEST_TOOLS, "debootstrap"),
    "bench": ("engine", "qemu-img", "e2fsck", "git"),
    "lint": ("shellcheck",),
    "tests": TEST_TOOLS,
    "tests_full": (*TEST_TOOLS, "chromium", "dockerd"),
}
"""Keys of TOOLS that a session needs, and what it needs besides when it gets an option.

A session that is not here needs none. tests/repository/test_tools.py compares this table with the
programs that the code of each command names.
"""

UNPACKED_TOOLS = ("sshd", "dockerd")
"""Tools that are unpacked under UNPACKED instead of being installed, each in a folder of its own.

Their packages start a server: openssh-server one that listens on every address, docker.io one
that changes the firewall. Only the programs are needed, and only by what runs as root.
"""
UNPACKED = ENVIRONMENTS / "tools"

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OS_RELEASE = Path("/etc/os-release")

STAMP = "snowdrop-stamp"
"""File of an environment: digest of its requirements, then version and path of the interpreter."""
INSTALL_VARIABLE = "SNOWDROP_INSTALL"
"""Environment variable: `no` forbids the installation of host packages."""
BIN_FOLDERS = ("sbin", "bin")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Debian's ordinary users have no sbin on their path, though all of them can run e2fsck."""


class EnvironmentProblem(Exception):  # noqa: N818 - the user has to act, nothing failed
    """What is missing or in the way, and after a line `hint: ` the command that helps."""


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn an OSError into an EnvironmentProblem: the noxfile prints no other without traceback."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        path, user = Path(os.fsdecode(error.filename)), os.geteuid()
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        problem, hint = "", ""
        if isinstance(error, PermissionError):
            problem, hint = owner_problem(path, user), chown_hint(path, user)
        raise EnvironmentProblem(
            f"{shown}: {error.strerror}"
            + (f", {problem}" if problem else "")
            + (f"\nhint: {hint}" if hint else "")
        ) from None


@_one_line_errors()
def ensure_python(name: str, *, install: bool = True) -> Path:
    """Return the python of the environment `name`, installed from `requirements/NAME.txt`.

    Two sessions at once wait for each other. Without `install` nothing is changed, and no program
    is run: an environment that any interpreter installed from the same requirements is used.

    Raises:
        EnvironmentProblem: pip could not install, with its last lines in the message; or there is
            no such environment, and `install` is false; or this user cannot write there.
    """
    folder = ENVIRONMENTS / name
    requirements = ROOT / "requirements" / f"{name}.txt"
    stamp, wanted = folder / STAMP, _stamp(requirements)
    python = folder / "bin" / "python"
    found = stamp.read_text() if stamp.is_file() and python.exists() else ""
    # The first line of a stamp is the digest of the requirements.
    if not install and found.partition("\n")[0] == wanted.partition("\n")[0]:
        return python
    if not install:
        state = "of other requirements" if found else "not installed"
        raise EnvironmentProblem(
            f".nox/{name}: {state}, and `--offline` installs nothing\n"
            "hint: install it while there is a network: run the session once without "
            "`--offline`, for example `nox -s verify -- --explain`"
        )
    ENVIRONMENTS.mkdir(exist_ok=True)
    with _locked(ENVIRONMENTS / f"{name}.lock"):
        if not stamp.is_file() or stamp.read_text() != wanted or not python.exists():
            _say(f"Installing {requirements.relative_to(ROOT)} into .nox/{name}")
            with _replaced(folder):
                _install(folder, requirements)
                # Written last: an interrupted installation is started again.
                stamp.write_text(wanted)
    return python


def session_tools(session: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the keys of TOOLS that a session needs when it gets these arguments.

    >>> session_tools("boot"), session_tools("boot", ["--faults"])
    (('qemu', 'ssh', 'git'), ('qemu', 'ssh', 'git', 'qemu-img'))
    """
    options = dict.fromkeys(argument.partition("=")[0] for argument in arguments)
    keys = (session, *(f"{session} {option}" for option in options))
    return tuple(dict.fromkeys(tool for key in keys for tool in SESSION_TOOLS.get(key, ())))


def ensure_tools(*names: str) -> None:
    """Check that the programs of `names` (keys of TOOLS) are installed; as root, install them.

    Before it installs, it prints the packages and the purpose of each. `SNOWDROP_INSTALL=no` in
    the environment forbids it.

    Raises:
        EnvironmentProblem: some are missing and must not or cannot be installed from here; with
            the command that installs them.
    """
    missing = [name for name in names if not is_installed(name)]
    if os.geteuid() != 0:
        missing = [name for name in missing if name not in UNPACKED_TOOLS]
    if not missing:
        return
    packages = _packages(name for name in missing if name not in UNPACKED_TOOLS)
    unpacked = [name for name in missing if name in UNPACKED_TOOLS]
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    forbidden = os.environ.get(INSTALL_VARIABLE) == "no"
    if forbidden or os.geteuid() != 0 or shutil.which("apt-get") is None:
        programs = ", ".join(TOOLS[name].program for name in missing)
        reason = f" ({INSTALL_VARIABLE}=no: not installed)" if forbidden else ""
        raise EnvironmentProblem(
            f"missing on this machine: {programs}{reason}\n"
            f"hint: run `sudo {' '.join([*command, *_packages(unpacked)])}`, or the same of your "
            "distribution"
        )
    _say(f"Installing with apt ({INSTALL_VARIABLE}=no forbids it):")
    for tool in (TOOLS[name] for name in missing):
        _say(f"  {' '.join(tool.packages)}: {tool.purpose}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "--quiet"], quiet)
    if packages:
        _run(command, quiet)
    for name in unpacked:
        _unpack(TOOLS[name].packages, UNPACKED / name, quiet)


def find_tool(program: str) -> str | None:
    """Return the path of a program that is installed or unpacked, None when it is neither."""
    folders = (
        os.environ.get("PATH", ""),
        SYSTEM_PATH,
        *(f"{UNPACKED}/{name}/usr/{folder}" for name in UNPACKED_TOOLS for folder in BIN_FOLDERS),
    )
    return shutil.which(program, path=":".join(folders))


def _say(line: str) -> None:
    """Print a line to standard error: standard output is the command's, with `--json` as data."""
    print(line, file=sys.stderr, flush=True)


def _packages(names: Iterable[str]) -> list[str]:
    return sorted({word for name in names for word in TOOLS[name].packages})


def _unpack(packages: Sequence[str], target: Path, environment: dict[str, str]) -> None:
    """Unpack packages, and those they depend on that are not installed, into `target`."""
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
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        # Moved when complete: an interrupted run leaves no incomplete tool.
        (Path(work) / "root").rename(target)


def is_installed(name: str) -> bool:
    """Return whether the program of `name`, a key of TOOLS, is there; an engine must answer."""
    if name == "debian" and DEBIAN_KEYRING.is_file() and _is_debian():
        return True  # apt's own sources name a mirror
    if name == "engine" and shutil.which("docker") is not None:
        # The client alone is no engine: `docker version` fails when no daemon answers.
        done = subprocess.run(["docker", "version"], capture_output=True, check=False)  # noqa: S607
        if done.returncode == 0:
            return True
    return find_tool(TOOLS[name].program) is not None


def _is_debian() -> bool:
    """Return whether this is Debian itself, by os-release(5)."""
    with suppress(OSError):
        return bool(re.search(r'^ID="?debian"?$', OS_RELEASE.read_text(), re.MULTILINE))
    return False


def _install(folder: Path, requirements: Path) -> None:
    _run([sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update", str(folder)])
    # The file names every package, so pip resolves nothing: newer versions change nothing.
    pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheels = ("--no-deps", "--only-binary=:all:", "--require-hashes")
    _run([*pip, *wheels, "-r", str(requirements)])


@contextmanager
def _replaced(folder: Path) -> Iterator[None]:
    """Move `folder` away while the block makes another; put it back if the block fails."""
    former = folder.with_name(f"{folder.name}.former")
    if folder.exists():
        shutil.rmtree(former, ignore_errors=True)
        folder.rename(former)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if former.exists():
            former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


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
