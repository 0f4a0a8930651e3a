"""HTTP application of the double: routes requests, checks both directions, makes the faults."""

import hashlib
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from werkzeug.exceptions import HTTPException, abort
from werkzeug.routing import Map, Rule
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

from ci.rehearsal.github.call import Call
from ci.rehearsal.github.description import DESCRIPTION
from ci.rehearsal.github.operations import OPERATIONS, storage_url
from ci.rehearsal.github.responses import refusal
from ci.rehearsal.github.state import StoredAsset, World
from ci.rehearsal.http_server import serve

CHUNK_SIZE = 256 * 1024
MAX_JSON_BODY = 1024 * 1024
"""Bytes; files are streamed and may be larger."""
UPLOAD = "repos/upload-release-asset"
LIMIT = 30
"""Seconds that a rate limit lasts, from the `Date` of the response, which the HTTP server sets."""
MESSAGES = {
    "401": "Bad credentials",
    "403": "Resource not accessible by integration",
    "404": "Not Found",
    "429": "You have exceeded a secondary rate limit.",
    "500": "Server Error",
    "502": "Server Error",
}
"""Messages of faults, by status."""


def running(world: World) -> AbstractContextManager[str]:
    """Serve the API, uploads and downloads of `world` while the context is open; gives the URL."""
    return serve(Request.application(Application(world)))


