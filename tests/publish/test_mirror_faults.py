"""After each fault of an S3 service, one plain run of `mirror` ends complete."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from werkzeug.wrappers import Request, Response

from build.errors import SnowdropError
from ci.commands import mirror as mirror_command
from ci.rehearsal.http_server import serve
from ci.rehearsal.s3 import ObjectStore
from tests.publish.conftest import Outcome
from tests.publish.release import IMAGE, VERSION, write_config, write_release

pytestmark = pytest.mark.full
HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "server", "date"}
CODES = {
    "NoSuchBucket": 404,
    "AccessDenied": 403,
    "SignatureDoesNotMatch": 403,
    "RequestTimeTooSkewed": 403,
    "AuthorizationHeaderMalformed": 400,
    "PermanentRedirect": 301,
    "BadDigest": 400,
    "SlowDown": 503,
    "InternalError": 500,
}


@dataclass(frozen=True)
class Fault:
    """What the proxy does to the requests that match, once or always."""

    method: str
    name: str
    """End of the key."""
    kind: str
    """An S3 error code, `lost` (the answer, after the effect), `reset`, `other bytes`, `redirect`,
    or `refused` (403 for a reader without an account)."""
    always: bool = False


@dataclass
class Proxy:
    """A reverse proxy before the S3 server, with one fault."""

    origin: str
    url: str = ""
    fault: Fault | None = None
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: Request) -> str:
        """Return the kind of the fault that this request gets, empty for none."""
        with self.lock:
            fault = self.fault
            if fault is None or request.method != fault.method:
                return ""
            if not request.path.endswith(fault.name):
                return ""
            anonymous = "Authorization" not in request.headers
            if anonymous != (fault.kind in {"other bytes", "redirect", "refused"}):
                return ""
            if self.done and not fault.always:
                return ""
            self.done += 1
            return fault.kind

    def answer(self, request: Request) -> Response:
        """Return the answer of the S3 server, or what the fault makes of it."""
        # Unread, it would be taken for the next request of the connection.
        body = request.get_data()
        kind = self.take(request)
        if kind == "reset":
            raise ConnectionResetError
        if kind in CODES:
            return error(kind)
        if kind == "refused":
            return Response(status=403)
        if kind == "redirect":
            return Response(status=302, headers={"Location": "/elsewhere"})
        headers = {key: value for key, value in request.headers.items() if key != "Expect"}
        found = requests.request(
            request.method,
            f"{self.origin}{request.full_path.rstrip('?')}",
            # The signature covers the name of the host that the client asked.
            headers={**headers, "Accept-Encoding": "identity"},
            data=body,
            timeout=20,
            allow_redirects=False,
        )
        if kind == "lost":
            return error("InternalError")
        content = found.content
        if kind == "other bytes":
            content = bytes(len(content))
        kept = [(key, value) for key, value in found.headers.items() if key.lower() not in HOP]
        response = Response(content, found.status_code, kept)
        if request.method == "HEAD":
            response.headers["Content-Length"] = found.headers.get("Content-Length", "0")
        return response


def error(code: str) -> Response:
    """Return an error as S3 reports it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>fault</Message></Error>"
    return Response(text, CODES[code], content_type="application/xml")


@pytest.fixture(name="proxy")
def _proxy(store: ObjectStore) -> Iterator[Proxy]:
    proxy = Proxy(store.endpoint)
    with serve(Request.application(proxy.answer)) as proxy.url:
        yield proxy


