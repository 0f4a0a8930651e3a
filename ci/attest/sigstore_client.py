"""Client of sigstore: the CI job's identity, the signing instance, the bundles.

Only sigstore-python's documented API is used. Its exceptions are turned into SnowdropErrors.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from logging.handlers import BufferingHandler
from pathlib import Path
from threading import Thread
from typing import TypeVar

import jwt
import requests
from sigstore.dsse import Statement
from sigstore.errors import Error, TUFError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, ClientTrustConfig, InvalidBundle
from sigstore.oidc import ExpiredIdentity, IdentityError, IdentityToken, detect_credential
from sigstore.sign import Signer, SigningContext
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm

from build.edges.progress import Progress
from build.errors import ConfigError, RemoteError
from ci.attest.predicates.packages import FORGE
from ci.attest.predicates.provenance import Run
from ci.config import OWN_INSTANCE, PRIVATE, SignConfig
from ci.release.manifest import Manifest
from ci.report.safe_output import read_secret

TOKEN_VARIABLE = "SIGSTORE_ID_TOKEN"  # noqa: S105 (a name, no secret)
PERMISSION = "give the job the permission `id-token: write`, and call it from the tag's workflow"
SECONDS = 60.0
"""Time limit for the trust root and for each signature; the public instance takes two or three."""
PAUSE = 2.0
"""Seconds before the second attempt."""
T = TypeVar("T")
Check = Callable[[Path, str | None], object]
"""Checks the bundle in a file, of the file with a sha256, or of a statement; it raises an error of
ours when the bundle is not one that `verify` will accept."""
TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"


@dataclass(frozen=True, slots=True)
class Job:
    """The CI job that signs, and its identity token."""

    token: IdentityToken = field(repr=False)
    claims: Mapping[str, str]
    """The token's claims. Its signature is not checked here: sigstore's authority does that."""

    def claim(self, name: str) -> str:
        """Return a claim that every token of GitHub Actions has.

        Raises:
            ConfigError: the token has no such claim.
        """
        value = self.claims.get(name)
        if not isinstance(value, str) or not value:
            raise ConfigError(
                f"identity token: no claim {name!r}, expected a token of GitHub Actions",
                hint="sign in the workflow, or in a rehearsal with `nox -s rehearse`",
            )
        return value

    @property
    def run(self) -> Run:
        """The builder and the run for provenance, as the certificate will name them."""
        runs = f"{FORGE}/{self.claim('repository')}/actions/runs"
        return Run(
            builder=f"{FORGE}/{self.claim('job_workflow_ref')}",
            invocation=f"{runs}/{self.claim('run_id')}/attempts/{self.claim('run_attempt')}",
        )


def job_of(
    environment: Mapping[str, str], detect: Callable[[], str | None] = detect_credential
) -> Job:
    """Return the running job, from SIGSTORE_ID_TOKEN or from the CI's own service (`detect`).

    Raises:
        ConfigError: there is no valid identity token; the hint names the permission that it needs.
    """
    try:
        raw = environment.get(TOKEN_VARIABLE) or detect()
        if not raw:
            raise ConfigError(
                f"no identity token: neither {TOKEN_VARIABLE} nor a CI that issues one",
                hint=PERMISSION,
            )
        token = IdentityToken(read_secret({TOKEN_VARIABLE: raw}, TOKEN_VARIABLE))
    except IdentityError as error:
        raise ConfigError(f"identity token: {error}", hint=PERMISSION) from error
    return Job(token, jwt.decode(raw, options={"verify_signature": False}))


def check_job(job: Job, manifest: Manifest, config: SignConfig) -> None:
    """Check that the certificate will name the repository, tag and commit of this release.

    Raises:
        ConfigError: the job runs for another repository, tag or commit; or its repository is
            not public and the public instance would publish its name.
    """
    for name, expected in (
        ("repository", manifest.repository),
        ("ref", f"refs/tags/{manifest.tag}"),
        ("sha", manifest.commit),
    ):
        if job.claim(name) != expected:
            raise ConfigError(
                f"identity token: {name} is {job.claim(name)}, this release has {expected}",
                hint=f"sign in the run of the tag `{manifest.tag}`",
            )
    visibility = job.claim("repository_visibility")
    if config.only_public and visibility != "public":
        raise ConfigError(
            f"identity token: the repository is {visibility}; {PRIVATE}", hint=OWN_INSTANCE
        )


def open_instance(config: SignConfig) -> ClientTrustConfig:
    """Return the sigstore instance that release.toml names, or the public one.

    Raises:
        ConfigError: a file of the instance cannot be used.
        RemoteError: the trust root of the public instance cannot be updated.
    """
    if config.trust_root is None or config.signing_config is None:
        try:
            return _within(ClientTrustConfig.production)
        except (TUFError, TimeoutError) as error:
            reason = _reason(error) or error
            raise RemoteError(f"sigstore's trust root: {reason}", hint="run it again") from error
    parts = {"trustedRoot": config.trust_root, "signingConfig": config.signing_config}
    try:
        texts = {key: json.loads(path.read_text(encoding="utf-8")) for key, path in parts.items()}
        trust = ClientTrustConfig.from_json(json.dumps({"mediaType": TRUST_CONFIG, **texts}))
        # The client parses lazily: an unusable part must be found before anything is signed.
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
    check: Check | None = None,
) -> None:
    """Write a bundle for each file and statement into `folder`, all with one certificate.

    `files`: sha256 by bundle name; `statements`: the bytes to sign by bundle name; `check`: the
    check with the trust root of `verify`, which may be older than the one that the client has.

    Raises:
        RemoteError: a service did not answer, or refused; with its URL and its answer.
        SnowdropError: as `check`.
    """
    total = len(files) + len(statements)
    with progress.step("Sign", total=total, unit="files") as step, _remote_errors():
        signer = _RetryingSigner(trust, job.token)
        # With the instance's current root: a failure is the service's.
        verifier = Verifier(trusted_root=trust.trusted_root)
        identity = Identity(identity=job.run.builder)

        def write(name: str, bundle: Bundle, sha256: str | None = None) -> None:
            path = folder / name
            path.write_text(bundle.to_json() + "\n", encoding="utf-8")
            if check is not None:
                check(path, sha256)
            step.advance(1)

        for name, sha256 in files.items():
            digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
            bundle = signer.sign(partial(Signer.sign_artifact, input_=digest))
            verifier.verify_artifact(digest, bundle, identity)
            write(name, bundle, sha256)
        for name, content in statements.items():
            bundle = signer.sign(partial(Signer.sign_dsse, input_=Statement(content)))
            verifier.verify_dsse(bundle, identity)
            write(name, bundle)


class _RetryingSigner:
    """Signs with one certificate; when a service failed, once again with a new one."""

    def __init__(self, trust: ClientTrustConfig, token: IdentityToken) -> None:
        self.context, self.token = SigningContext.from_trust_config(trust), token
        self.signer: Signer | None = None
        self.stamps = bool(trust.signing_config.get_tsas())

    def sign(self, request: Callable[[Signer], Bundle]) -> Bundle:
        """Return the bundle that `request` makes with a signer."""
        try:
            return _within(lambda: self._sign_once(request))
        except Exception as error:
            if not _is_temporary(error):
                raise
            # A new certificate over new connections. A log entry of the failed attempt is
            # harmless: it proves that these bytes were signed, which is true.
            self.signer = None
            time.sleep(PAUSE)
            return _within(lambda: self._sign_once(request))

    def _sign_once(self, request: Callable[[Signer], Bundle]) -> Bundle:
        if self.signer is None:
            with self.context.signer(self.token) as signer:
                self.signer = signer
        bundle = request(self.signer)
        # The client only warns when a timestamp authority fails. A bundle of Rekor v1 would still
        # hold, by the time that its log has signed, and then prove less than the others.
        if self.stamps and bundle.verification_material.timestamp_verification_data is None:
            raise InvalidBundle("no timestamp, although the signing config names an authority")
        return bundle


def _within(work: Callable[[], T]) -> T:
    """Call `work` and return its result, waiting at most SECONDS.

    Raises:
        TimeoutError: it took longer.
    """
    # sigstore's client sets no time limit for its authority and its log, and has no option for
    # one; urllib3 ignores the default of `socket`. A daemon thread that hangs ends with the
    # process; those of ThreadPoolExecutor are joined at exit.
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            future.set_exception(error)

    Thread(target=do, name="sigstore", daemon=True).start()
    return future.result(timeout=SECONDS)


def _is_temporary(error: BaseException) -> bool:
    """Return whether the same request may succeed a moment later."""
    for link in _chain(error):
        if isinstance(link, requests.HTTPError):
            # RFC 9110 15.6: the server failed; RFC 6585 4: too many requests.
            return link.response.status_code >= 500 or link.response.status_code == 429
        if isinstance(link, (requests.RequestException, TimeoutError)):
            return True
    # The client only warns when a timestamp service fails, then rejects its own bundle.
    return isinstance(error, InvalidBundle)


@contextmanager
def _remote_errors() -> Iterator[None]:
    """Turn an exception of the client, with the warnings before it, into one RemoteError."""
    # The client only logs some failures, such as that of the timestamp authority.
    warnings = BufferingHandler(capacity=1000)
    warnings.setLevel(logging.WARNING)
    logger = logging.getLogger("sigstore")
    logger.addHandler(warnings)
    try:
        yield
    except Exception as error:
        message = _reason(error)
        if message is None:
            raise
        texts = [message, *(record.getMessage() for record in warnings.buffer)]
        text = "; ".join(dict.fromkeys(texts))
        raise RemoteError(text, hint="run it again: earlier signatures do no harm") from error
    finally:
        logger.removeHandler(warnings)


def _reason(error: BaseException) -> str | None:
    """Return the answer of a service, None when the error does not come from one."""
    # Some errors of the client have no text of their own: the answer is in one of their causes.
    for link in _chain(error):
        if isinstance(link, requests.HTTPError):
            answer = link.response.text.strip()[:2000]
            return f"{link.response.url}: status {link.response.status_code}: {answer}"
        if isinstance(link, requests.RequestException):
            return f"{link.request.url if link.request else 'sigstore'}: {link}"
    if isinstance(error, TimeoutError):
        return f"sigstore: one of its services gave no answer within {SECONDS:.0f} s"
    if isinstance(error, (Error, ExpiredIdentity)) or type(error).__module__.startswith("sigstore"):
        return f"sigstore: {type(error).__name__}: {error}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link:
        yield link
        link = link.__cause__ or link.__context__
