"""The steps of a rehearsal in order: the commands of a real release, each a process of its own."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from build.config import Origin
from build.edges.files import hash_file
from build.errors import SnowdropError
from build.snapshot.lock import Lock, read_lock
from ci.config import ReleaseConfig, SpacesConfig, read_config
from ci.rehearsal import s3
from ci.rehearsal.configuration import (
    BUCKET,
    REPOSITORY,
    Addresses,
    Contents,
    release_toml,
)
from ci.rehearsal.services import service
from ci.release.checkout import origin_of, read_record
from ci.release.manifest import MANIFEST, Manifest, archive_name, parse_manifest
from ci.report.console import Console
from ci.report.table import size_text

ROOT = Path(__file__).resolve().parents[2]


class StepFailedError(SnowdropError):
    """A command of the rehearsal did not end with 0; what it printed stands above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where a rehearsal keeps what it makes."""

    state: Path
    """`.snowdrop/rehearsal`."""
    dist: Path

    @property
    def config(self) -> Path:
        """The rehearsal's release.toml."""
        return self.state / "release.toml"

    @property
    def policy(self) -> Path:
        """TrustedSigner a stranger trusts, as it was written at the first `verify`."""
        return self.state / "trusted.toml"

    @property
    def download(self) -> Path:
        """What a stranger would have after `verify --save`."""
        return self.state / "download"


