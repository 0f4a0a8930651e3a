"""Releases that are completely signed, but by an identity that is not trusted."""

from collections.abc import Callable

from cryptography.x509 import DNSName, RFC822Name, UniformResourceIdentifier

from ci.rehearsal.sigstore.authority import ARC
from ci.release.manifest import PROVENANCE_BUNDLE, boot_bundle, bundle_name
from tests.verify.attacks import Attack
from tests.verify.mint import named, without
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Scene

WORKFLOWS = f"{REPOSITORY}/.github/workflows"
REF = f"refs/tags/{NEW}"
BUILD = f"https://github.com/{WORKFLOWS}/build.yml@{REF}"


def claiming(*names: str, **claims: str) -> Callable[[Scene], None]:
    """Return what signs all of it, or the bundles `names`, in a job that differs in `claims`."""
    return lambda scene: scene.resign(scene.stage.mint.claiming(**claims), *names)


def shaped(shape: object, *names: str) -> Callable[[Scene], None]:
    """Return what signs with a certificate of another shape."""
    return lambda scene: scene.resign(scene.stage.mint.but(shape=shape), *names)


def elsewhere(*names: str) -> Callable[[Scene], None]:
    """Return what signs with a sigstore that is not trusted, for the same identity."""
    return lambda scene: scene.resign(scene.stage.foreign, *names)


def fork(owner: str) -> Callable[[Scene], None]:
    """Return what signs in a fork."""
    repository = f"{owner}/snowdrop"
    return claiming(
        repository=repository,
        repository_owner=owner,
        job_workflow_ref=f"{repository}/.github/workflows/build.yml@{REF}",
        workflow_ref=f"{repository}/.github/workflows/release.yml@{REF}",
    )


def lacking(number: int) -> Callable[[Scene], None]:
    """Return what signs with a certificate that lacks one of sigstore's extensions."""
    return shaped(without(f"{ARC}.{number}"))


BOOT = boot_bundle(IMAGE)
ATTACKS = [
    Attack(
        "another certificate authority",
        elsewhere(),
        "trust root",
        "an authority that the trust root",
    ),
    Attack(
        "another authority, one bundle",
        elsewhere(bundle_name(IMAGE)),
        f"signature of {IMAGE}",
        "an authority that the trust root",
    ),
    Attack(
        "another authority, provenance",
        elsewhere(PROVENANCE_BUNDLE),
        "provenance",
        "an authority that the trust root",
    ),
    Attack("a fork", fork("mallory"), "source repository", "https://github.com/mallory/snowdrop"),
    Attack("a name that looks alike", fork("1ighthouse"), "signer", "1ighthouse"),
    Attack(
        "a fork that calls our builder",
        claiming(
            repository="mallory/snowdrop",
            workflow_ref=f"mallory/snowdrop/.github/workflows/release.yml@{REF}",
        ),
        "source repository",
        "mallory",
    ),
    Attack(
        "another build workflow",
        claiming(job_workflow_ref=f"{WORKFLOWS}/evil.yml@{REF}"),
        "build workflow",
        "evil.yml",
    ),
    Attack(
        "another calling workflow",
        claiming(workflow_ref=f"{WORKFLOWS}/evil.yml@{REF}"),
        "calling workflow",
        "evil.yml",
    ),
    Attack(
        "a branch for the tag", claiming(ref="refs/heads/main"), "source ref", "refs/heads/main"
    ),
    Attack(
        "a branch of the tag's name",
        claiming(ref=f"refs/heads/{NEW}"),
        "source ref",
        f"refs/heads/{NEW}",
    ),
    Attack("a longer tag", claiming(ref=f"{REF}.1"), "source ref", f"{REF}.1"),
    Attack(
        "a builder of another ref",
        claiming(job_workflow_ref=f"{WORKFLOWS}/build.yml@refs/heads/main"),
        "signer",
        "refs/heads/main",
    ),
    Attack("another commit", claiming(sha="0" * 40), "source commit", "0" * 40),
    Attack(
        "a runner of one's own", claiming(runner_environment="self-hosted"), "runner", "self-hosted"
    ),
    Attack(
        "an issuer that looks alike",
        claiming(iss="https://token.actions.githubusercontent.com.evil.org"),
        "identity issuer",
        "evil.org",
    ),
    Attack(
        "started by hand", claiming(event_name="workflow_dispatch"), "trigger", "workflow_dispatch"
    ),
    Attack(
        "one bundle of a runner of one's own",
        claiming(bundle_name(IMAGE), runner_environment="self-hosted"),
        f"signature of {IMAGE}",
        "runner of its certificate is self-hosted",
    ),
    Attack(
        "provenance of another commit's run",
        claiming(PROVENANCE_BUNDLE, sha="0" * 40),
        "provenance",
        "source commit of its certificate",
    ),
    Attack(
        "boot report of a branch's run",
        claiming(BOOT, ref="refs/heads/main"),
        f"boot report of {IMAGE}",
        "source ref of its certificate",
    ),
    Attack("no issuer in the certificate", lacking(8), "identity issuer", "nothing"),
    Attack("no builder in the certificate", lacking(9), "build workflow", "nothing"),
    Attack("no runner in the certificate", lacking(11), "runner", "nothing"),
    Attack("no source repository in the certificate", lacking(12), "source repository", "nothing"),
    Attack("no source ref in the certificate", lacking(14), "source ref", "nothing"),
    Attack("no calling workflow in the certificate", lacking(18), "calling workflow", "nothing"),
    Attack("no name in the certificate", shaped(without("2.5.29.17")), "signer", "nothing"),
    Attack(
        "an e-mail address for a name",
        shaped(named(RFC822Name("build@example.org"))),
        "signer",
        "expected one URI",
    ),
    Attack("a host for a name", shaped(named(DNSName("github.com"))), "signer", "expected one URI"),
    Attack(
        "two names",
        shaped(
            named(
                UniformResourceIdentifier(BUILD), UniformResourceIdentifier("https://example.org")
            )
        ),
        "signer",
        "2 names, expected one URI",
    ),
    Attack(
        "a name that goes on",
        shaped(named(UniformResourceIdentifier(f"{BUILD}.evil"))),
        "signer",
        f"{BUILD}.evil",
    ),
]
