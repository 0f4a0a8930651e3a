"""The instance: five services behind one address on 127.0.0.1, and what a client needs to know.

instance = Sigstore.open(folder, job)
with instance.serve() as running:
    ...  # running.environment for the process that signs, running.trusted_root for all
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from build.errors import VerificationError
from ci.rehearsal.sigstore.authority import Authority
from ci.rehearsal.sigstore.keys import Keys, open_keys
from ci.rehearsal.sigstore.log import TransparencyLog
from ci.rehearsal.sigstore.oidc import Issuer, Job
from ci.rehearsal.sigstore.timestamp import TimestampAuthority
from ci.rehearsal.sigstore.trust import CLIENT_TRUST, SIGNING_CONFIG, TRUSTED_ROOT, write_trust

MOST = 1024 * 1024
"""Bytes of the greatest request that is read."""


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(tz=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An instance that answers."""

    address: str
    """`http://127.0.0.1:PORT`."""
    trusted_root: Path
    signing_config: Path
    client_trust_config: Path
    """Both in one, for `sigstore --trust-config`."""
    environment: Mapping[str, str]
    """What the process that signs finds: as in a job of GitHub Actions. Holds a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sigstore:
    """A certificate authority, a log, a timestamp authority and an issuer, with their keys."""

    folder: Path
    keys: Keys
    issuer: Issuer
    clock: Callable[[], datetime]

    @classmethod
    def open(cls, folder: Path, job: Job, *, clock: Callable[[], datetime] = utc_now) -> "Sigstore":
        """Return the instance kept in `folder`, a new one when there is none.

        `job`: whose identity tokens it gives.

        Raises:
            ConfigError: its keys are damaged.
        """
        keys = open_keys(folder / "keys", clock)
        return cls(folder=folder, keys=keys, issuer=Issuer(keys.issuer, job), clock=clock)

    @contextmanager
    def serve(self) -> Iterator[Running]:
        """Answer on 127.0.0.1 as long as the context is open; the system chooses the port.

        Raises:
            ConfigError: another process serves this folder.
            VerificationError: the log was changed behind its back.
        """
        log = TransparencyLog(self.folder / "log", self.keys.log)
        services = Services(self, log)
        server = _Server(("127.0.0.1", 0), services)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}"
            write_trust(self.folder, self.keys, address)
            yield self._running(address)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            log.close()

    def _running(self, address: str) -> Running:
        return Running(
            address=address,
            trusted_root=self.folder / TRUSTED_ROOT,
            signing_config=self.folder / SIGNING_CONFIG,
            client_trust_config=self.folder / CLIENT_TRUST,
            environment={
                "GITHUB_ACTIONS": "true",
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{address}/token?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.issuer.request_token,
                # The client would send even loopback requests to a proxy of the environment.
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
            },
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    kind: str
    body: bytes


class Services:
    """Requests to answers; knows HTTP's words, not its wire."""

    def __init__(self, instance: Sigstore, log: TransparencyLog) -> None:
        self._instance = instance
        self._log = log
        self._authority = Authority(instance.keys)
        self._timestamps = TimestampAuthority(instance.keys)

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> Answer:
        """Return the answer to one request; a refusal says why."""
        address = urlsplit(target)
        try:
            match method, address.path:
                case "GET", "/token":
                    return self._token(authorization, address.query)
                case "POST", "/api/v2/signingCert":
                    return self._certificate(authorization, body)
                case "POST", "/api/v2/log/entries":
                    return _json(201, self._log.add(_parsed(body)))
                case "POST", "/api/v1/timestamp":
                    stamped = self._timestamps.answer(body, self._instance.clock())
                    return Answer(201, "application/timestamp-reply", stamped)
                case _:
                    return _json(404, {"code": 5, "message": f"{method} {address.path}: no such"})
        except VerificationError as error:
            return _json(400, {"code": 3, "message": str(error)})

    def _token(self, authorization: str, query: str) -> Answer:
        audience = parse_qs(query).get("audience", [""])[0]
        token = self._instance.issuer.give(authorization, audience, self._instance.clock())
        return _json(200, {"value": token})

    def _certificate(self, authorization: str, body: bytes) -> Answer:
        now = self._instance.clock()
        claims = self._instance.issuer.check(authorization.removeprefix("Bearer "), now)
        try:
            request = base64.b64decode(_parsed(body)["certificateSigningRequest"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise VerificationError("certificate request: no certificateSigningRequest") from None
        chain = self._authority.issue(request, claims, now)
        answer = {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}
        return _json(200, answer)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], services: Services) -> None:
        super().__init__(address, _Handler)
        self.services = services


class _Handler(BaseHTTPRequestHandler):
    # One packet an answer: otherwise the kernels wait 40 ms for each other at every request.
    wbufsize: ClassVar[int] = -1
    timeout: ClassVar[int] = 10
    server: _Server

    def do_GET(self) -> None:
        self._reply(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MOST:
            self._send(_json(413, {"code": 3, "message": f"body: expected at most {MOST} bytes"}))
            return
        self._reply(self.rfile.read(int(length)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
        """Say nothing: whoever asks tells what went wrong."""

    def _reply(self, body: bytes) -> None:
        authorization = self.headers.get("Authorization", "")
        self._send(self.server.services.answer(self.command, self.path, authorization, body))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise VerificationError("body: not a JSON object")
    return value


def _json(status: int, value: object) -> Answer:
    return Answer(status, "application/json", json.dumps(value).encode())
