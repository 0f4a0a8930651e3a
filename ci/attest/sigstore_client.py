"""Where sigstore is touched: the job's identity, the instance that signs, the bundles.

Only sigstore-python's documented API is used. What it raises leaves here as our own errors.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
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
from ci.config import SignConfig
from ci.release.manifest import Manifest

TOKEN_VARIABLE = "SIGSTORE_ID_TOKEN"  # noqa: S105 (a name, no secret)
PERMISSION = "give the job the permission `id-token: write`, and call it from the tag's workflow"
SECONDS = 60.0
"""That the trust root or one signature may take; the public instance takes two or three."""
PAUSE = 2.0
"""Seconds before the second try."""
T = TypeVar("T")
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
    told = visibility == "public" or config.public_log
    if config.signing_config is None and not told:
        raise ConfigError(
            f"identity token: the repository is {visibility}; the public sigstore would write "
            "its name, workflow and commit into a log that everybody reads for ever",
            hint="name an instance of your own in `[sign]`: trust_root and signing_config; "
            "or, when everybody may know, say `public_log = true` there",
        )


def open_instance(config: SignConfig) -> ClientTrustConfig:
    """Return the instance that release.toml names, or the public one.

    Raises:
        ConfigError: a file of it cannot be used.
        RemoteError: the public one's trust root cannot be renewed.
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
    orders = [*_files(files), *_statements(statements)]
    with progress.step("Sign", total=len(orders), unit="files") as step, _own_errors():
        hand, verifier = _Hand(trust, job.token), Verifier(trusted_root=trust.trusted_root)
        signer = Identity(identity=job.run.builder)
        for order in orders:
            bundle = hand.sign(order.sign)
            # What nobody could verify is found before it is kept.
            order.check(verifier, bundle=bundle, policy=signer)
            (folder / order.name).write_text(bundle.to_json() + "\n", encoding="utf-8")
            step.advance(1)


@dataclass(frozen=True, slots=True)
class _Order:
    name: str
    """Of the bundle."""
    sign: Callable[[Signer], Bundle]
    check: Callable[..., object]
    """Verifies: takes a Verifier, `bundle` and `policy`."""


def _files(files: Mapping[str, str]) -> Iterator[_Order]:
    for name, sha256 in files.items():
        digest = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(sha256))
        sign = partial(Signer.sign_artifact, input_=digest)
        yield _Order(name, sign, partial(Verifier.verify_artifact, input_=digest))


def _statements(statements: Mapping[str, bytes]) -> Iterator[_Order]:
    for name, statement in statements.items():
        sign = partial(Signer.sign_dsse, input_=Statement(statement))
        yield _Order(name, sign, Verifier.verify_dsse)


class _Hand:
    """Signs with one certificate, and tries again once when a service failed."""

    def __init__(self, trust: ClientTrustConfig, token: IdentityToken) -> None:
        self.context = SigningContext.from_trust_config(trust)
        self.token = token
        self.signer: Signer | None = None

    def sign(self, order: Callable[[Signer], Bundle]) -> Bundle:
        """Return the bundle that `order` asks for.

        An entry that the log took from the attempt that failed is harmless: it says that these
        bytes were signed, which they were.
        """
        try:
            return _within(lambda: self._try(order))
        except Exception as error:
            if not _may_pass(error):
                raise
            self.signer = None  # another certificate, over other connections
            time.sleep(PAUSE)
            return _within(lambda: self._try(order))

    def _try(self, order: Callable[[Signer], Bundle]) -> Bundle:
        if self.signer is None:
            with self.context.signer(self.token) as signer:
                self.signer = signer
        return order(self.signer)


def _within(work: Callable[[], T]) -> T:
    """Return what `work` returns; wait no longer than SECONDS.

    sigstore's client sets no time limit for its authority and its log, and offers no way to
    set one; urllib3 does not heed the socket's default either. So the work is done in a thread
    that is left behind when it hangs; it ends with the process.

    Raises:
        TimeoutError: it took too long.
    """
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)

    Thread(target=do, name="sigstore", daemon=True).start()
    return future.result(timeout=SECONDS)


def _may_pass(error: BaseException) -> bool:
    """Say whether the same request may work a moment later."""
    for link in _chain(error):
        if isinstance(link, requests.HTTPError):
            return link.response.status_code >= 500 or link.response.status_code == 429
        if isinstance(link, (requests.RequestException, TimeoutError)):
            return True
    # What the client makes of a time-stamp service that failed, after a mere warning.
    return isinstance(error, InvalidBundle)


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
        told = "; ".join(dict.fromkeys([message, *warnings.texts]))
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
    for link in _chain(error):
        if isinstance(link, requests.HTTPError):
            said = link.response.text.strip()[:2000]
            return f"{link.response.url}: status {link.response.status_code}: {said}"
        if isinstance(link, requests.RequestException):
            where = link.request.url if link.request else "sigstore"
            return f"{where}: {link}"
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