FAULTS = {
    "bucket missing": (Fault("PUT", IMAGE, "NoSuchBucket", always=True), "NoSuchBucket"),
    "access denied": (Fault("PUT", IMAGE, "AccessDenied", always=True), "AccessDenied"),
    "wrong secret": (Fault("PUT", IMAGE, "SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
    "clock skew": (Fault("PUT", IMAGE, "RequestTimeTooSkewed"), "RequestTimeTooSkewed"),
    "wrong region": (
        Fault("PUT", IMAGE, "AuthorizationHeaderMalformed", always=True),
        "AuthorizationHeaderMalformed",
    ),
    "bucket moved": (Fault("PUT", IMAGE, "PermanentRedirect", always=True), "PermanentRedirect"),
    "wrong checksum": (Fault("PUT", IMAGE, "BadDigest"), "BadDigest"),
    "slow down once": (Fault("PUT", IMAGE, "SlowDown"), ""),
    "500 before the effect": (Fault("PUT", IMAGE, "InternalError"), ""),
    "500 after the effect": (Fault("PUT", IMAGE, "lost"), ""),
    "reset in an upload": (Fault("PUT", IMAGE, "reset"), ""),
    "list of a file denied": (Fault("HEAD", IMAGE, "AccessDenied", always=True), "403"),
    "anonymous HEAD refused": (Fault("HEAD", IMAGE, "refused", always=True), "HEAD without an"),
    "anonymous GET refused": (Fault("GET", IMAGE, "refused", always=True), IMAGE),
    "redirect of HEAD": (Fault("HEAD", IMAGE, "redirect", always=True), "302"),
    "redirect of GET": (Fault("GET", IMAGE, "redirect", always=True), IMAGE),
    "other bytes are served": (Fault("GET", IMAGE, "other bytes", always=True), "downloaded"),
    "catalogue: denied": (Fault("PUT", "catalogue.json", "AccessDenied"), "catalogue.json"),
    "catalogue: 500 after the effect": (Fault("PUT", "catalogue.json", "lost"), ""),
    "catalogue: reset": (Fault("PUT", "catalogue.json", "reset"), ""),
    "catalogue: not readable": (Fault("GET", "catalogue.json", "AccessDenied"), "catalogue.json"),
    "page: 500 after the effect": (Fault("PUT", "index.html", "lost"), ""),
    "page: denied": (Fault("PUT", "index.html", "AccessDenied"), "index.html"),
    "feed: other bytes are served": (Fault("GET", "feed.xml", "other bytes"), "feed.xml"),
}


def listing(store: ObjectStore, prefix: str) -> dict[str, str]:
    """Return the sha256 of each object below the prefix."""
    client = store.client()
    listed = client.list_objects_v2(Bucket=store.bucket, Prefix=prefix)
    return {
        each["Key"].removeprefix(prefix): hashlib.sha256(
            client.get_object(Bucket=store.bucket, Key=each["Key"])["Body"].read()
        ).hexdigest()
        for each in listed.get("Contents", [])
    }


@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_one_plain_run_completes_the_mirror(
    name: str,
    proxy: Proxy,
    store: ObjectStore,
    tmp_path: Path,
    spaces: dict[str, str],
    keys: dict[str, str],
    call: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    fault, message = FAULTS[name]
    dist = write_release(tmp_path)
    through = {
        **spaces,
        "endpoint": proxy.url,
        "public_url": f"{proxy.url}/{store.bucket}",
    }
    config = write_config(tmp_path, spaces=through)
    proxy.fault = fault
    if message:
        with pytest.raises(SnowdropError, match=re.escape(message)) as failed:
            call(mirror_command, config, environment=keys)
        assert store.secret not in f"{failed.value} {failed.value.hint}"
    else:
        call(mirror_command, config, environment=keys)
    assert proxy.done
    proxy.fault = None
    assert call(mirror_command, config, environment=keys).status == 0
    found = listing(store, spaces["prefix"])
    assert {path.name for path in dist.iterdir()} == {
        key.removeprefix(f"{VERSION}/") for key in found if "/" in key
    }
    assert {key for key in found if "/" not in key} == {"catalogue.json", "index.html", "feed.xml"}
    for path in dist.iterdir():
        assert found[f"{VERSION}/{path.name}"] == hashlib.sha256(path.read_bytes()).hexdigest()