@dataclass(slots=True)
class Walk:
    """A rehearsal under way: runs a command, and remembers how long it took and what it made."""

    folders: Folders
    console: Console
    environment: Mapping[str, str]
    clock: Callable[[], float] = time.monotonic
    rows: list[list[str]] = field(default_factory=list)

    @contextmanager
    def timed(self, name: str, made: Callable[[], str]) -> Iterator[None]:
        """Time the block, then ask `made` what came of it."""
        start = self.clock()
        yield
        self.rows.append([name, f"{self.clock() - start:.1f}", made()])

    def command(
        self, *words: str, made: Callable[[], str], extra: Mapping[str, str] | None = None
    ) -> None:
        """Run `python -m ci WORDS --config ...`, its output going where ours goes.

        Raises:
            StepFailedError: it did not end with 0.
        """
        argv = [sys.executable, "-m", "ci", *words, "--config", str(self.folders.config)]
        shown = " ".join(words[1:])
        self.console.line(f"\n> nox -s {words[0]}" + (f" -- {shown}" if shown else ""))
        with self.timed(words[0], made):
            # With --json our own output is data alone, so that of the commands goes beside it.
            out = self.console.err if self.console.json else None
            process = subprocess.Popen(
                argv, env={**self.environment, **(extra or {})}, stdout=out, cwd=ROOT
            )
            try:
                status = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
            if status != 0:
                raise StepFailedError(
                    f"rehearsal: `{words[0]}` ended with {status}",
                    hint=f"what is there lies in {self.folders.state}; to run the step alone: "
                    f"`python -m ci {' '.join(words)} --config {self.folders.config}`",
                )


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a rehearsal ends with."""

    config: ReleaseConfig
    manifest: Manifest
    import_urls: tuple[str, ...]


def rehearse(walk: Walk, contents: Contents, *, dist: str) -> Rehearsed:
    """Run every step of a release against embedded services, which end with it."""
    folders = walk.folders
    with ExitStack() as stack:
        addresses = _services(walk, stack)
        folders.config.write_text(release_toml(contents, addresses, dist=dist))
        config = read_config(folders.config)
        walk.command("pin", made=lambda: _pinned(read_lock(config.build.lock)))
        origin = origin_of(config, read_lock(config.build.lock))
        sigstore = stack.enter_context(
            service(
                "ci.rehearsal.sigstore",
                *("--folder", str(folders.state / "sigstore")),
                *("--repository", REPOSITORY, "--tag", origin.version, "--sha", origin.commit),
                environment=walk.environment,
                log=folders.state / "logs" / "sigstore.log",
            )
        )
        record = config.dist / f"{origin.name}-droplet-{origin.version}-x86_64.build.json"
        walk.command("build", made=lambda: _built(record))
        walk.command("boot", made=lambda: _booted(record.with_suffix("").with_suffix(".boot.json")))
        walk.command("archive", made=lambda: _archived(config, origin))
        walk.command("sign", made=lambda: _signed(config), extra=sigstore["environment"])
        manifest = parse_manifest((config.dist / MANIFEST).read_bytes())
        walk.command("publish", made=lambda: f"release {origin.version} at {addresses.github}")
        urls = import_urls(config.spaces, manifest) if config.spaces else ()
        walk.command("mirror", made=lambda: urls[0])
        policy = ("--policy", str(folders.policy))
        save = ("--deep", "--save", str(folders.download))
        said = ("--repository", REPOSITORY, *policy)
        walk.command("verify", origin.version, *said, *save, made=lambda: str(folders.download))
        mirrored = urls[0].rpartition("/")[0]
        walk.command("verify", mirrored, *policy, made=lambda: "the mirror serves the same release")
        _check_double(folders.state / "github" / "violations.txt")
    return Rehearsed(config, manifest, urls)


def import_urls(spaces: SpacesConfig, manifest: Manifest) -> tuple[str, ...]:
    """Return the URL of each mirrored image, as DigitalOcean would be given it."""
    return tuple(
        f"{spaces.public_url}/{spaces.prefix}{manifest.version}/{image.name}"
        for image in manifest.of_role("image")
    )


def tell(walk: Walk, rehearsed: Rehearsed) -> None:
    """Print the steps, the artifacts, the import URL and what a stranger would type."""
    console, manifest = walk.console, rehearsed.manifest
    console.line()
    console.table(walk.rows, header=["step", "seconds", "made"])
    console.line()
    console.table(
        [[item.name, size_text(item.size), item.sha256] for item in manifest.artifacts],
        header=["artifact", "size", "sha256"],
    )
    console.line("\nimport URL (its server was the rehearsal's own, and is gone by now)")
    for url in rehearsed.import_urls:
        console.line(f"  {url}")
    folders = walk.folders
    console.line("\nwhat a stranger would type")
    console.line(f"  cd {folders.download} && sha256sum -c SHA256SUMS")
    console.line(
        f"  .venv/bin/nox -s verify -- {folders.download} --repository {manifest.repository} "
        f"--config {folders.config}"
    )
    console.data(
        {
            "version": manifest.version,
            "steps": [
                {"step": name, "seconds": float(seconds), "made": made}
                for name, seconds, made in walk.rows
            ],
            "artifacts": {item.name: item.sha256 for item in manifest.artifacts},
            "import_urls": list(rehearsed.import_urls),
            "config": str(folders.config),
            "dist": str(folders.dist),
            "download": str(folders.download),
        }
    )


def _services(walk: Walk, stack: ExitStack) -> Addresses:
    state = walk.folders.state
    github = stack.enter_context(
        service(
            "ci.rehearsal.github",
            *("--folder", str(state / "github"), "--repository", REPOSITORY),
            environment=walk.environment,
            log=state / "logs" / "github.log",
        )
    )
    store = stack.enter_context(s3.running(state / "s3", bucket=BUCKET))
    walk.environment = {
        **walk.environment,
        "GITHUB_TOKEN": "rehearsal-only",
        "SPACES_KEY": store.key,
        "SPACES_SECRET": store.secret,
    }
    return Addresses(github=github["url"], s3=store.endpoint)


def _check_double(violations: Path) -> None:
    """Refuse a rehearsal in which a request or an answer did not follow GitHub's description."""
    if violations.exists():
        raise StepFailedError(
            f"rehearsal: the double of GitHub saw what its API description does not allow:\n"
            f"{violations.read_text()}"
        )


def _pinned(lock: Lock) -> str:
    return f"lock {lock.id[:12]}: " + ", ".join(
        f"{name} {len(lock.closure(name))}" for name in lock.closures
    )


def _built(record: Path) -> str:
    image = read_record(record)["image"]
    return f"{image['file']}, {size_text(image['size'])}"


def _booted(report: Path) -> str:
    found = read_record(report)
    seconds = found["seconds"]
    return (
        f"{len(found['checks'])} checks passed, kernel {seconds['kernel']:.1f} s, "
        f"ssh {seconds['ssh']:.1f} s"
    )


def _archived(config: ReleaseConfig, origin: Origin) -> str:
    path = config.dist / archive_name(origin.name, origin.version)
    return f"{path.name}, {size_text(path.stat().st_size)}"


def _signed(config: ReleaseConfig) -> str:
    raw = (config.dist / MANIFEST).read_bytes()
    manifest = parse_manifest(raw)
    return (
        f"{len(manifest.artifacts)} artifacts, {len(manifest.bundles)} bundles, "
        f"release.json {hash_file(config.dist / MANIFEST).sha256[:12]}"
    )
