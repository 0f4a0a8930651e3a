"""`verify`: a folder, a tag or a URL -> a line a check; with --save, the download command."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from build.errors import ConfigError
from ci.attest.checksums import hash_file
from ci.config import ISSUER, REPOSITORY, ReleaseConfig, read_config
from ci.report.console import Console
from ci.verify.bundles import PUBLIC_ROOT, Trust
from ci.verify.checks import Check, Findings, Stopped
from ci.verify.release import Expectation, verify_folder, verify_head
from ci.verify.target import Remote, fetch_head, fetch_rest, locate, web_of

HELP = "Verify a release before import: a folder, a tag or a URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `verify` takes."""
    parser.add_argument("target", help="a folder, a tag, a release's URL or a mirror's URL")
    parser.add_argument(
        "--repository",
        metavar="OWNER/REPO",
        help="whose workflow must have signed it (default: release.github of the configuration)",
    )
    parser.add_argument("--tag", help="the release that it must be")
    parser.add_argument(
        "--save", type=Path, metavar="DIR", help="keep the files in DIR, if all of them hold"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Verify, print a line a check, and return 0 only when all of them hold."""
    config = _config(arguments)
    repository = _repository(arguments.repository, config)
    trust = Trust((config.sign.trust_root if config else None) or PUBLIC_ROOT)
    where = locate(
        arguments.target,
        repository=repository,
        web=web_of(config.github_api if config else "https://api.github.com"),
    )
    expectation = Expectation(
        repository=repository,
        issuer=config.sign.issuer if config else ISSUER,
        tag=arguments.tag or (where.tag if isinstance(where, Remote) else None),
    )
    _check_save(arguments.save, where)
    if isinstance(where, Path):
        findings = verify_folder(where, trust, expectation)
    else:
        findings = _download(where, trust, expectation, arguments.save, console)
    _tell(findings, arguments.target, trust, expectation, console)
    return 0 if findings.passed else 1


def _config(arguments: argparse.Namespace) -> ReleaseConfig | None:
    """Return the configuration; a person with --repository alone needs none."""
    if arguments.repository and not arguments.config.exists():
        return None
    return read_config(arguments.config)


def _repository(said: str | None, config: ReleaseConfig | None) -> str:
    repository = said or (config.repository if config else "")
    if not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"--repository {repository}: expected OWNER/REPO")
    return repository


def _check_save(save: Path | None, where: Path | Remote) -> None:
    if save is None:
        return
    if isinstance(where, Path):
        raise ConfigError(f"--save {save}: the target is a folder already", hint="leave --save out")
    if save.exists() and (not save.is_dir() or any(save.iterdir())):
        raise ConfigError(
            f"--save {save}: is there already, and not empty", hint="name a new folder"
        )


def _download(
    remote: Remote, trust: Trust, expectation: Expectation, save: Path | None, console: Console
) -> Findings:
    """Return the findings about what `remote` serves; only when all hold are the files kept."""
    with _staging(save) as folder, requests.Session() as session:
        fetch_head(remote, folder, session)
        head_findings = Findings()
        try:
            head = verify_head(folder, trust, expectation, head_findings)
        except Stopped:
            return head_findings
        fetch_rest(remote, head.manifest, folder, session, console.progress)
        findings = verify_folder(folder, trust, expectation)
        if save is not None and findings.passed:
            if save.exists():
                save.rmdir()
            folder.rename(save)
            console.line(f"saved in {save}")
        return findings


@contextmanager
def _staging(save: Path | None) -> Iterator[Path]:
    """Give a folder beside `save` (a rename keeps it) that is gone afterwards, whatever happens."""
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
    place = save.parent if save is not None else None
    with TemporaryDirectory(prefix=".verify-", dir=place) as folder:
        inner = Path(folder) / "release"
        inner.mkdir()
        yield inner


def _tell(
    findings: Findings, target: str, trust: Trust, expectation: Expectation, console: Console
) -> None:
    said = f"trusting {expectation.repository}, by the trust root {trust.path}"
    console.line(f"{target}: {said} (sha256 {hash_file(trust.path).sha256[:16]}...)")
    console.table(
        [["ok" if check.passed else "FAILED", check.name, check.found] for check in findings.checks]
    )
    for note in findings.notes:
        console.line(f"note: {note}")
    for check in findings.failed:
        console.line(f"\nFAILED {check.name}")
        console.line(f"  expected {check.expected}\n  found    {check.found}")
        if check.meaning:
            console.line(f"  meaning  {check.meaning}")
    verdict = "verified" if findings.passed else "REFUSED: do not import it"
    console.line(f"{target}: {verdict}, {len(findings.checks)} checks")
    console.data(
        {
            "target": target,
            "verified": findings.passed,
            "repository": expectation.repository,
            "checks": [_plain(check) for check in findings.checks],
            "notes": findings.notes,
        }
    )


def _plain(check: Check) -> dict[str, object]:
    return {
        "name": check.name,
        "passed": check.passed,
        "expected": check.expected,
        "found": check.found,
        "meaning": check.meaning,
    }
