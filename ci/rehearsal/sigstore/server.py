"""A local sigstore: six services at one address on 127.0.0.1, and the files for clients.

instance = Sigstore.open(folder, job)
with instance.serve() as running:
    ...  # running.environment for the signing process, running.trusted_root for verification
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Request, Response

from build.errors import VerificationError
from ci.rehearsal.http_server import serve
from ci.rehearsal.sigstore import rekor_v1, rekor_v2
from ci.rehearsal.sigstore.authority import Authority, requested_key
from ci.rehearsal.sigstore.keys import Keys, open_keys
from ci.rehearsal.sigstore.log import TransparencyLog
from ci.rehearsal.sigstore.oidc import Issuer, Job
from ci.rehearsal.sigstore.timestamp import TimestampAuthority
from ci.rehearsal.sigstore.trust import SIGNING_CONFIG, TRUSTED_ROOT, write_trust

DEFAULT_REKOR = 1
"""The version that the public instance's signing config of August 2026 names."""
MAX_BODY = 1024 * 1024
"""Bytes of a request's body; a longer one gets status 413."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Address, files and environment of a running instance."""

    address: str
    """`http://127.0.0.1:PORT`."""
    trusted_root: Path
    signing_config: Path
    environment: Mapping[str, str]
    """Environment of the signing process, as in a job of GitHub Actions. Contains a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sigstore:
    """Certificate authority, log, timestamp authority and issuer, with their keys."""

    folder: Path
    keys: Keys
    issuer: Issuer
    clock: Callable[[], datetime]
    rekor: int
    """Version of the log that the signing config names; both versions are served."""

    @classmethod
    def open(
        cls,
        folder: Path,
        job: Job,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        rekor: int = DEFAULT_REKOR,
    ) -> "Sigstore":
        """Return the instance kept in `folder`, a new one when there is none.

        `job`: the one that its identity tokens identify; `rekor`: version of the log to sign with.

        Raises:
            ConfigError: its keys are damaged.
        """
        keys = open_keys(folder / "keys", clock)
        issuer = Issuer(keys.issuer, job)
        return cls(folder=folder, keys=keys, issuer=issuer, clock=clock, rekor=rekor)

    @contextmanager
    def serve(self) -> Iterator[Running]:
        """Serve on 127.0.0.1 while the context is open; the kernel chooses the port.

        Raises:
            ConfigError: another process serves this folder.
            VerificationError: the files of the log were changed.
        """
        with (
            closing(TransparencyLog(self.folder / "log", rekor_v2.log_key(self.keys))) as log,
            closing(TransparencyLog(self.folder / "log-v1", rekor_v1.log_key(self.keys))) as log_v1,
        ):
            services = Services(self, log, log_v1)
            # The method is looked up at each request: tests replace it in the class.
            with serve(Request.application(lambda request: services.answer(request))) as address:
                write_trust(self.folder, self.keys, address, rekor=self.rekor)
                yield self._running(address)

    def _running(self, address: str) -> Running:
        return Running(
            address=address,
            trusted_root=self.folder / TRUSTED_ROOT,
            signing_config=self.folder / SIGNING_CONFIG,
            environment={
                "GITHUB_ACTIONS": "true",
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{address}/token?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.issuer.request_token,
                # The client would send even loopback requests to a proxy of the environment.
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
            },
        )


class Services:
    """Responses of the six services."""

    def __init__(self, instance: Sigstore, log: TransparencyLog, log_v1: TransparencyLog) -> None:
        self._instance = instance
        self._log, self._log_v1 = log, log_v1
        self._authority = Authority(instance.keys)
        self._timestamps = TimestampAuthority(instance.keys)

    def answer(self, request: Request) -> Response:
        """Return the response to one request; an error response gives the reason."""
        request.max_content_length = MAX_BODY
        try:
            match request.method, request.path:
                case "GET", "/token":
                    return self._token(request)
                case "POST", "/api/v2/signingCert":
                    return self._certificate(request)
                case "POST", "/api/v2/log/entries":
                    return _json(201, rekor_v2.add_entry(self._log, _parsed(request)))
                case "POST", "/api/v1/log/entries":
                    return self._entry_v1(request)
                case "POST", "/api/v1/timestamp":
                    stamped = self._timestamps.answer(request.get_data(), self._instance.clock())
                    return Response(stamped, 201, content_type="application/timestamp-reply")
                case _:
                    message = f"{request.method} {request.path}: no such service"
                    return _json(404, {"code": 5, "message": message})
        except VerificationError as error:
            # 3 is INVALID_ARGUMENT, 5 above NOT_FOUND (google.rpc.Code).
            return _json(400, {"code": 3, "message": str(error)})

    def _token(self, request: Request) -> Response:
        token = self._instance.issuer.give(
            request.headers.get("Authorization", ""),
            request.args.get("audience", ""),
            self._instance.clock(),
        )
        return _json(200, {"value": token})

    def _entry_v1(self, request: Request) -> Response:
        added = rekor_v1.add_entry(self._log_v1, _parsed(request), self._instance.clock())
        response = _json(201, added)
        # Rekor's Go client takes the entry with the id that the header names (openapi.yaml).
        (identity,) = added
        response.headers["ETag"] = identity
        response.headers["Location"] = f"/api/v1/log/entries/{identity}"
        return response

    def _certificate(self, request: Request) -> Response:
        now = self._instance.clock()
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        claims = self._instance.issuer.check(token, now)
        key = requested_key(_parsed(request), claims["sub"])
        chain = self._authority.issue(key, claims, now)
        return _json(200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}})


def _parsed(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(request.get_data())
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise VerificationError("body: not a JSON object")
    return value


def _json(status: int, value: object) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")
