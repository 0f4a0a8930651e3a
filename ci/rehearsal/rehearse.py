"""The steps of a rehearsal in order: the commands of a real release, each in its own process."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from build.config import Origin
from build.edges.files import hash_file, write_file
from build.edges.parent import with_parent
from build.errors import SnowdropError
from build.snapshot.lock import Lock
from build.snapshot.lock_reader import read_lock
from build.words import counted
from ci.boot.checks import report_path
from ci.config import ReleaseConfig, read_config
from ci.publish.plan import import_urls
from ci.publish.summary import format_summary, read_summary
from ci.rehearsal import s3
from ci.rehearsal.configuration import BUCKET, REPOSITORY, Addresses, Contents, release_toml
from ci.rehearsal.imports import rehearse_imports
from ci.rehearsal.services import run_service
from ci.release.checkout import ROOT, build_records, origin_of, read_record
from ci.release.manifest import MANIFEST, Manifest, archive_name, parse_manifest
from ci.report.console import Console
from ci.report.table import size_text

REPOSITORIES = ("image", "builder")
"""Folders of the sample that the lock's URLs name."""


class StepFailedError(SnowdropError):
    """A command of the rehearsal ended with an error; its output is above."""


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step."""

    name: str
    seconds: float
    result: str
    """The result of the step in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Runner of the steps of one rehearsal, with its folders."""

    state: Path
    """`.snowdrop/rehearsal`."""
    dist: Path
    console: Console
    environment: Mapping[str, str]
    steps: list[Step] = field(default_factory=list)
    """The finished steps."""

    @property
    def config(self) -> Path:
        """The rehearsal's release.toml."""
        return self.state / "release.toml"

    @property
    def download(self) -> Path:
        """The folder that `verify --save` fills."""
        return self.state / "download"

    @contextmanager
    def timed(self, name: str, result: Callable[[], str]) -> Iterator[None]:
        """Time the block as a step; `result` is called after it and describes its result."""
        start = time.monotonic()
        yield
        self.steps.append(Step(name, time.monotonic() - start, result()))

    def run_command(
        self, *words: str, environment: Mapping[str, str], result: Callable[[], str]
    ) -> None:
        """Run `python -m ci WORDS --config ...` with our own stdout and stderr.

        Raises:
            StepFailedError: its exit status is not 0.
        """
        argv = [sys.executable, "-m", "ci", *words, "--config", str(self.config)]
        options = " ".join(words[1:])
        self.console.line(f"\n> nox -s {words[0]}" + (f" -- {options}" if options else ""))
        with self.timed(words[0], result):
            # With --json our stdout is data alone: the output of the commands goes to stderr.
            out = self.console.err if self.console.json else None
            process = subprocess.Popen(argv, env=with_parent(environment), stdout=out, cwd=ROOT)
            try:
                status = process.wait()
            except BaseException:
                # Also KeyboardInterrupt: no command may outlive the services that it uses.
                process.terminate()
                process.wait()
                raise
            if status != 0:
                raise StepFailedError(
                    f"rehearsal: `{words[0]}` ended with {status}",
                    hint=f"run the step alone with `python -m ci {' '.join(words)} --config "
                    f"{self.config}`; its files are in {self.state}",
                )


def rehearse(rehearsal: Rehearsal, contents: Contents) -> tuple[Manifest, tuple[str, ...]]:
    """Run every step of a release; return its manifest and the import URLs.

    The embedded services run until the last step has ended.
    """
    state = rehearsal.state
    with ExitStack() as stack:
        addresses, environment = _start_services(rehearsal, stack)

        def run(*words: str, result: Callable[[], str], **more: str) -> None:
            rehearsal.run_command(*words, environment={**environment, **more}, result=result)

        dist = os.path.relpath(rehearsal.dist, state)
        rehearsal.config.write_text(release_toml(contents, addresses, state=state, dist=dist))
        config = read_config(rehearsal.config)
        run("pin", result=lambda: _describe_lock(read_lock(config.build.lock)))
        origin = origin_of(config, read_lock(config.build.lock))
        sigstore = stack.enter_context(
            run_service(
                "ci.rehearsal.sigstore",
                *("--folder", str(state / "sigstore"), "--repository", REPOSITORY),
                *("--tag", origin.version, "--sha", origin.commit),
                environment=environment,
                log=state / "logs" / "sigstore.log",
            )
        )
        run("store", "push", result=lambda: "the snapshot, kept in the Space")
        with _only_kept(config, state / "sample"):
            run("build", result=lambda: "; ".join(map(_describe_build, build_records(config))))
        run("boot", result=lambda: "; ".join(map(_describe_boot, build_records(config))))
        run("archive", result=lambda: _describe_archive(config, origin))
        # As in the release workflow, no other step can get an identity token.
        run("sign", result=lambda: _describe_signatures(config), **sigstore["environment"])
        manifest = parse_manifest((config.dist / MANIFEST).read_bytes())
        run("publish", result=lambda: f"release {origin.version} at {addresses.github}")
        assert config.spaces is not None  # for the type checker: release_toml writes [spaces]
        urls = import_urls(config.spaces, manifest)
        run("mirror", result=lambda: f"{counted(len(urls), 'import URL')}, see below")
        # The first `verify` writes the trust policy, the second one reads it.
        policy = ("--policy", str(state / "trusted.toml"))
        save = ("--repository", REPOSITORY, *policy, "--deep", "--save", str(rehearsal.download))
        run("verify", origin.version, *save, result=lambda: str(rehearsal.download))
        mirror = urls[0].rpartition("/")[0]
        run("verify", mirror, *policy, result=lambda: "the mirror serves the same release")
        rehearse_imports(
            run,
            config,
            manifest,
            mirror=mirror,
            policy=state / "trusted.toml",
            double=state / "digitalocean",
        )
        for double, service in (("github", "GitHub"), ("digitalocean", "DigitalOcean")):
            _check_double(state / double / "violations.txt", service)
    return manifest, urls


