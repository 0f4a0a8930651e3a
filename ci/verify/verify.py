"""The `verify` command's work: from arguments to a request, and from a request to findings."""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import gettempdir

from build.edges.download import Downloader, is_loopback
from build.edges.temporary import temporary_folder
from build.errors import ConfigError
from ci.config import ReleaseConfig, read_config
from ci.release.github import ReleaseReader, web_of
from ci.release.manifest import Artifact
from ci.report.console import Console
from ci.report.safe_output import read_secret
from ci.verify.content.deep_checks import check_deeply
from ci.verify.content.release_index import verify_index
from ci.verify.download import HINT, save_index, save_other_files
from ci.verify.findings import CheckFailed, Findings, Verdict
from ci.verify.private import ReleaseDownloader
from ci.verify.release import (
    OTHER_FILE,
    Expectation,
    MoreChecks,
    check_index,
    verify_image,
    verify_release,
)
from ci.verify.report import print_explanations, print_report
from ci.verify.signer import choose_signer, keep_signer
from ci.verify.target import Remote, check_outside, check_target, find_tag, locate
from ci.verify.trust.bundles import PUBLIC_ROOT, Trust
from ci.verify.trust.refresh import PUBLIC, fetch_root, metadata_folder

ALPINE_KEYS = Path(__file__).parents[2] / "build" / "keys" / "alpine"
"""The reviewed keys of this checkout."""


