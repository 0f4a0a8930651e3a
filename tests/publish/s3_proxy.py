"""A reverse proxy before the S3 server, which makes one fault."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import requests
from werkzeug.wrappers import Request, Response

HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "server", "date"}
PUBLIC = {"other bytes", "redirect", "refused", "cut"}
"""Faults of what is served to a reader without an account."""
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
    "InvalidPart": 400,
    "NoSuchUpload": 404,
}


@dataclass(frozen=True)
class Fault:
    """What the proxy does to the requests that match, once or always."""

    method: str
    name: str
    """End of the key."""
    kind: str
    """An S3 error code, `lost` (the answer, after the effect), `late error` (200, then an error),
    `reset`, `cut` (a reset within the answer), `stalled`; for a reader without an account also
    `other bytes`, `redirect` or `refused` (403)."""
    always: bool = False
    query: str = ""
    """A part of the query."""


@dataclass
class Proxy:
    """A reverse proxy before the S3 server, with one fault."""

    origin: str
    url: str = ""
    fault: Fault | None = None
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)
    """Ends the stalled requests."""

    def settings(self, spaces: Mapping[str, str], bucket: str) -> dict[str, str]:
        """Return the settings of `spaces`, with all requests to the bucket through the proxy."""
        return {**spaces, "endpoint": self.url, "public_url": f"{self.url}/{bucket}"}

    def take(self, request: Request) -> str:
        """Return the kind of the fault that this request gets, empty for none."""
        with self.lock:
            fault = self.fault
            if fault is None or request.method != fault.method:
                return ""
            if not request.path.endswith(fault.name):
                return ""
            if fault.query not in request.query_string.decode():
                return ""
            anonymous = "Authorization" not in request.headers
            if anonymous != (fault.kind in PUBLIC):
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
        if kind == "stalled":
            self.released.wait(60)
            raise ConnectionResetError
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
        if kind == "late error":
            # S3 answers 200 before it has put the parts together (CompleteMultipartUpload).
            return Response(error("InternalError").get_data(), content_type="application/xml")
        content = found.content
        if kind == "other bytes":
            content = bytes(len(content))
        if kind == "cut":
            content = content[: len(content) // 2]
        kept = [(key, value) for key, value in found.headers.items() if key.lower() not in HOP]
        response = Response(content, found.status_code, kept)
        if kind == "cut":
            # The client sees the end of the connection before that of the body.
            response.headers["Content-Length"] = str(len(found.content))
            response.headers["Connection"] = "close"
        if request.method == "HEAD":
            response.headers["Content-Length"] = found.headers.get("Content-Length", "0")
        return response


def error(code: str) -> Response:
    """Return an error as S3 reports it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>fault</Message></Error>"
    return Response(text, CODES[code], content_type="application/xml")
