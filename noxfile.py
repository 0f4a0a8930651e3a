"""Snowdrop's sessions, in the order of a release. `nox -l` lists them."""

import json
import os
import sys
from pathlib import Path

import nox

# The nox command does not put this folder on sys.path, where `ci` is.
sys.path.insert(0, str(Path(__file__).parent))

from ci.environment import EnvironmentProblem, ensure_python, ensure_tools, session_tools

nox.needs_version = ">=2026.10.20"
nox.options.sessions = ["tests"]


CLEAN_UP_SECONDS = 60
"""What a session gets after Ctrl-C, before nox ends it: containers and droplets take a while."""


def run(session: nox.Session, *argv: str, environment: dict[str, str] | None = None) -> None:
    """Run a program of an environment; after Ctrl-C it has the time to clean up."""
    session.run(
        *argv,
        env=environment,
        external=True,
        interrupt_timeout=CLEAN_UP_SECONDS,
        terminate_timeout=CLEAN_UP_SECONDS,
    )


def python(session: nox.Session, environment: str) -> str:
    """Return the python of an environment, after installing what the session lacks.

    With `--offline`, nothing is installed: pip and apt use the network.
    """
    try:
        if "--offline" in session.posargs:
            return str(ensure_python(environment, install=False))
        # `--help` needs no program of the host.
        if not {"-h", "--help"} & set(session.posargs):
            ensure_tools(*session_tools(session.name, session.posargs))
        return str(ensure_python(environment))
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        if "--json" in session.posargs:
            message, _, hint = str(problem).partition("\nhint: ")
            print(json.dumps({"error": message, "hint": hint, "exit_code": 2}), flush=True)
        # An error of a session ends nox with 1; a missing program is wrong usage, which is 2.
        sys.exit(2)


def command(session: nox.Session, name: str = "release") -> None:
    """Run `python -m ci SESSION ARGUMENTS`."""
    interpreter = python(session, name)
    # `python -m ci` ends itself when nox is killed, see build/edges/parent.py.
    environment = {
        "SNOWDROP_PARENT": str(os.getpid()),
        "SNOWDROP_FOLDER": str(session.invoked_from),
    }
    run(session, interpreter, "-m", "ci", session.name, *session.posargs, environment=environment)


@nox.session(venv_backend="none", default=False)
def doctor(session: nox.Session) -> None:
    """Show what protects a release at GitHub, and what this machine lacks for one"""
    command(session)


@nox.session(venv_backend="none", default=False)
def preflight(session: nox.Session) -> None:
    """Check everything that a release needs before it begins, and change nothing"""
    command(session)


@nox.session(venv_backend="none", default=False)
def version(session: nox.Session) -> None:
    """Print the version that the lock and the sources give, without a build"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def pin(session: nox.Session) -> None:
    """Pin the current packages: write release.lock and fill the store"""
    command(session)


@nox.session(venv_backend="none", default=False)
def refresh(session: nox.Session) -> None:
    """Pin, and hand the changed lock and its snapshot to later jobs of a workflow"""
    command(session)


@nox.session(venv_backend="none", default=False)
def propose(session: nox.Session) -> None:
    """Propose the new lock as a pull request, or the tag of the next release"""
    command(session)


@nox.session(venv_backend="none", default=False)
def diff(session: nox.Session) -> None:
    """Show the differences of two locks: files, archives, tags or release URLs"""
    command(session)


@nox.session(venv_backend="none", default=False)
def store(session: nox.Session) -> None:
    """Maintain the store: verify it, delete unneeded blobs, add an archive, or push the snapshot"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def build(session: nox.Session) -> None:
    """Build the images that the lock and the sources describe"""
    command(session)


@nox.session(venv_backend="none", default=False)
def inspect(session: nox.Session) -> None:
    """Show the content of a disk image and its findings, without mounting it"""
    command(session)


@nox.session(venv_backend="none", default=False)
def explain(session: nox.Session) -> None:
    """Explain why two images differ, layer by layer, down to the causes"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def boot(session: nox.Session) -> None:
    """Boot the built images as droplets and check them"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def archive(session: nox.Session) -> None:
    """Write the snapshot as one archive that needs no mirror"""
    command(session)


