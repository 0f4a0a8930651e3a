"""The signer that the verifying person trusts: chosen before a verification, kept after it."""

import argparse
from dataclasses import replace
from pathlib import Path

from build.errors import ConfigError
from ci.config import ISSUER, REPOSITORY, ReleaseConfig
from ci.report.console import Console
from ci.verify.findings import Findings, Verdict
from ci.verify.trust.policy import TrustedSigner
from ci.verify.trust.policy_file import dump_signer, read_signer, remember, write_signer


def choose_signer(arguments: argparse.Namespace, config: ReleaseConfig | None) -> TrustedSigner:
    """Return the signer of the policy file, of `--repository`, or of the named configuration.

    A file that was not named is ignored: it may have come with the release.

    Raises:
        ConfigError: none was named, or two that differ, or the policy file is malformed.
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


def keep_signer(
    policy: Path | None, known: TrustedSigner, findings: Findings, console: Console
) -> None:
    """Write the policy file at its first use and for a newer release; without one, note it.

    Raises:
        ConfigError: the file cannot be written.
    """
    if findings.verdict is not Verdict.VERIFIED or findings.epoch is None:
        return
    repository_id, owner_id = findings.facts["repository_id"], findings.facts["owner_id"]
    if policy is None:
        findings.note(
            f"signed by repository number {repository_id} of owner number {owner_id}; "
            "`--policy FILE` keeps them for the next time"
        )
        return
    is_new = not policy.exists()
    # Read again: another verification may have seen a newer release since this one began.
    found = known if is_new else read_signer(policy)
    signer = replace(found, repository_id=repository_id, owner_id=owner_id)
    signer = remember(signer, findings.facts["tag"], findings.epoch)
    if is_new or signer != found:
        write_signer(policy, signer)
    if is_new:
        findings.note(f"{policy}: written now, required from now on")
        console.line(f"{policy}:\n{dump_signer(signer)}")
