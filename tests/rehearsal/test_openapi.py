"""The descriptions of the doubles are complete, and a change of one field is noticed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from openapi_core import OpenAPI
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from ci.rehearsal.digitalocean import description as digitalocean
from ci.rehearsal.digitalocean.server import Application as DigitalOcean
from ci.rehearsal.digitalocean.state import Account
from ci.rehearsal.github.description import DESCRIPTION as GITHUB
from ci.rehearsal.github.server import Application as Github
from ci.rehearsal.github.state import World
from ci.rehearsal.http_server import serve
from tests.rehearsal.cut_openapi import PARTS, cut

REPOSITORY = "octo/snowdrop"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
TOKEN = {"Authorization": "Bearer any"}


@pytest.mark.parametrize("service", PARTS)
def test_a_description_is_complete_and_as_cut_openapi_makes_it(service: str) -> None:
    part = PARTS[service]
    document = part.description.read()
    OpenAPI.from_dict(document)
    assert cut(document, part) == document
    described = [
        operation["operationId"]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert sorted(described) == sorted(part.operations)
    assert "License" in (part.description.path.parent / "NOTICE").read_text()


@dataclass(frozen=True)
class Exchange:
    """A request to a double and its response."""

    method: str
    path: str
    query: str
    body: Any
    status: int
    answer: Any

    def request(self, body: object) -> Request:
        """Return the request with another body."""
        builder = EnvironBuilder(
            self.path,
            method=self.method,
            query_string=self.query,
            headers=list(TOKEN.items()),
            data=None if self.body is None else json.dumps(body),
            content_type=None if self.body is None else "application/json",
        )
        return builder.get_request(Request)

    def response(self, answer: object) -> Response:
        """Return the response with another body."""
        return Response(json.dumps(answer), self.status, content_type="application/json")


@contextmanager
def recorded(application: Github | DigitalOcean) -> Iterator[tuple[str, list[Exchange]]]:
    """Serve a double; give its URL, and the list to which JSON exchanges are added."""
    exchanges: list[Exchange] = []

    @Request.application
    def record(request: Request) -> Response:
        response = application(request)
        if response.is_json:
            query = request.query_string.decode()
            body = request.get_json() if request.is_json else None
            found = Exchange(
                request.method, request.path, query, body, response.status_code, response.get_json()
            )
            exchanges.append(found)
        return response

    with serve(record) as url:
        yield url, exchanges


@pytest.fixture(scope="module", name="github")
def _github(tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    """Return the exchanges of a publication."""
    world = World(tmp_path_factory.mktemp("github"), REPOSITORY, lambda: NOW)
    with recorded(Github(world)) as (url, exchanges), requests.Session() as session:
        session.headers.update(TOKEN)
        api = f"{url}/repos/{REPOSITORY}"
        draft = {"tag_name": "v1", "name": "v1", "body": "text", "draft": True}
        draft |= {"prerelease": False, "make_latest": "false", "target_commitish": "5" * 40}
        made = session.post(f"{api}/releases", json=draft).json()
        session.post(made["upload_url"].split("{")[0], params={"name": "a"}, data=b"content")
        session.get(made["assets_url"])
        session.patch(made["url"], json=draft | {"draft": False, "make_latest": "legacy"})
        session.get(f"{api}/releases?per_page=100")
        session.get(f"{api}/git/ref/tags/v1")
        session.post(f"{api}/releases", json=draft | {"draft": False})
    assert world.violations == []
    return exchanges


@pytest.fixture(scope="module", name="digitalocean")
def _digitalocean(tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    """Return the exchanges of an import."""
    account = Account(tmp_path_factory.mktemp("account"), "any", lambda: NOW)
    with recorded(DigitalOcean(account)) as (url, exchanges), requests.Session() as session:
        session.headers.update(TOKEN)
        new: dict[str, object] = {
            "name": "a",
            "url": "http://127.0.0.1:9/closed.qcow2",
            "region": "fra1",
        }
        new |= {"distribution": "Unknown", "description": "text", "tags": ["a"]}
        image = session.post(f"{url}/v2/images", json=new).json()["image"]["id"]
        session.get(f"{url}/v2/images?private=true&tag_name=a&per_page=200&page=1")
        session.get(f"{url}/v2/images/{image}")
        action = {"type": "transfer", "region": "nyc3"}
        number = session.post(f"{url}/v2/images/{image}/actions", json=action).json()["id"]
        session.get(f"{url}/v2/images/{image}/actions/{number}")
        session.get(f"{url}/v2/images/999")
    return exchanges


def changed(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield `value` with one field changed to another type, for each field; with its place."""
    if isinstance(value, list):
        for number, inner in enumerate(value[:1]):
            for place, other in changed(inner, f"{where}/{number}"):
                yield place, [other, *value[1:]]
        return
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        place = f"{where}/{key}"
        yield place, {**value, key: "text" if isinstance(inner, dict) else {"not": "described"}}
        for deeper, other in changed(inner, place):
            yield deeper, {**value, key: other}


Check = Callable[[Exchange, object], str | None]
CHECKS: dict[str, tuple[Check, Check]] = {
    "github": (
        lambda each, body: GITHUB.request_violation(each.request(body)),
        lambda each, answer: GITHUB.response_violation(
            each.request(each.body), each.response(answer)
        ),
    ),
    "digitalocean": (
        lambda each, body: digitalocean.request_violation(each.request(body)),
        lambda each, answer: digitalocean.DESCRIPTION.response_violation(
            each.request(each.body), each.response(answer)
        ),
    ),
}


@pytest.mark.parametrize(("service", "least"), [("github", 20), ("digitalocean", 8)])
def test_a_request_changed_by_one_field_is_refused(
    service: str, least: int, request: pytest.FixtureRequest
) -> None:
    check, _ = CHECKS[service]
    accepted, count = [], 0
    for each in request.getfixturevalue(service):
        if each.body is None:
            continue
        assert check(each, each.body) is None
        for place, body in [*changed(each.body), ("/surplus", {**each.body, "surplus": 1})]:
            count += 1
            if check(each, body) is None:
                accepted.append(f"{each.method} {each.path} {place}")
    assert (accepted, count >= least) == ([], True)


@pytest.mark.parametrize(("service", "least"), [("github", 200), ("digitalocean", 40)])
def test_a_response_changed_by_one_field_is_refused(
    service: str, least: int, request: pytest.FixtureRequest
) -> None:
    _, check = CHECKS[service]
    accepted, count = [], 0
    for each in request.getfixturevalue(service):
        assert check(each, each.answer) is None
        for place, answer in changed(each.answer):
            count += 1
            if check(each, answer) is None:
                accepted.append(f"{each.method} {each.path} {each.status} {place}")
    assert (accepted, count >= least) == ([], True)
