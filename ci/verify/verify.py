"""The `verify` command's work: from arguments to a request, and from a request to findings."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from build.edges.download import Downloader
from build.errors import ConfigError
from ci.config import ISSUER, REPOSITORY, ReleaseConfig, read_config
from ci.release.github import ReleaseReader, web_of
from ci.report.console import Console
from ci.report.safe_output import read_secret
from ci.verify.content.deep_checks import check_deeply
from ci.verify.content.release_index import verify_index
from ci.verify.download import (
    HINT,
    Remote,
    find_local,
    locate,
    save_index,
    save_other_files,
)
from ci.verify.findings import CheckFailed, Findings
from ci.verify.private import ReleaseDownloader
from ci.verify.release import MoreChecks, verify_image, verify_release
from ci.verify.report import print_explanations, print_report
from ci.verify.trust.bundles import PUBLIC_ROOT, Trust
from ci.verify.trust.policy import TrustedSigner, dump_signer, read_signer, write_signer
from ci.verify.trust.refresh import PUBLIC, fetch_root

ALPINE_KEYS = Path(__file__).parents[2] / "build" / "keys" / "alpine"
"""The reviewed keys of this checkout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """The request of the command line, checked as a whole."""

    target: Path | Remote
    signer: TrustedSigner
    tag: str | None
    """None takes the release that the files name."""
    trust: Trust
    more_checks: MoreChecks | None
    policy: Path | None
    """Policy file; written when it does not exist yet."""
    save: Path | None
    api: str
    """Of GitHub: the only address that gets a token."""