class Application:
    """Function from request to response that reads and changes one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routes = _routes()

    def __call__(self, request: Request) -> Response:
        """Return the response to `request`.

        Raises:
            ConnectionResetError: a fault resets the connection.
        """
        router = self._routes.bind_to_environ(request.environ)
        try:
            endpoint, parts = router.match()
        except HTTPException:
            return self._violation(f"{request.method} {request.path}: no operation of a release")
        if endpoint == "download":
            return self._redirect_to_storage(request, **parts)
        if endpoint == "storage":
            return self._send_stored(request, **parts)
        try:
            return self._run_checked(endpoint, Call(request=request, parts=parts))
        except (HTTPException, ConnectionResetError):
            raise
        except Exception as error:  # noqa: BLE001 (an error of the double fails the rehearsal)
            return self._violation(f"the double failed: {error!r}")

    def _run_checked(self, name: str, call: Call) -> Response:
        with self._world.lock:
            fault = self._world.take_fault(name, call.request.args.get("name", ""))
        kind = fault.kind if fault else "meanwhile"
        act = fault.act if fault else _nothing
        if name in self._world.refused:
            return refusal(403, "Resource not accessible by integration")
        if name == UPLOAD:
            call = replace(call, upload=self._receive_upload(call.request, kind))
        else:
            call.request.max_content_length = MAX_JSON_BODY
        try:
            if violation := DESCRIPTION.request_violation(call.request):
                return self._violation(violation)
            if not kind.endswith("-after"):
                act()
            if failure := self._fail_before(kind):
                return failure
            response = self._run(OPERATIONS[name], call)
        finally:
            if call.upload and not self._is_stored(call.upload):
                self._world.blob(call.upload.number).unlink()
        # The operation has run, but the client gets an error.
        if kind.endswith("-after"):
            act()
        if kind in {"reset-after", "reset-midway"}:
            raise ConnectionResetError
        if kind in {"500-after", "502-after", "starter"}:
            return refusal(int(kind[:3]) if kind != "starter" else 502, "Server Error")
        if violation := DESCRIPTION.response_violation(call.request, response):
            return self._violation(violation)
        return response

    def _fail_before(self, kind: str) -> Response | None:
        """Return the response of a fault before the operation runs, None when it is to run."""
        if kind == "stalled":
            self._world.ended.wait(60)
        if kind in {"stalled", "reset-before"}:
            raise ConnectionResetError
        status, _, more = kind.partition("-")
        if status not in MESSAGES or more not in {"", "limit", "before"}:
            return None
        response = refusal(int(status), MESSAGES[status])
        if status == "429":
            response.headers["Retry-After"] = "1"
        if more == "limit":
            response = refusal(403, "API rate limit exceeded for user ID 1.")
            response.headers["x-ratelimit-remaining"] = "0"
            response.headers["x-ratelimit-reset"] = str(int(time.time()) + LIMIT)
        return response

    def _run(self, operation: Callable[[World, Call], Response], call: Call) -> Response:
        world = self._world
        repository = f"{call.parts['owner']}/{call.parts['repo']}"
        with world.lock:
            world.take_push()
            try:
                if repository.lower() != world.repository.lower():
                    abort(refusal(404, "Not Found"))
                if world.settings.private and not call.signed_in:
                    abort(refusal(404, "Not Found"))
                if not call.signed_in and call.request.method != "GET":
                    abort(refusal(401, "Requires authentication"))
                return operation(world, call)
            except HTTPException as error:
                return Response.force_type(error.get_response())

    def _receive_upload(self, request: Request, kind: str) -> StoredAsset:
        """Return the uploaded file; with a fault half of it, or one bit flipped."""
        length = request.content_length or 0
        expected = length // 2 if kind == "reset-midway" else length
        with self._world.lock:
            number = self._world.next_number()
        size, digest = 0, hashlib.sha256()
        with self._world.blob(number).open("wb") as file:
            # Not until read() is empty: Werkzeug reports read(0) as a disconnected client.
            while size < expected:
                chunk = request.stream.read(min(CHUNK_SIZE, expected - size))
                if kind == "damaged" and not size:
                    chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
                size += len(chunk)
                digest.update(chunk)
                file.write(chunk)
        is_whole = kind not in {"reset-midway", "starter"}
        return StoredAsset(
            number=number,
            # GitHub replaces other characters of a name with a dot.
            name=re.sub(r"[^A-Za-z0-9._-]+", ".", request.args.get("name", "")).strip("."),
            label=request.args.get("label"),
            content_type=request.content_type or "application/octet-stream",
            size=size if is_whole else 0,
            sha256=digest.hexdigest() if is_whole else None,
            state="uploaded" if is_whole else "starter",
            created=self._world.now(),
        )

    def _is_stored(self, asset: StoredAsset) -> bool:
        with self._world.lock:
            return any(other is asset for _, other in self._world.stored_assets())

    def _redirect_to_storage(
        self, request: Request, repository: str, tag: str, name: str
    ) -> Response:
        """Redirect to the bytes without asking for a token, as github.com does; 404 for a draft."""
        # As at GitHub, the web address of a private repository's file takes no token.
        if repository == self._world.repository and not self._world.settings.private:
            with self._world.lock:
                for release, asset in self._world.stored_assets():
                    found = (release.tag, asset.name, asset.state) == (tag, name, "uploaded")
                    if found and not release.draft:
                        location = storage_url(request.host_url.rstrip("/"), asset)
                        return Response(status=302, headers={"Location": location})
        return Response("Not Found", 404)

    def _send_stored(self, request: Request, number: int, name: str) -> Response:
        """Send the bytes of an asset; refuse a token beside the signature, as GitHub does."""
        if "Authorization" in request.headers:
            return Response("Only one auth mechanism allowed", 400)
        with self._world.lock:
            for _, asset in self._world.stored_assets():
                if asset.number == number and storage_url("", asset) == request.full_path:
                    return send_file(
                        self._world.blob(number),
                        request.environ,
                        mimetype="application/octet-stream",
                    )
        return Response("Not Found", 404)

    def _violation(self, text: str) -> Response:
        self._world.add_violation(text)
        return refusal(500, f"not as GitHub describes it: {text}")


def _nothing() -> None:
    """Let nothing happen."""


def _routes() -> Map:
    """Return the routes: GitHub's operations at their described paths, and the downloads."""
    rules = [
        Rule("/<path:repository>/releases/download/<tag>/<path:name>", endpoint="download"),
        Rule("/storage/<int:number>/<name>", endpoint="storage"),
    ]
    for path, item in DESCRIPTION.read()["paths"].items():
        for method, operation in item.items():
            rule = re.sub(r"\{(\w+_id)\}", r"<int:\1>", path).replace("{ref}", "<path:ref>")
            rule = rule.replace("{", "<").replace("}", ">")
            rules.append(Rule(rule, methods=[method], endpoint=operation["operationId"]))
    # Without merge_slashes=False Werkzeug redirects a path with `//`, which GitHub does not do.
    return Map(rules, merge_slashes=False)
