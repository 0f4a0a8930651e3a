"""A job that may not sign gets the reason; no token is printed; failures are retried once."""

import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from build.edges.progress import Silent
from build.errors import ConfigError, RemoteError, VerificationError
from ci.attest import sigstore_client as signing
from ci.attest.sigstore_client import Check, Job, check_job, job_of, open_instance, write_bundles
from ci.attest.statements import build_statement
from ci.commands.sign import check_with
from ci.config import ISSUER, SignConfig
from ci.rehearsal.sigstore import oidc
from ci.rehearsal.sigstore.server import Running, Services, Sigstore
from ci.verify.trust.bundles import Trust
from tests.attest.conftest import JOB
from tests.release.test_manifest import MANIFEST

PUBLIC = SignConfig(trust_root=None, signing_config=None, issuer=ISSUER)


@pytest.fixture(name="job")
def _job(tmp_path: Path) -> Callable[..., Job]:
    """Return a function that makes jobs with tokens of a local issuer."""
    issuer = Sigstore.open(tmp_path / "issuer", JOB).issuer

    def make(**changes: str) -> Job:
        issuer.job = dataclasses.replace(JOB, **changes)
        bearer = f"Bearer {issuer.request_token}"
        token = issuer.give(bearer, oidc.AUDIENCE, datetime.now(tz=UTC))
        return job_of({"SIGSTORE_ID_TOKEN": token}, lambda: None)

    return make


def test_without_a_token_the_permission_is_named(
    enter: Callable[[Mapping[str, str]], None],
) -> None:
    with pytest.raises(ConfigError, match="no identity token") as refused:
        job_of({}, lambda: None)
    assert "`id-token: write`" in refused.value.hint
    # A job of GitHub Actions without the permission lacks two variables.
    enter({"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""})
    with pytest.raises(ConfigError, match="insufficient OIDC token permissions") as refused:
        job_of({})
    assert "`id-token: write`" in refused.value.hint


@pytest.mark.parametrize("token", ["nonsense", "a.b.c"])
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match=r"identity token: .*malformed"):
        job_of({"SIGSTORE_ID_TOKEN": token}, lambda: None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"repository": "a/b"}, "repository is a/b", id="another repository"),
        pytest.param({"tag": "v1"}, "ref is refs/tags/v1, this release has", id="another tag"),
        pytest.param({"commit": "0" * 40}, "sha is 0000", id="another commit"),
        pytest.param({"visibility": "private"}, "the repository is private", id="private"),
        pytest.param({"visibility": "internal"}, "the repository is internal", id="internal"),
    ],
)
def test_a_job_of_another_release_is_refused(
    job: Callable[..., Job], changes: dict[str, str], message: str
) -> None:
    check_job(job(), MANIFEST, PUBLIC)
    with pytest.raises(ConfigError, match=message):
        check_job(job(**changes), MANIFEST, PUBLIC)


def test_a_private_repository_may_sign_with_its_own_instance(
    job: Callable[..., Job], tmp_path: Path
) -> None:
    own = SignConfig(trust_root=tmp_path, signing_config=tmp_path, issuer=ISSUER)
    check_job(job(visibility="private"), MANIFEST, own)


def test_a_private_repository_may_allow_the_public_log(job: Callable[..., Job]) -> None:
    check_job(job(visibility="private"), MANIFEST, dataclasses.replace(PUBLIC, public_log=True))


def test_the_token_is_not_in_the_repr(job: Callable[..., Job]) -> None:
    made = job()
    assert str(made.token).count(".") == 2
    assert str(made.token) not in repr(made)


def test_an_unusable_file_of_the_instance_is_named(tmp_path: Path, sigstore: Running) -> None:
    config = SignConfig(
        trust_root=sigstore.trusted_root,
        signing_config=sigstore.signing_config,
        issuer=ISSUER,
    )
    open_instance(config)
    for broken in ("{", "{}", json.dumps({"mediaType": "x"})):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(ConfigError, match=r"broken\.json"):
            open_instance(dataclasses.replace(config, trust_root=tmp_path / "broken.json"))
        with pytest.raises(ConfigError, match=r"broken\.json"):
            open_instance(dataclasses.replace(config, signing_config=tmp_path / "broken.json"))
    with pytest.raises(ConfigError, match="absent"):
        open_instance(dataclasses.replace(config, trust_root=tmp_path / "absent"))


@pytest.fixture(name="sign")
def _sign(tmp_path: Path, sigstore: Running) -> Callable[..., None]:
    """Return a function that signs one file and one statement with the local instance."""
    config = SignConfig(
        trust_root=sigstore.trusted_root,
        signing_config=sigstore.signing_config,
        issuer=ISSUER,
    )

    def sign(signer: Job | None = None, check: Check | None = None) -> None:
        write_bundles(
            tmp_path,
            trust=open_instance(config),
            job=signer or job_of({}),
            files={"a.sigstore.json": "0" * 64},
            statements={"b.sigstore.json": build_statement({"a": "0" * 64}, "https://x/y", {})},
            progress=Silent(),
            check=check,
        )

    return sign


