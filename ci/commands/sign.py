"""`sign`: hash the artifacts again, and sign them with the CI job's identity."""

import argparse

from ci.attest.sign import sign_release
from ci.config import read_config
from ci.publish.summary import format_summary, read_summary
from ci.release.checkout import ROOT, build_records
from ci.report.actions import write_summary
from ci.report.console import Console

HELP = "Sign the artifacts, SHA256SUMS, provenance, SBOMs and the records of build and boot"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments: release.toml and the checkout determine what is signed."""


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Sign the release that this checkout builds."""
    config = read_config(arguments.config)
    signed = sign_release(
        config,
        build_records(config),
        environment=console.environment,
        progress=console.progress,
        checkout=ROOT,
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