def print_report(rehearsal: Rehearsal, manifest: Manifest, urls: Sequence[str]) -> None:
    """Print the steps, and the summary that the jobs of a release write."""
    console = rehearsal.console
    console.line()
    console.table(
        [[step.name, f"{step.seconds:.1f}", step.result] for step in rehearsal.steps],
        header=["step", "seconds", "made"],
    )
    console.line()
    images = manifest.of_role("image")
    console.table(
        [[item.name, size_text(item.size), item.sha256] for item in images],
        header=["image", "size", "sha256"],
    )
    others = counted(len(manifest.artifacts) - len(images), "other file")
    console.line(f"{others}: their digests are in {rehearsal.dist / 'SHA256SUMS'}")
    console.line("\nimport URL (its server belonged to the rehearsal and has ended)")
    for url in urls:
        console.line(url)
    # The servers of the rehearsal have ended: what they served is in the folder `download`.
    named = f"--repository {manifest.repository} --config {rehearsal.config}"
    verify = (
        f"(cd {rehearsal.download} && sha256sum -c SHA256SUMS)",
        f".venv/bin/nox -s verify -- {rehearsal.download} {named}",
    )
    console.line("\ncommands for a downloader")
    for command in verify:
        # A shell joins lines that end in a backslash, so that the copy works.
        console.line(re.sub(" (?=--[a-z])", " \\\\\n    ", command))
    # The text that each job of the workflow writes to its summary at GitHub.
    summary = read_summary(read_config(rehearsal.config), verify=verify)
    path = rehearsal.state / "summary.md"
    write_file(path, format_summary(summary).encode())
    console.line(f"\nsummary as Markdown: {path}")
    console.data(
        {
            "version": manifest.version,
            "steps": [
                {"step": step.name, "seconds": round(step.seconds, 1), "made": step.result}
                for step in rehearsal.steps
            ],
            "artifacts": {item.name: item.sha256 for item in manifest.artifacts},
            "import_urls": list(urls),
            "config": str(rehearsal.config),
            "dist": str(rehearsal.dist),
            "download": str(rehearsal.download),
        }
    )


def _start_services(rehearsal: Rehearsal, stack: ExitStack) -> tuple[Addresses, dict[str, str]]:
    """Start the doubles and S3; return their addresses and the environment for commands."""
    state = rehearsal.state
    github = stack.enter_context(
        run_service(
            "ci.rehearsal.github",
            *("--folder", str(state / "github"), "--repository", REPOSITORY),
            environment=rehearsal.environment,
            log=state / "logs" / "github.log",
        )
    )
    store = stack.enter_context(s3.running(state / "s3", bucket=BUCKET))
    digitalocean = stack.enter_context(
        run_service(
            "ci.rehearsal.digitalocean",
            *("--folder", str(state / "digitalocean")),
            environment=rehearsal.environment,
            log=state / "logs" / "digitalocean.log",
        )
    )
    environment = {
        **rehearsal.environment,
        "GITHUB_TOKEN": "rehearsal-only",
        "DIGITALOCEAN_TOKEN": digitalocean["token"],
        "SPACES_KEY": store.key,
        "SPACES_SECRET": store.secret,
    }
    addresses = Addresses(github=github["url"], s3=store.endpoint, digitalocean=digitalocean["url"])
    return addresses, environment


@contextmanager
def _only_kept(config: ReleaseConfig, sample: Path) -> Iterator[None]:
    """Leave the block an empty store and no sample repository, as a release is built months later.

    Only the kept snapshot has the files of the lock then. Real repositories stay, but what they
    serve is not asked for.
    """
    shutil.rmtree(config.build.store)
    hidden = {sample / name: sample / f"{name}.hidden" for name in REPOSITORIES}
    for folder, aside in hidden.items():
        folder.rename(aside)
    try:
        yield
    finally:
        # After a kill in between, the next rehearsal makes the sample again.
        for folder, aside in hidden.items():
            aside.rename(folder)


def _check_double(violations: Path, service: str) -> None:
    """Fail when a request or a response did not follow the service's description."""
    if violations.exists():
        raise StepFailedError(
            f"rehearsal: requests or responses that {service}'s API description does not allow:\n"
            f"{violations.read_text()}"
        )


def _describe_lock(lock: Lock) -> str:
    return f"lock {lock.id[:12]}: " + ", ".join(
        f"{name} {len(lock.closure(name))}" for name in lock.closures
    )


def _describe_build(record: Path) -> str:
    image = read_record(record)["image"]
    return f"{image['file']}, {size_text(image['size'])}"


def _describe_boot(record: Path) -> str:
    report = read_record(report_path(record))
    seconds = report["seconds"]
    return (
        f"{counted(len(report['checks']), 'check')} passed, kernel {seconds['kernel']:.1f} s, "
        f"ssh {seconds['ssh']:.1f} s"
    )


def _describe_archive(config: ReleaseConfig, origin: Origin) -> str:
    path = config.dist / archive_name(origin.name, origin.version)
    return f"{path.name}, {size_text(path.stat().st_size)}"


def _describe_signatures(config: ReleaseConfig) -> str:
    manifest = parse_manifest((config.dist / MANIFEST).read_bytes())
    return (
        f"{counted(len(manifest.artifacts), 'artifact')}, "
        f"{counted(len(manifest.bundles), 'bundle')}, "
        f"release.json {hash_file(config.dist / MANIFEST).sha256[:12]}"
    )
