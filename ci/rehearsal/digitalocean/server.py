"""HTTP application of the double: routes requests, checks both directions, makes the faults."""

import json
import re
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from ci.rehearsal.digitalocean.description import DESCRIPTION, request_violation
from ci.rehearsal.digitalocean.fetch import ImportRefusedError, fetch_image
from ci.rehearsal.digitalocean.state import Account, StoredImage, Transfer
from ci.rehearsal.http_server import serve

MAX_BODY = 1024 * 1024
ERRORS = {
    401: ("unauthorized", "Unable to authenticate you"),
    404: ("not_found", "The resource you were accessing could not be found."),
    422: ("unprocessable_entity", "Image url is invalid"),
    429: ("too_many_requests", "API Rate limit exceeded."),
    500: ("server_error", "Unexpected server-side error"),
}
"""Id and message by status, as the API's documentation has them."""


def running(account: Account) -> AbstractContextManager[str]:
    """Serve the API of `account` while the context is open; gives the URL."""
    return serve(Request.application(Application(account)))


class Application:
    """Function from request to response that reads and changes one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._routes = _routes()

    def __call__(self, request: Request) -> Response:
        """Return the response to `request`.

        Raises:
            ConnectionResetError: a fault resets the connection.
        """
        request.max_content_length = MAX_BODY
        account = self._account
        try:
            name, parts = self._routes.bind_to_environ(request.environ).match()
        except HTTPException:
            return self._violation(f"{request.method} {request.path}: no operation of an import")
        with account.lock:
            account.log(operation=name, body=request.get_data(as_text=True) or None)
            fault = account.take_fault(name)
            if request.headers.get("Authorization") != f"Bearer {account.token}":
                return failure(401)
            if violation := request_violation(request):
                return self._violation(violation)
            if fault == "reset-before":
                raise ConnectionResetError
            if fault in {"401", "422", "429", "500-before"}:
                return failure(int(fault[:3]))
            try:
                response = self._run(name, request, parts, fault)
            except Exception as error:  # noqa: BLE001 (an error of the double fails the rehearsal)
                return self._violation(f"the double failed: {error!r}")
            if fault == "reset-after":
                raise ConnectionResetError
            if fault == "500-after":
                return failure(500)
        if violation := DESCRIPTION.response_violation(request, response):
            return self._violation(violation)
        return response

    def _run(self, name: str, request: Request, parts: Mapping[str, Any], fault: str) -> Response:
        match name:
            case "images_list":
                return self._list(request)
            case "images_create_custom":
                return self._create(request.get_json(), fault)
            case "images_get":
                return self._get(parts["image_id"], fault)
            case "imageActions_post":
                return self._transfer(parts["image_id"], request.get_json(), fault)
            case _:
                return self._action(parts["action_id"])

    def _list(self, request: Request) -> Response:
        tag = request.args.get("tag_name")
        images = [each for each in self._account.images.values() if tag in (None, *each.tags)]
        page, size = (int(request.args.get(key, each)) for key, each in PAGING)
        chosen = images[(page - 1) * size : page * size]
        links = {"pages": {"next": request.base_url}} if page * size < len(images) else {}
        documents = [image.document() for image in chosen]
        return answer(200, {"images": documents, "links": links, "meta": {"total": len(images)}})

    def _create(self, body: dict[str, Any], fault: str) -> Response:
        account = self._account
        image = StoredImage(
            number=account.next_number(),
            name=body["name"],
            url=body["url"],
            region=body["region"],
            distribution=body.get("distribution", "Unknown"),
            description=body.get("description", ""),
            tags=list(body.get("tags", [])),
            created_at=account.now(),
        )
        account.images[image.number] = image
        response = answer(202, {"image": image.document()})
        if fault != "pending":
            # As at DigitalOcean, the import runs on after the response.
            threading.Thread(target=self._import, args=(image,), daemon=True).start()
        return response

    def _import(self, image: StoredImage) -> None:
        account = self._account
        with account.lock:
            image.status = "pending"
        try:
            size = fetch_image(image.url, account.path(image), self._log)
        except ImportRefusedError as error:
            with account.lock:
                image.status, image.error_message = "deleted", str(error)
            return
        with account.lock:
            image.size, image.regions, image.status = size, [image.region], "available"

    def _log(self, **values: object) -> None:
        with self._account.lock:
            self._account.log(**values)

    def _get(self, number: int, fault: str) -> Response:
        image = self._account.images.get(number)
        if image is not None and fault == "vanishes":
            del self._account.images[number]
            image = None
        if image is None:
            return failure(404)
        image.polls += 1
        return answer(200, {"image": image.document()})

    def _transfer(self, number: int, body: dict[str, Any], fault: str) -> Response:
        account = self._account
        image = account.images.get(number)
        if image is None:
            return failure(404)
        transfer = Transfer(
            number=account.next_number(),
            image=number,
            region=body["region"],
            started_at=account.now(),
        )
        account.transfers[transfer.number] = transfer
        if fault == "transfer-errored":
            transfer.status = "errored"
        return answer(201, transfer.document())

    def _action(self, number: int) -> Response:
        account = self._account
        transfer = account.transfers.get(number)
        if transfer is None:
            return failure(404)
        response = answer(200, transfer.document())
        if transfer.status == "in-progress":
            # It has ended by the next question.
            transfer.status, transfer.completed_at = "completed", account.now()
            image = account.images.get(transfer.image)
            if image is not None and transfer.region not in image.regions:
                image.regions.append(transfer.region)
        return response

    def _violation(self, text: str) -> Response:
        with self._account.lock:
            self._account.add_violation(text)
        return failure(500)


PAGING = (("page", 1), ("per_page", 20))
"""Parameters of a list, with the values that they have when they are absent."""


def answer(status: int, document: dict[str, Any]) -> Response:
    """Return a response with a JSON document."""
    return Response(json.dumps(document), status, content_type="application/json")


def failure(status: int) -> Response:
    """Return the response that reports an error."""
    name, message = ERRORS[status]
    response = answer(status, {"id": name, "message": message})
    if status == 429:
        response.headers["Retry-After"] = "1"
    return response


def _routes() -> Map:
    """Return the routes: DigitalOcean's operations at their described paths."""
    rules = []
    for path, item in DESCRIPTION.read()["paths"].items():
        rule = re.sub(r"\{(\w+_id)\}", r"<int:\1>", path)
        for method, operation in item.items():
            if method != "parameters":
                rules.append(Rule(rule, methods=[method], endpoint=operation["operationId"]))
    return Map(rules, merge_slashes=False)