def test_the_answer_of_the_authority_is_in_the_error(
    job: Callable[..., Job], tmp_path: Path, sign: Callable[..., None]
) -> None:
    # A token of another instance's issuer, which ours refuses with a reason.
    with pytest.raises(RemoteError, match=r"signingCert: status 400: .*identity token: Signature"):
        sign(job())
    assert not (tmp_path / "a.sigstore.json").exists()


@pytest.fixture(name="trouble")
def _trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str, Callable[[int], Response | None]], None]:
    """Return what makes a service answer something else; its number of requests is told."""

    def trouble(path: str, instead: Callable[[int], Response | None]) -> None:
        answer, asked = Services.answer, 0

        def troubled(services: Services, request: Request) -> Response:
            nonlocal asked
            if request.path == path:
                asked += 1
                if (other := instead(asked)) is not None:
                    return other
            return answer(services, request)

        monkeypatch.setattr(Services, "answer", troubled)

    monkeypatch.setattr(signing, "PAUSE", 0)
    return trouble


BUSY = Response("come back later", 503)
SERVICES = ["/api/v2/signingCert", "/api/v1/log/entries", "/api/v1/timestamp"]


@pytest.mark.parametrize("path", SERVICES)
def test_a_service_that_fails_once_is_tried_again(
    path: str, tmp_path: Path, sign: Callable[..., None], trouble: Callable[..., None]
) -> None:
    trouble(path, lambda asked: BUSY if asked == 1 else None)
    sign()
    assert {"a.sigstore.json", "b.sigstore.json"} <= {each.name for each in tmp_path.iterdir()}


@pytest.mark.parametrize("path", SERVICES[:2])
def test_a_service_that_fails_twice_is_named_with_its_answer(
    path: str, sign: Callable[..., None], trouble: Callable[..., None]
) -> None:
    trouble(path, lambda asked: BUSY)
    with pytest.raises(RemoteError, match=f"{path}: status 503: come back later"):
        sign()


@pytest.mark.parametrize("path", SERVICES[:2])
def test_a_service_that_never_answers_times_out(
    path: str,
    sign: Callable[..., None],
    trouble: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def hang(asked: int) -> None:
        del asked
        over.wait()

    trouble(path, hang)
    monkeypatch.setattr(signing, "SECONDS", 0.5)
    try:
        with pytest.raises(RemoteError, match="gave no answer within"):
            sign()
    finally:
        over.set()


def test_a_signature_that_does_not_verify_is_not_written(
    tmp_path: Path, sigstore: Running, sign: Callable[..., None]
) -> None:
    other = Sigstore.open(tmp_path / "other", JOB)
    with other.serve() as running:
        logs = json.loads(running.trusted_root.read_text())["tlogs"]
    root = json.loads(sigstore.trusted_root.read_text())
    sigstore.trusted_root.write_text(json.dumps({**root, "tlogs": logs}))
    with pytest.raises(RemoteError, match="invalid log entry"):
        sign()
    assert not (tmp_path / "a.sigstore.json").exists()


def test_a_timestamp_authority_that_fails_twice_leaves_no_bundle_without_a_timestamp(
    tmp_path: Path, sign: Callable[..., None], trouble: Callable[..., None]
) -> None:
    trouble(SERVICES[2], lambda asked: BUSY)
    with pytest.raises(RemoteError, match="no timestamp, although the signing config names"):
        sign()
    assert not (tmp_path / "a.sigstore.json").exists()


@pytest.mark.parametrize("part", ["tlogs", "timestampAuthorities", "certificateAuthorities"])
def test_a_bundle_that_the_root_of_verify_does_not_hold_for_is_refused_while_signing(
    tmp_path: Path, sigstore: Running, sign: Callable[..., None], part: str
) -> None:
    with Sigstore.open(tmp_path / "other", JOB).serve() as running:
        other = json.loads(running.trusted_root.read_text())
    mine = tmp_path / "mine.json"
    release = dataclasses.replace(MANIFEST, repository=JOB.repository, version=JOB.tag)
    release = dataclasses.replace(release, commit=JOB.commit)
    current = json.loads(sigstore.trusted_root.read_text())
    mine.write_text(json.dumps(current))
    sign(check=partial(check_with(Trust(mine), ISSUER), release))
    mine.write_text(json.dumps({**current, part: other[part]}))
    with pytest.raises(VerificationError, match="trust root"):
        sign(check=partial(check_with(Trust(mine), ISSUER), release))
