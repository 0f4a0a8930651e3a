"""What was asked for, checked as a whole; then each target the way that it is verified."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from build.edges.download import Downloader
from build.errors import ConfigError
from ci.config import ISSUER, REPOSITORY, ReleaseConfig, read_config
from ci.report.console import Console
from ci.verify.content.deep_checks import Deep
from ci.verify.content.release_index import Expectation, verify_head
from ci.verify.download import HINT, Remote, fetch_head, fetch_rest, local, locate, web_of
from ci.verify.explanations import EXPLANATIONS, explanations
from ci.verify.findings import CheckFailed, Findings
from ci.verify.image import verify_image
from ci.verify.release import verify_folder
from ci.verify.report import tell
from ci.verify.trust.bundles import PUBLIC_ROOT, Trust
from ci.verify.trust.refresh import PUBLIC, fetch_root
from ci.verify.trust.signer import TrustedSigner, dump_signer, read_signer, write_signer

ALPINE_KEYS = Path(__file__).parents[2] / "build" / "keys" / "alpine"
"""The reviewed keys of this checkout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the person at the terminal asked for, checked as a whole."""

    where: Path | Remote
    expectation: Expectation
    policy: Path | None
    """File of whom to trust; written when it is not there yet."""
    trust: Trust
    deep: Deep | None
    save: Path | None


def verify(arguments: argparse.Namespace, console: Console) -> int:
    """Verify, print a line a check, and return 0 only when all of them hold.

    Raises:
        ConfigError: it is not said whom to trust, or the words contradict each other.
        RemoteError: a file cannot be fetched.
    """
    if arguments.target is None:
        return _without_target(arguments, console)
    order = _order(arguments, console)
    findings = _verify(order, console)
    trusting = {
        "repository": order.expectation.whom.repository,
        "trust root": order.trust.root.name,
        "of": order.trust.root.date,
        "sha256": order.trust.root.sha256,
    }
    if findings.passed:
        _keep_whom(order, findings, console)
    tell(findings, arguments.target, trusting, console, explained=arguments.explain)
    return 0 if findings.passed else 1


def _without_target(arguments: argparse.Namespace, console: Console) -> int:
    if not arguments.explain:
        raise ConfigError(
            "verify: no target, expected a folder, an image, a tag or a URL",
            hint="`nox -s verify -- --explain` says what each check proves",
        )
    console.line(explanations())
    console.data(
        {
            check: {"proves": proves, "does_not_prove": not_proves}
            for check, (proves, not_proves) in EXPLANATIONS.items()
        }
    )
    return 0


def _order(arguments: argparse.Namespace, console: Console) -> Order:
    _check_apart(arguments)
    config = read_config(arguments.config) if arguments.config else None
    whom = _whom(arguments, config)
    api = config.github_api if config else "https://api.github.com"
    where = locate(arguments.target, repository=whom.repository, web=web_of(api))
    _check_online(arguments, where)
    _check_save(arguments.save, where)
    tag = arguments.tag or (where.tag if isinstance(where, Remote) else None)
    return Order(
        where=where,
        expectation=Expectation(whom=whom, tag=tag),
        policy=arguments.policy,
        trust=_trust(arguments, config, console),
        deep=_deep(arguments, config, console) if arguments.deep else None,
        save=arguments.save,
    )


def _whom(arguments: argparse.Namespace, config: ReleaseConfig | None) -> TrustedSigner:
    """Return whom the person trusts: by name, by a policy, or by the configuration that was named.

    No file that was not named is asked.
    """
    said, policy = arguments.repository, arguments.policy
    if policy is not None and policy.exists():
        whom = read_signer(policy)
        if said not in (None, whom.repository):
            raise ConfigError(f"--repository {said}: {policy} trusts {whom.repository}")
        return whom
    if said is None and config is not None:
        said = config.repository
    if said is None:
        raise ConfigError(
            "verify: whom to trust was not said",
            hint="say it: `--repository OWNER/REPO`, or `--policy FILE` of an earlier time",
        )
    if not REPOSITORY.fullmatch(said):
        raise ConfigError(f"--repository {said}: expected OWNER/REPO")
    return TrustedSigner(repository=said, issuer=config.sign.issuer if config else ISSUER)


def _check_apart(arguments: argparse.Namespace) -> None:
    """Check that nothing that decides whom to believe lies in what is verified; nothing is read.

    That is anywhere in a folder, and beside an image.
    """
    target = local(arguments.target)
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
                f"--{option.replace('_', '-')} {path}: lies in what is verified, which cannot say "
                "whom to trust",
                hint="take one that you had before, or from a place that you trust",
            )


def _check_online(arguments: argparse.Namespace, where: Path | Remote) -> None:
    if not arguments.offline:
        return
    if isinstance(where, Remote):
        raise ConfigError(
            f"--offline: {where.base} is on the network",
            hint="fetch it first with `--save DIR`, then verify DIR",
        )
    if arguments.refresh:
        raise ConfigError("--offline: --refresh asks the network, say one of them")


def _check_save(save: Path | None, where: Path | Remote) -> None:
    if save is None:
        return
    if isinstance(where, Path):
        raise ConfigError(f"--save {save}: the target is a file already", hint="leave --save out")
    if save.exists() and (not save.is_dir() or any(save.iterdir())):
        raise ConfigError(
            f"--save {save}: is there already, and not empty", hint="name a new folder"
        )


def _trust(arguments: argparse.Namespace, config: ReleaseConfig | None, console: Console) -> Trust:
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


def _deep(arguments: argparse.Namespace, config: ReleaseConfig | None, console: Console) -> Deep:
    if arguments.keys or config is None:
        keys = arguments.keys or ALPINE_KEYS
        return Deep({"image": keys, "builder": keys}, console.progress)
    build = config.build
    return Deep(
        {"image": build.source.keys, "builder": build.builder_source.keys}, console.progress
    )


def _verify(order: Order, console: Console) -> Findings:
    if isinstance(order.where, Remote):
        return _download(order.where, order, console)
    if order.where.is_dir():
        return verify_folder(order.where, order.trust, order.expectation, order.deep)
    if order.deep:
        raise ConfigError("--deep: looks at a whole release, the target is one image")
    return verify_image(order.where, order.trust, order.expectation)


def _download(remote: Remote, order: Order, console: Console) -> Findings:
    """Return the findings about what `remote` serves; only when all hold are the files kept."""
    downloader = Downloader(time.sleep, HINT)
    with _staging(order.save) as folder:
        fetch_head(remote, folder, downloader)
        head_findings = Findings()
        try:
            head = verify_head(folder, order.trust, order.expectation, head_findings)
        except CheckFailed:
            return head_findings
        fetch_rest(remote, head.manifest, folder, downloader, console.progress)
        findings = verify_folder(folder, order.trust, order.expectation, order.deep)
        if order.save is not None and findings.passed:
            if order.save.exists():
                order.save.rmdir()
            folder.rename(order.save)
            console.line(f"saved in {order.save}")
        return findings


@contextmanager
def _staging(save: Path | None) -> Iterator[Path]:
    """Give a folder beside `save` (a rename keeps it) that is gone afterwards, whatever happens.

    Raises:
        ConfigError: there is no room, or no right to write there.
    """
    place = save.parent if save is not None else None
    try:
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".verify-", dir=place) as folder:
            inner = Path(folder) / "release"
            inner.mkdir()
            yield inner
    except OSError as error:
        where = f"--save {save}" if save else "temporary folder"
        raise ConfigError(f"{where}: {error.strerror}, nothing was kept") from None


def _keep_whom(order: Order, findings: Findings, console: Console) -> None:
    """Write the policy file at its first use, and show it; without one, say what it would hold.

    Raises:
        VerificationError: the certificate has no such numbers.
        ConfigError: the file cannot be written.
    """
    facts = findings.facts
    whom = replace(
        order.expectation.whom,
        repository_id=facts["repository_id"],
        owner_id=facts["owner_id"],
    )
    if order.policy is None:
        findings.note(
            f"signed by repository number {whom.repository_id} of owner number {whom.owner_id}; "
            "`--policy FILE` keeps them for the next time"
        )
    elif not order.policy.exists():
        write_signer(order.policy, whom)
        findings.note(f"{order.policy}: written now, demanded from now on")
        console.line(f"{order.policy}:\n{dump_signer(whom)}")
