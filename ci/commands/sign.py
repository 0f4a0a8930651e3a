"""`sign`: hash the artifacts again, and sign them with the CI job's identity."""

import argparse
from collections.abc import Callable
from pathlib import Path

from ci.attest.sign import sign_release
from ci.commands import one_run
from ci.config import read_config
from ci.publish.summary import format_summary, read_summary
from ci.release.checkout import ROOT, build_records
from ci.release.manifest import Manifest
from ci.report.actions import write_summary
from ci.report.console import Console
from ci.verify.trust.bundles import PUBLIC_ROOT, Trust
from ci.verify.trust.policy import Policy, TrustedSigner

HELP = "Sign the artifacts, SHA256SUMS, provenance, SBOMs and the records of build and boot"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `sign`: all else follows from release.toml and the checkout."""
    parser.add_argument(
        "--previous",
        metavar="TAG",
        help="tag of the release to compare with, empty for none "
        "(default: the newest tag of a release before the commit that has a lock)",
    )


def check_with(trust: Trust, issuer: str) -> Callable[[Manifest, Path, str | None], None]:
    """Return what checks a new bundle as `verify` will: with the same root and the same policy.

    The root of `verify` can be older than the one that signing fetches: a release with a new key
    must not be published before that root is renewed and reviewed.
    """

    def check(manifest: Manifest, bundle: Path, sha256: str | None) -> None:
        signer = TrustedSigner(repository=manifest.repository, issuer=issuer)
        policy = Policy(signer, manifest.tag, manifest.commit)
        if sha256 is None:
            _, certificate = trust.check_statement(bundle, policy)
        else:
            certificate = trust.check_file(bundle, sha256, policy)
        policy.check(certificate, bundle.name)

    return check


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Sign the release that this checkout builds."""
    config = read_config(arguments.config)
    # Two would take each other's folder of unfinished bundles away.
    with one_run(config.file, "sign"):
        signed = sign_release(
            config,
            build_records(config),
            environment=console.environment,
            progress=console.progress,
            checkout=ROOT,
            check=check_with(Trust(config.sign.trust_root or PUBLIC_ROOT), config.sign.issuer),
            previous=arguments.previous,
        )
    manifest = signed.manifest
    console.table(sorted(signed.sums.items()), header=("signed", "sha256"))
    console.line(f"{len(manifest.bundles)} bundles of {manifest.version} in {config.dist}")
    if manifest.dirty:
        console.line("The working tree had changes: this release goes to loopback addresses only.")
    write_summary(console.environment, format_summary(read_summary(config)))
    console.data(
        {
            "version": manifest.version,
            "files": dict(signed.sums),
            "bundles": list(manifest.bundles),
        }
    )
    return 0