def utc_now() -> datetime:
    """Return the time of this machine, in UTC."""
    return datetime.now(tz=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """The request of the command line, checked as a whole."""

    target: Path | Remote
    expected: Expectation
    trust: Trust
    more_checks: MoreChecks | None
    policy: Path | None
    """Policy file; written at its first use, and for each newer release."""
    save: Path | None
    api: str
    """Of GitHub: the only address that gets a token."""


def verify(arguments: argparse.Namespace, console: Console) -> int:
    """Verify and print the report; return the exit code of the verdict.

    Raises:
        ConfigError: no signer was named, or the arguments contradict each other.
        RemoteError: a file cannot be fetched.
    """
    if arguments.target is None:
        if not arguments.explain:
            raise ConfigError(
                "verify: no target, expected a folder, an image, a tag or a URL",
                hint="run `nox -s verify -- --explain` to see what each check proves",
            )
        print_explanations(console)
        return 0
    return verify_target(arguments, console).verdict.exit_code


def verify_target(arguments: argparse.Namespace, console: Console) -> Findings:
    """Verify the target of the arguments, print the report and return the findings.

    Raises:
        ConfigError: no signer was named, or the arguments contradict each other.
        RemoteError: a file cannot be fetched.
    """
    request = _read_request(arguments, console)
    findings = _verify(request, console)
    root = request.trust.root
    trusted = {"repository": request.expected.signer.repository, "trust root": root.name}
    trusted |= {"of": root.date, "sha256": root.sha256}
    print_report(
        findings,
        arguments.target,
        trusted,
        console,
        explained=arguments.explain,
        every=arguments.all,
    )
    return findings


def _read_request(arguments: argparse.Namespace, console: Console) -> VerifyRequest:
    check_target(arguments.target)
    check_outside(
        arguments.target,
        {
            f"--{option.replace('_', '-')}": getattr(arguments, option)
            for option in ("config", "policy", "trust_root", "keys")
        },
    )
    config = read_config(arguments.config) if arguments.config else None
    if config:
        # What a configuration names is as much a source of trust as what an option names.
        where, build = f"{config.file}: ", config.build
        named = {
            f"{where}[sign] trust_root": config.sign.trust_root,
            f"{where}[snapshot] keys": build.source.keys,
            f"{where}[builder] keys": build.builder_source.keys,
        }
        check_outside(arguments.target, named)
    signer = choose_signer(arguments, config)
    api = config.github_api if config else "https://api.github.com"
    target = locate(arguments.target, repository=signer.repository, web=web_of(api))
    tag = find_tag(arguments.tag, target)
    _check_offline(arguments, target)
    _check_save(arguments.save, target)
    if arguments.deep and isinstance(target, Path) and not target.is_dir():
        raise ConfigError("--deep: needs a whole release, the target is one image")
    trust = _read_trust(arguments, config, console)
    return VerifyRequest(
        target=target,
        expected=Expectation(
            signer=signer,
            tag=tag,
            now=utc_now(),
            allow_older=arguments.allow_older,
            # As `publish`, which sends a release of uncommitted changes to this machine only.
            allow_dirty=config is not None and is_loopback(config.github_api),
        ),
        trust=trust,
        more_checks=_deep_checks(arguments, config, trust, console) if arguments.deep else None,
        policy=arguments.policy,
        save=arguments.save,
        api=api,
    )


def _check_offline(arguments: argparse.Namespace, target: Path | Remote) -> None:
    if arguments.offline and isinstance(target, Remote):
        raise ConfigError(
            f"--offline: {target.base} is on the network",
            hint="fetch it first with `--save DIR`, then verify DIR",
        )
    if arguments.offline and arguments.refresh:
        raise ConfigError("--offline and --refresh are mutually exclusive")


def _check_save(save: Path | None, target: Path | Remote) -> None:
    if save is None:
        return
    if isinstance(target, Path):
        raise ConfigError(
            f"--save {save}: {target} is on this machine, there is nothing to download",
            hint="omit --save",
        )
    if save.exists() and (not save.is_dir() or any(save.iterdir())):
        raise ConfigError(f"--save {save}: exists and is not empty", hint="name a new folder")


def _read_trust(
    arguments: argparse.Namespace, config: ReleaseConfig | None, console: Console
) -> Trust:
    """Return the trust root that was named, or the reviewed one of this checkout."""
    configured = config.sign.trust_root if config else None
    path: Path = arguments.trust_root or configured or PUBLIC_ROOT
    if not arguments.refresh:
        return Trust(path)
    if path != PUBLIC_ROOT:
        raise ConfigError(f"--refresh: renews the public trust root, not {path}")
    with temporary_folder("snowdrop-root-", Path(gettempdir())) as folder:
        fresh = folder / PUBLIC_ROOT.name
        fresh.write_bytes(fetch_root(PUBLIC, metadata_folder(PUBLIC_ROOT)).content)
        trust = Trust(fresh, name=PUBLIC.url)
    console.line(f"trust root renewed from {PUBLIC.url}: of {trust.root.date}, not kept")
    return trust


def _deep_checks(
    arguments: argparse.Namespace, config: ReleaseConfig | None, trust: Trust, console: Console
) -> MoreChecks:
    keys = {"image": arguments.keys or ALPINE_KEYS, "builder": arguments.keys or ALPINE_KEYS}
    if config and not arguments.keys:
        source, builder_source = config.build.source, config.build.builder_source
        keys = {"image": source.keys, "builder": builder_source.keys}
    return partial(check_deeply, keys=keys, root=trust.root, progress=console.progress)


def _verify(request: VerifyRequest, console: Console) -> Findings:
    """Return the findings; what is to be remembered or kept is, when all checks passed."""
    if isinstance(request.target, Remote):
        return _download(request.target, request, console)
    if request.target.is_dir():
        findings = _verify_release(request.target, request)
    else:
        findings = verify_image(request.target, request.trust, request.expected)
    keep_signer(request.policy, request.expected.signer, findings, console)
    return findings


def _verify_release(folder: Path, request: VerifyRequest) -> Findings:
    return verify_release(folder, request.trust, request.expected, request.more_checks)


def _download(remote: Remote, request: VerifyRequest, console: Console) -> Findings:
    """Return the findings about `remote`; keep its files only if all checks passed."""
    plain = Downloader(time.sleep, HINT)
    downloader = ReleaseDownloader(plain, _open_reader(request, console, plain))
    expected = request.expected
    with _staging_folder(request.save) as folder:
        save_index(remote, folder, downloader)
        findings = Findings()
        try:
            index = verify_index(folder, request.trust, expected.signer, expected.tag, findings)
        except CheckFailed:
            return findings
        check_index(index, expected, findings)
        if remote.image is not None:
            _check_entry(remote.image, index.manifest.of_role("image"), findings)
        # Only now: the sizes in an unsigned manifest limit nothing.
        if findings.failed:
            return findings
        save_other_files(remote, index.manifest, folder, downloader, console.progress)
        findings = _verify_release(folder, request)
        keep_signer(request.policy, request.expected.signer, findings, console)
        if findings.verdict is Verdict.VERIFIED and request.save is not None:
            if request.save.exists():
                request.save.rmdir()
            folder.rename(request.save)
            console.line(f"saved in {request.save}")
    return findings


def _check_entry(image: str, images: Sequence[Artifact], findings: Findings) -> None:
    found = ", ".join(each.name for each in images if each.name == image) or "no such image"
    findings.add(f"entry of {image}", expected=image, found=found, meaning=OTHER_FILE)


def _open_reader(
    request: VerifyRequest, console: Console, downloader: Downloader
) -> ReleaseReader | None:
    """Return the reader for a private repository, None when there is no token."""
    token = read_secret(console.environment, "GITHUB_TOKEN")
    if not token:
        return None
    return ReleaseReader(
        api=request.api,
        repository=request.expected.signer.repository,
        token=token,
        downloader=downloader,
    )


@contextmanager
def _staging_folder(save: Path | None) -> Iterator[Path]:
    """Yield a folder beside `save`, so that a rename can keep it; it is removed afterwards.

    Raises:
        ConfigError: the disk is full, or permission is missing.
    """
    parent = save.parent if save is not None else None
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(".verify-", parent or Path(gettempdir())) as folder:
            inner = folder / "release"
            inner.mkdir()
            yield inner
    except OSError as error:
        where = f"--save {save}" if save else "temporary folder"
        raise ConfigError(f"{where}: {error.strerror}, nothing was kept") from None
