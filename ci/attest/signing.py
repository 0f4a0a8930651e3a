"""Where sigstore is touched: the job's identity, the instance that signs, the bundles.

Only sigstore-python's documented API is used. What it raises leaves here as our own errors.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import requests
from sigstore.dsse import Statement
from sigstore.errors import Error, TUFError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.oidc import ExpiredIdentity, IdentityError, IdentityToken, detect_credential
from sigstore.sign import Signer, SigningContext
from sigstore_models.common.v1 import HashAlgorithm

from build.edges.progress import Progress
from build.errors import ConfigError, RemoteError
from ci.attest.manifest import Manifest
from ci.attest.provenance import FORGE, Run
from ci.config import SignConfig

TOKEN_VARIABLE = "SIGSTORE_ID_TOKEN"  # noqa: S105 (a name, no secret)
PERMISSION = "give the job the permission `id-token: write`, and call it from the tag's workflow"
TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"


@dataclass(frozen=True, slots=True)
class Job:
    """The job that signs, and its identity token."""

    token: IdentityToken = field(repr=False)
    claims: Mapping[str, str]
    """As the token has them; sigstore's authority is the one who checks its signature."""

    def claim(self, name: str) -> str:
        """Return a claim that every token of GitHub Actions has."""
        value = self.claims.get(name)
        if not isinstance(value, str) or not value:
            raise ConfigError(
                f"identity token: no claim {name!r}, expected a token of GitHub Actions",
                hint="sign in the workflow, or in a rehearsal with `nox -s rehearse`",
            )
        return value

    @property
    def run(self) -> Run:
        """The builder and the run, for provenance: the certificate will name the same."""
        runs = f"{FORGE}/{self.claim('repository')}/actions/runs"
        return Run(
            builder=f"{FORGE}/{self.claim('job_workflow_ref')}",
            invocation=f"{runs}/{self.claim('run_id')}/attempts/{self.claim('run_attempt')}",
        )


def job_of(
    environment: Mapping[str, str], detect: Callable[[], str | None] = detect_credential
) -> Job:
    """Return the job that runs, from SIGSTORE_ID_TOKEN or from what the CI offers (`detect`).

    Raises:
        ConfigError: there is no identity token; the hint names the permission that gives one.
    """
    try:
        raw = environment.get(TOKEN_VARIABLE) or detect()
        if not raw:
            raise ConfigError(
                f"no identity token: neither {TOKEN_VARIABLE} nor a CI that offers one",
                hint=PERMISSION,
            )
        token = IdentityToken(raw)
    except IdentityError as error:
        raise ConfigError(f"identity token: {error}", hint=PERMISSION) from error
    return Job(token, jwt.decode(raw, options={"verify_signature": False}))


def check_job(job: Job, manifest: Manifest, config: SignConfig) -> None:
    """Check that the certificate will say of this release what a verifier will ask for.

    Raises:
        ConfigError: the job runs for another repository, tag or commit; or its repository is
            not public and the public instance would tell its name to everybody.
    """
    wanted = {
        "repository": manifest.repository,
        "ref": f"refs/tags/{manifest.tag}",
        "sha": manifest.commit,
    }
    for name, expected in wanted.items():
        if job.claim(name) != expected:
            raise ConfigError(
                f"identity token: {name} is {job.claim(name)}, this release has {expected}",
                hint=f"sign in the run of the tag `{manifest.tag}`",
            )
    visibility = job.claim("repository_visibility")
    if config.signing_config is None and visibility != "public":
        raise ConfigError(
            f"identity token: the repository is {visibility}; the public sigstore would write "
            "its name, workflow and commit into a log that everybody reads for ever",
            hint="name an instance of your own in `[sign]`: trust_root and signing_config",
        )


def open_instance(config: SignConfig) -> ClientTrustConfig:
    """Return the instance that release.toml names, or the public one.

    Raises:
        ConfigError: a file of it cannot be used.
        RemoteError: the public one's trust root cannot be renewed.
    """
    if config.trust_root is None or config.signing_config is None:
        try:
            return ClientTrustConfig.production()
        except TUFError as error:
            raise RemoteError(f"sigstore's trust root: {error}", hint="run it again") from error
    parts = {"trustedRoot": config.trust_root, "signingConfig": config.signing_config}
    try:
        texts = {key: json.loads(path.read_text(encoding="utf-8")) for key, path in parts.items()}
        trust = ClientTrustConfig.from_json(json.dumps({"mediaType": TRUST_CONFIG, **texts}))
        # Each access parses anew; a part that cannot be used is found here, not half way.
        _ = trust.trusted_root, trust.signing_config
    except (OSError, ValueError, Error) as error:
        names = " or ".join(str(path) for path in parts.values())
        raise ConfigError(f"{names}: {error}") from error
    return trust


def write_bundles(
    folder: Path,
    *,
    trust: ClientTrustConfig,
    job: Job,
    files: Mapping[str, str],
    statements: Mapping[str, bytes],
    progress: Progress,
) -> None:
    """Write a bundle for each file and statement into `folder`, all with one certificate.

    `files`: sha256 by bundle name; `statements`: the bytes to sign by bundle name.

    Raises:
        RemoteError: a service did not answer, or refused; with its URL and its words.
    """
    total = len(files) + len(statements)
    with (
        progress.step("Sign", total=total, unit="files") as step,
        _own_errors(),
        SigningContext.from_trust_config(trust).signer(job.token) as signer,
    ):
        for name, bundle in _bundles(signer, files, statements):
            (folder / name).write_text(bundle.to_json() + "\n", encoding="utf-8")
            step.advance(1)


def _bundles(
    signer: Signer, files: Mapping[str, str], statements: Mapping[str, bytes]
) -> Iterator[tuple[str, Bundle]]:
    for name, sha256 in files.items():
        digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
        yield name, signer.sign_artifact(digest)
    for name, statement in statements.items():
        yield name, signer.sign_dsse(Statement(statement))


@contextmanager
def _own_errors() -> Iterator[None]:
    """Turn what the client raises, and the warnings before it, into one RemoteError."""
    warnings = _Warnings()
    logger = logging.getLogger("sigstore")
    logger.addHandler(warnings)
    try:
        yield
    except Exception as error:
        message = _reason(error)
        if message is None:
            raise
        told = "; ".join([message, *warnings.texts])
        raise RemoteError(told, hint="run it again: what is signed already is harmless") from error
    finally:
        logger.removeHandler(warnings)


class _Warnings(logging.Handler):
    """Keeps what the client only logs: that the timestamp authority failed, for one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _reason(error: BaseException) -> str | None:
    """Return what a service said, None for an error that is no service's.

    The client's own errors are empty at times; what was said is further down the chain.
    """
    link: BaseException | None = error
    while link:
        if isinstance(link, requests.HTTPError):
            said = link.response.text.strip()[:2000]
            return f"{link.response.url}: status {link.response.status_code}: {said}"
        if isinstance(link, requests.RequestException):
            where = link.request.url if link.request else "sigstore"
            return f"{where}: {link}"
        link = link.__cause__ or link.__context__
    if isinstance(error, (Error, ExpiredIdentity)) or type(error).__module__.startswith("sigstore"):
        return f"sigstore: {type(error).__name__}: {error}"
    return None
