"""A host that serves an image, and an account at the double."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from ci.importing.api import Api
from ci.rehearsal.digitalocean.server import running
from ci.rehearsal.digitalocean.state import VIOLATIONS, Account
from ci.rehearsal.http_server import serve
from tests.inspect.makers import Root, write_raw_disk

TOKEN = "dop_v1_0123456789abcdef"  # noqa: S105 - of the double


@dataclass
class Host:
    """A web server with one image, which misbehaves on command."""

    url: str
    content: bytes
    fault: str = ""
    """`no head`, `redirect`, `not found`, `cut` or `swapped`: other bytes from the second GET."""
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session", name="disk")
def _disk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("disk")
    root = Root(folder / "root")
    root.folder.mkdir()
    return write_raw_disk(root.fill(), folder / "disk.raw").read_bytes()


@pytest.fixture(name="host")
def _host(disk: bytes) -> Iterator[Host]:
    found = Host("", disk)

    @Request.application
    def application(request: Request) -> Response:
        found.requests.append(request.method)
        if request.method == "HEAD" and found.fault == "no head":
            return Response(status=405)
        if found.fault == "not found":
            return Response(status=404)
        if found.fault == "redirect":
            return Response(status=302, headers={"Location": "/elsewhere"})
        content = found.content
        if found.fault == "swapped" and found.requests.count("GET") > 1:
            content = bytes(len(content))
        if found.fault == "cut" and request.method == "GET":
            content = content[: len(content) // 3]
        return Response(content, content_type="application/octet-stream")

    with serve(application) as url:
        found.url = f"{url}/image.raw"
        yield found


@pytest.fixture(name="account")
def _account(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path / "account", TOKEN, lambda: datetime(2026, 11, 26, tzinfo=UTC))
    yield account
    violations = account.folder / VIOLATIONS
    assert not violations.exists(), violations.read_text()


@pytest.fixture(name="service")
def _service(account: Account) -> Iterator[str]:
    with running(account) as url:
        yield url


@pytest.fixture(name="api")
def _api(service: str) -> Api:
    return Api(service, {"DIGITALOCEAN_TOKEN": TOKEN}, lambda _: None)