def verify(arguments: argparse.Namespace, console: Console) -> int:
    """Verify and print the report; return 0 only when all checks passed.

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
    request = _read_request(arguments, console)
    findings = _verify(request, console)
    root = request.trust.root
    trusted = {"repository": request.signer.repository, "trust root": root.name}
    trusted |= {"of": root.date, "sha256": root.sha256}
    if findings.passed:
        _keep_signer(request, findings, console)
    print_report(findings, arguments.target, trusted, console, explained=arguments.explain)
    return 0 if findings.passed else 1


def _read_request(arguments: argparse.Namespace, console: Console) -> VerifyRequest:
    _check_outside_target(arguments)
    config = read_config(arguments.config) if arguments.config else None
    signer = _choose_signer(arguments, config)
    api = config.github_api if config else "https://api.github.com"
    target = locate(arguments.target, repository=signer.repository, web=web_of(api))
    _check_offline(arguments, target)
    _check_save(arguments.save, target)
    if arguments.deep and isinstance(target, Path) and not target.is_dir():
        raise ConfigError("--deep: needs a whole release, the target is one image")
    return VerifyRequest(
        target=target,
        signer=signer,
        tag=arguments.tag or (target.tag if isinstance(target, Remote) else None),
        trust=_read_trust(arguments, config, console),
        more_checks=_deep_checks(arguments, config, console) if arguments.deep else None,
        policy=arguments.policy,
        save=arguments.save,
        api=api,
    )


def _choose_signer(arguments: argparse.Namespace, config: ReleaseConfig | None) -> TrustedSigner:
    """Return the signer of the policy file, of `--repository`, or of the named configuration.

    A file that was not named is ignored: it may have come with the release.
    """
    repository, policy = arguments.repository, arguments.policy
    if policy is not None and policy.exists():
        signer = read_signer(policy)
        if repository not in (None, signer.repository):
            raise ConfigError(f"--repository {repository}: {policy} trusts {signer.repository}")
        return signer
    if repository is None and config is not None:
        repository = config.repository
    if repository is None:
        raise ConfigError(
            "verify: no trusted repository was named",
            hint="name it: `--repository OWNER/REPO`, or `--policy FILE` of an earlier run",
        )
    if not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"--repository {repository}: expected OWNER/REPO")
    return TrustedSigner(repository=repository, issuer=config.sign.issuer if config else ISSUER)


def _check_outside_target(arguments: argparse.Namespace) -> None:
    """Check that no file that determines trust is part of the target; read none.

    Such a file may lie neither anywhere in a folder to verify, nor beside an image.
    """
    target = find_local(arguments.target)
    if target is None:
        return
    folder = (target if target.is_dir() else target.parent).resolve()
    for option in ("config", "policy", "trust_root", "keys"):
        path = getattr(arguments, option)
        if path is None:
            continue
        inside = path.resolve()
        if inside.parent == folder or (target.is_dir() and inside.is_relative_to(folder)):
            raise ConfigError(
                f"--{option.replace('_', '-')} {path}: is part of the target, which must not "
                "determine trust",
                hint="name a file that you had before, or from a source that you trust",
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
        raise ConfigError(f"--save {save}: the target is a file already", hint="omit --save")
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
    with TemporaryDirectory(prefix="snowdrop-root-") as folder:
        fresh = Path(folder) / PUBLIC_ROOT.name
        fresh.write_bytes(fetch_root(PUBLIC))
        trust = Trust(fresh, name=PUBLIC.url)
    console.line(f"trust root renewed from {PUBLIC.url}: of {trust.root.date}, not kept")
    return trust


def _deep_checks(
    arguments: argparse.Namespace, config: ReleaseConfig | None, console: Console
) -> MoreChecks:
    keys = {"image": arguments.keys or ALPINE_KEYS, "builder": arguments.keys or ALPINE_KEYS}
    if config and not arguments.keys:
        source, builder_source = config.build.source, config.build.builder_source
        keys = {"image": source.keys, "builder": builder_source.keys}
    return partial(check_deeply, keys=keys, progress=console.progress)


def _verify(request: VerifyRequest, console: Console) -> Findings:
    if isinstance(request.target, Remote):
        return _download(request.target, request, console)
    if request.target.is_dir():
        return _verify_release(request.target, request)
    return verify_image(request.target, request.trust, request.signer, request.tag)


def _verify_release(folder: Path, request: VerifyRequest) -> Findings:
    return verify_release(folder, request.trust, request.signer, request.tag, request.more_checks)


def _download(remote: Remote, request: VerifyRequest, console: Console) -> Findings:
    """Return the findings about `remote`; keep its files only if all checks passed."""
    plain = Downloader(time.sleep, HINT)
    downloader = ReleaseDownloader(plain, _open_reader(request, console, plain))
    with _staging_folder(request.save) as folder:
        save_index(remote, folder, downloader)
        findings = Findings()
        try:
            index = verify_index(folder, request.trust, request.signer, request.tag, findings)
        except CheckFailed:
            return findings
        # Only now: the sizes in an unsigned manifest limit nothing.
        save_other_files(remote, index.manifest, folder, downloader, console.progress)
        findings = _verify_release(folder, request)
        if request.save is not None and findings.passed:
            if request.save.exists():
                request.save.rmdir()
            folder.rename(request.save)
            console.line(f"saved in {request.save}")
        return findings


def _open_reader(
    request: VerifyRequest, console: Console, downloader: Downloader
) -> ReleaseReader | None:
    """Return the reader for a private repository, None when there is no token."""
    token = read_secret(console.environment, "GITHUB_TOKEN")
    if not token:
        return None
    return ReleaseReader(
        api=request.api,
        repository=request.signer.repository,
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
        with TemporaryDirectory(prefix=".verify-", dir=parent) as folder:
            inner = Path(folder) / "release"
            inner.mkdir()
            yield inner
    except OSError as error:
        where = f"--save {save}" if save else "temporary folder"
        raise ConfigError(f"{where}: {error.strerror}, nothing was kept") from None


def _keep_signer(request: VerifyRequest, findings: Findings, console: Console) -> None:
    """Write and print the policy file at its first use; without one, note its values.

    Raises:
        VerificationError: the certificate has no numbers.
        ConfigError: the file cannot be written.
    """
    repository_id, owner_id = findings.facts["repository_id"], findings.facts["owner_id"]
    if request.policy is None:
        findings.note(
            f"signed by repository number {repository_id} of owner number {owner_id}; "
            "`--policy FILE` keeps them for the next time"
        )
    elif not request.policy.exists():
        signer = replace(request.signer, repository_id=repository_id, owner_id=owner_id)
        write_signer(request.policy, signer)
        findings.note(f"{request.policy}: written now, required from now on")
        console.line(f"{request.policy}:\n{dump_signer(signer)}")
