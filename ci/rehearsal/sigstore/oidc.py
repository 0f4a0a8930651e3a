"""Issuer of identity tokens with the claims of a GitHub Actions job.

Source of the claims and of the request: GitHub's page "OpenID Connect reference".
"""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from build.errors import VerificationError
from ci.config import ISSUER

AUDIENCE = "sigstore"
LIFETIME = 300
"""Seconds; the same as of GitHub's tokens."""
LEEWAY = 5
"""Seconds that a token may be ahead of our clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Signing job: in `build.yml`, called by `release.yml`, run for a pushed tag."""

    repository: str
    """OWNER/REPO."""
    tag: str
    commit: str
    repository_id: str = "700000001"
    owner_id: str = "600000001"
    run_id: str = "1"
    visibility: str = "public"

    @property
    def ref(self) -> str:
        """The git reference that was pushed."""
        return f"refs/tags/{self.tag}"

    @property
    def owner(self) -> str:
        """The owner of the repository."""
        return self.repository.partition("/")[0]

    def workflow(self, file: str) -> str:
        """Return the name of a workflow of the repository as in tokens, with its reference."""
        return f"{self.repository}/.github/workflows/{file}@{self.ref}"


def claims_of(job: Job, audience: str, now: datetime) -> dict[str, Any]:
    """Return the claims of `job`'s token at `now`."""
    second = int(now.timestamp())
    return {
        # The real issuer: a rehearsal's certificate differs from a real one by its root only.
        "iss": ISSUER,
        "aud": audience,
        "sub": f"repo:{job.repository}:ref:{job.ref}",
        "jti": str(uuid.uuid4()),
        "iat": second,
        "nbf": second,
        "exp": second + LIFETIME,
        "actor": job.owner,
        "actor_id": job.owner_id,
        "base_ref": "",
        "event_name": "push",
        "head_ref": "",
        "job_workflow_ref": job.workflow("build.yml"),
        "job_workflow_sha": job.commit,
        "ref": job.ref,
        "ref_protected": "false",
        "ref_type": "tag",
        "repository": job.repository,
        "repository_id": job.repository_id,
        "repository_owner": job.owner,
        "repository_owner_id": job.owner_id,
        "repository_visibility": job.visibility,
        "run_attempt": "1",
        "run_id": job.run_id,
        "run_number": "1",
        "runner_environment": "github-hosted",
        "sha": job.commit,
        "workflow": "release",
        "workflow_ref": job.workflow("release.yml"),
        "workflow_sha": job.commit,
    }


class Issuer:
    """Issuer of tokens for requests with the job's secret; checks them for the authority."""

    def __init__(self, key: rsa.RSAPrivateKey, job: Job) -> None:
        self._key = key
        self.job = job
        self.request_token = secrets.token_urlsafe(32)
        """The secret that the job sends for an identity token; random at each start."""

    def give(self, authorization: str, audience: str, now: datetime) -> str:
        """Return an identity token.

        Raises:
            VerificationError: `authorization` is not the header with the job's secret.
        """
        scheme, _, token = authorization.partition(" ")
        # In constant time, so that the time of a refusal reveals nothing about the secret.
        is_known = secrets.compare_digest(token.encode(), self.request_token.encode())
        if scheme.lower() != "bearer" or not is_known:
            raise VerificationError("request token: not the one of this job")
        claims = claims_of(self.job, audience, now)
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "rehearsal"})

    def check(self, token: str, now: datetime) -> dict[str, Any]:
        """Return the claims of a token that this issuer signed for sigstore, valid at `now`.

        Raises:
            VerificationError: the token is another one, or expired.
        """
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                # PyJWT reads the system clock; the times are compared with `now` below.
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise VerificationError(f"identity token: {error}") from None
        if not claims["nbf"] - LEEWAY <= now.timestamp() < claims["exp"]:
            raise VerificationError("identity token: not valid at this time")
        return dict(claims)
