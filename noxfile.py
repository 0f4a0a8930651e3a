"""Snowdrop's sessions, in the order of a release. `nox -l` lists them."""

import sys
from pathlib import Path

import nox

# The nox command does not put this folder on sys.path, where `ci` is.
sys.path.insert(0, str(Path(__file__).parent))

from ci.environment import EnvironmentProblem, ensure_python, ensure_tools, session_tools

nox.needs_version = ">=2026.10.20"
nox.options.sessions = ["tests"]


def python(session: nox.Session, environment: str) -> str:
    """Return the python of an environment, after installing what the session lacks."""
    try:
        ensure_tools(*session_tools(session.name, session.posargs))
        return str(ensure_python(environment))
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        # An error of a session ends nox with 1; a missing program is wrong usage, which is 2.
        sys.exit(2)


def command(session: nox.Session, environment: str = "release") -> None:
    """Run `python -m ci SESSION ARGUMENTS`."""
    interpreter = python(session, environment)
    session.run(interpreter, "-m", "ci", session.name, *session.posargs, external=True)


@nox.session(venv_backend="none", default=False, tags=["release"])
def pin(session: nox.Session) -> None:
    """Pin the current packages: write release.lock and fill the store"""
    command(session)


@nox.session(venv_backend="none", default=False)
def diff(session: nox.Session) -> None:
    """Show the differences of two locks: files, archives, tags or release URLs"""
    command(session)


@nox.session(venv_backend="none", default=False)
def store(session: nox.Session) -> None:
    """Maintain the store: verify it, delete unneeded blobs, or add a snapshot archive"""
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


@nox.session(venv_backend="none", default=False)
def trust(session: nox.Session) -> None:
    """Show the trusted sigstore instance; --update fetches the current trust root"""
    command(session)


@nox.session(venv_backend="none", default=False)
def rehearse(session: nox.Session) -> None:
    """Rehearse a whole release on this machine, with embedded services"""
    command(session, environment="rehearsal")


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
        session.run(interpreter, "-m", *words, external=True)
    zizmor = Path(interpreter).with_name("zizmor")
    session.run(str(zizmor), "--offline", "--quiet", ".github/workflows", external=True)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests, one rehearsal among them; lint follows"""
    pytest(session, "-m", select(session.posargs), "--durations=20")
    session.notify("lint")


@nox.session(venv_backend="none", default=False)
def fixtures(session: nox.Session) -> None:
    """Fetch the real Alpine packages that some tests read, by digest"""
    session.run(python(session, "dev"), "-m", "tests.alpine", *session.posargs, external=True)


@nox.session(venv_backend="none", default=False)
def tests_full(session: nox.Session) -> None:
    """Run every test, the slow tables and proofs too"""
    pytest(session)


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Measure verification and pin on real data, as ratios with their limits"""
    session.run(python(session, "dev"), "-m", "tests.bench", *session.posargs, external=True)


@nox.session(venv_backend="none", default=False)
def fuzz(session: nox.Session) -> None:
    """Run every parser on damaged input, for minutes"""
    files = ("tests/snapshot/test_parsers.py", "tests/firstboot/test_cloud_reader.py")
    options = ("--hypothesis-profile=fuzz", "--timeout=0", "-k", "not alpine", *files)
    interpreter = python(session, "dev")
    session.run(interpreter, "-m", "pytest", *options, *session.posargs, external=True)


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
    session.run(interpreter, "-m", "pytest", *options, *session.posargs, external=True)