@nox.session(venv_backend="none", default=False)
def artifacts(session: nox.Session) -> None:
    """List dist by digest for the next job, or check it against such lists"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def sign(session: nox.Session) -> None:
    """Sign the artifacts and write the provenance of the release"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def publish(session: nox.Session) -> None:
    """Publish the signed artifacts as a GitHub release"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def mirror(session: nox.Session) -> None:
    """Mirror the release to Spaces and print the import URL"""
    command(session)


@nox.session(venv_backend="none", default=False, tags=["release"])
def verify(session: nox.Session) -> None:
    """Verify a release before import: a folder, an image, a tag or a URL"""
    command(session)


@nox.session(name="import", venv_backend="none", default=False)
def import_(session: nox.Session) -> None:
    """Verify a release, then import its image as a custom image at DigitalOcean"""
    command(session)


@nox.session(venv_backend="none", default=False)
def convert(session: nox.Session) -> None:
    """Write a verified image in another disk format"""
    command(session)


@nox.session(venv_backend="none", default=False)
def trust(session: nox.Session) -> None:
    """Show the trusted sigstore instance; --update fetches the current trust root"""
    command(session)


@nox.session(venv_backend="none", default=False)
def rehearse(session: nox.Session) -> None:
    """Rehearse a whole release on this machine, with embedded services"""
    command(session, "rehearsal")


@nox.session(venv_backend="none", default=False)
def act(session: nox.Session) -> None:
    """Run the release workflow on a rehearsed GitHub runner, as its user, with Docker"""
    command(session, "rehearsal")


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check format, style, types and the workflows"""
    interpreter = python(session, "dev")
    for words in (
        ("ruff", "format", "--check", "--quiet"),
        ("ruff", "check", "--quiet"),
        ("mypy",),
        ("pytest", "--quiet", "tests/repository"),
    ):
        run(session, interpreter, "-m", *words)
    zizmor = Path(interpreter).with_name("zizmor")
    run(session, str(zizmor), "--offline", "--quiet", ".github/workflows")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests, one rehearsal among them; lint follows"""
    pytest(session, "-m", select(session.posargs), "--durations=20")
    session.notify("lint")


@nox.session(venv_backend="none", default=False)
def fixtures(session: nox.Session) -> None:
    """Fetch the real Alpine packages that some tests read, by digest"""
    run(session, python(session, "dev"), "-m", "tests.alpine", *session.posargs)


@nox.session(venv_backend="none", default=False)
def tests_full(session: nox.Session) -> None:
    """Run every test, the slow tables and proofs too"""
    pytest(session)


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Measure verification and pin on real data, as ratios with their limits"""
    run(session, python(session, "dev"), "-m", "tests.bench", *session.posargs)


@nox.session(venv_backend="none", default=False)
def fuzz(session: nox.Session) -> None:
    """Run every parser on damaged input, for minutes"""
    tables = (
        *("firstboot/test_cloud_reader.py", "snapshot/test_parsers.py"),
        *("verify/test_damaged_documents.py", "verify/test_fuzz.py"),
    )
    files = (f"tests/{name}" for name in tables)
    options = ("--hypothesis-profile=fuzz", "--timeout=0", "-s", "-k", "not alpine", *files)
    interpreter = python(session, "dev")
    run(session, interpreter, "-m", "pytest", *options, *session.posargs)


@nox.session(venv_backend="none", default=False)
def pictures(session: nox.Session) -> None:
    """Make the pictures of the documentation again, from a rehearsal"""
    run(session, python(session, "dev"), "-m", "tests.pictures", *session.posargs)


@nox.session(venv_backend="none", default=False)
def requirements(session: nox.Session) -> None:
    """Compile requirements/*.in again, with hashes and without addresses"""
    compiler = Path(python(session, "dev")).with_name("pip-compile")
    for name in ("nox", "release", "rehearsal", "dev"):
        # Without these options the files would name the package index of this machine.
        session.run(
            str(compiler),
            "--quiet",
            "--generate-hashes",
            "--allow-unsafe",
            "--no-emit-index-url",
            "--no-emit-find-links",
            "--no-strip-extras",
            "--no-header",
            f"--output-file=requirements/{name}.txt",
            *session.posargs,
            f"requirements/{name}.in",
            external=True,
        )


def select(arguments: list[str]) -> str:
    """Return the marker expression of `tests`; that of the caller is taken out of `arguments`.

    pytest uses the last `-m` alone: without this, one of the caller would add the slow tests.
    """
    if "-m" not in arguments[:-1]:
        return "not full"
    position = arguments.index("-m")
    chosen = arguments[position + 1]
    del arguments[position : position + 2]
    return f"not full and ({chosen})"


def pytest(session: nox.Session, *options: str) -> None:
    """Run pytest with every program that the tests use."""
    interpreter = python(session, "dev")
    run(session, interpreter, "-m", "pytest", *options, *session.posargs)
