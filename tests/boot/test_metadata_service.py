"""The double of the metadata service follows DigitalOcean's documentation."""

import http.client
import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ci.boot import metadata_service as service
from ci.boot.metadata import Interface, Metadata, MetadataService, render_json, render_pages
from ci.boot.metadata_service import ServiceFaults

PRIVATE = Interface(
    type="private",
    mac="52:54:00:5e:10:06",
    address="10.110.0.2",
    netmask="255.255.240.0",
    gateway="",
)
PUBLIC = Interface(
    type="public",
    mac="52:54:00:5e:10:05",
    address="165.22.10.5",
    netmask="255.255.240.0",
    gateway="165.22.0.1",
)
DROPLET = Metadata(
    droplet_id=2756294,
    hostname="sample-droplet",
    public_keys=("ssh-ed25519 AAAA one@home", "ssh-ed25519 BBBB two@home"),
    interfaces=(PRIVATE, PUBLIC),
    nameservers=("67.207.67.2", "67.207.67.3"),
    user_data="#!/bin/sh\ntouch /root/was-here\n",
    tags=("web", "blue"),
)


@contextmanager
def connection(folder: Path) -> Iterator[http.client.HTTPConnection]:
    """Return an HTTP connection to the program, on its standard input and output as with QEMU.

    The program runs as under QEMU, without this project on its path.
    """
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-I", "-S", service.__file__, str(folder)]
    end = theirs.fileno()
    with ours, subprocess.Popen(argv, stdin=end, stdout=end, stderr=end) as program:
        theirs.close()
        client = http.client.HTTPConnection("169.254.169.254")
        client.sock = ours
        client.auto_open = 0
        ours.settimeout(20)
        yield client
        client.close()
        ours.close()
        assert program.wait(20) == 0


@pytest.fixture
def metadata_service(tmp_path: Path) -> MetadataService:
    """Return the service of DROPLET, in a folder whose name needs quoting."""
    folder = tmp_path / "it's a, folder"
    folder.mkdir()
    made = MetadataService(folder)
    made.configure(DROPLET)
    return made


def test_a_client_reads_the_whole_tree_on_one_connection(metadata_service: MetadataService) -> None:
    seen: dict[str, str] = {}

    def walk(client: http.client.HTTPConnection, folder: str) -> None:
        client.request("GET", folder)
        for name in client.getresponse().read().decode().splitlines():
            if name.endswith("/"):
                walk(client, folder + name)
            else:
                client.request("GET", folder + name)
                response = client.getresponse()
                assert response.status == 200
                seen[folder + name] = response.read().decode()

    with connection(metadata_service.folder) as client:
        walk(client, "/metadata/v1/")
    assert {**seen, "/metadata/v1.json": json.dumps(render_json(DROPLET))} == render_pages(DROPLET)
    assert seen["/metadata/v1/interfaces/private/0/ipv4/address"] == "10.110.0.2"
    assert seen["/metadata/v1/public-keys"].splitlines() == list(DROPLET.public_keys)
    assert metadata_service.requests()[0][1] == "200 GET /metadata/v1/"


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        pytest.param("GET", "/metadata/v1/id", 200, "2756294", id="value"),
        pytest.param("HEAD", "/metadata/v1/id", 200, "", id="HEAD: no body"),
        pytest.param("GET", "/metadata/v1/tags/", 200, "web\nblue", id="folder"),
        pytest.param("GET", "/metadata/v1/id?x=1", 200, "2756294", id="query is ignored"),
        pytest.param("GET", "/metadata/v1/dns", 301, "", id="folder without its slash"),
        pytest.param("GET", "/metadata/v1/id/", 404, "not found", id="value with a slash"),
        pytest.param("GET", "/metadata/v2/", 404, "not found", id="unknown"),
        pytest.param("POST", "/metadata/v1/id", 405, "method not allowed", id="POST"),
    ],
)
def test_replies_follow_the_documentation(
    method: str, path: str, status: int, body: str, metadata_service: MetadataService
) -> None:
    with connection(metadata_service.folder) as client:
        for _ in range(2):  # on the same connection: no surplus byte between the replies
            client.request(method, path)
            response = client.getresponse()
            assert (response.status, response.read().decode()) == (status, body)
            assert (response.getheader("Location") is not None) == (status == 301)


def test_the_connection_closes_on_request_of_the_client(metadata_service: MetadataService) -> None:
    for request, keeps in (
        (b"GET /metadata/v1/id HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (b"GET /metadata/v1/id HTTP/1.0\r\n\r\n", False),
        (b"GET /metadata/v1/id HTTP/1.1\r\n\r\n", True),
        (b"not http\r\n\r\n", False),
        (b"GET /metadata/v1/id HTTP/1.1\r\nContent-Length: many\r\n\r\n", False),
    ):
        replies = io.BytesIO()
        service.Handler(metadata_service.folder, io.BytesIO(request * 2), replies)
        assert replies.getvalue().count(b"HTTP/1.1 ") == (2 if keeps else 1), request


def test_metadata_can_change_while_the_droplet_runs(metadata_service: MetadataService) -> None:
    with connection(metadata_service.folder) as client:
        for name in ("one", "two"):
            metadata_service.configure(
                Metadata(droplet_id=1, hostname=name, public_keys=(), interfaces=(), nameservers=())
            )
            client.request("GET", "/metadata/v1/hostname")
            assert client.getresponse().read() == name.encode()


def test_a_droplet_has_no_reserved_address() -> None:
    assert render_pages(DROPLET)["/metadata/v1/reserved_ip/ipv4/active"] == "false"
    assert render_json(DROPLET)["reserved_ip"]["ipv4"] == {"active": False}


def get(folder: Path, path: str) -> str:
    """Return the body of a reply, its status if not 200, or the client's error."""
    with connection(folder) as client:
        client.request("GET", path)
        try:
            response = client.getresponse()
            body = response.read().decode()
        except http.client.HTTPException as problem:
            return type(problem).__name__
    return body if response.status == 200 else str(response.status)


def test_faults_end_for_each_path(metadata_service: MetadataService) -> None:
    metadata_service.configure(DROPLET, ServiceFaults(errors=2, cuts=1))
    for path, body in (("/metadata/v1/id", "2756294"), ("/metadata/v1/hostname", DROPLET.hostname)):
        replies = [get(metadata_service.folder, path) for _ in range(5)]
        assert replies == ["500", "500", "IncompleteRead", body, body]
    logged = [line for _, line in metadata_service.requests() if line.endswith("/id")]
    assert [line.split()[0] for line in logged] == ["500", "500", "cut", "200", "200"]


def test_service_is_not_filled_and_then_behind_a_portal(metadata_service: MetadataService) -> None:
    metadata_service.configure(DROPLET, ServiceFaults(missing=1, pages=1))
    replies = [get(metadata_service.folder, "/metadata/v1/id") for _ in range(3)]
    assert (replies[0], replies[2]) == ("404", "2756294")
    assert replies[1].startswith("<!DOCTYPE html>")


def test_a_reply_without_a_body_is_cut_in_its_headers(metadata_service: MetadataService) -> None:
    metadata_service.configure(replace(DROPLET, user_data=""), ServiceFaults(cuts=1))
    incoming = io.BytesIO(b"GET /metadata/v1/user-data HTTP/1.1\r\n\r\n")
    service.Handler(metadata_service.folder, incoming, reply := io.BytesIO())
    assert reply.getvalue().startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in reply.getvalue()


def test_a_silent_service_accepts_the_connection_and_sends_nothing(
    metadata_service: MetadataService,
) -> None:
    metadata_service.configure(DROPLET, ServiceFaults(silent_seconds=3600))
    with connection(metadata_service.folder) as client:
        assert client.sock is not None
        client.request("GET", "/metadata/v1/id")
        client.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            client.getresponse()
    assert [line for _, line in metadata_service.requests()] == ["silent GET /metadata/v1/id"]
    metadata_service.configure(DROPLET)
    assert get(metadata_service.folder, "/metadata/v1/id") == "2756294"


@pytest.mark.parametrize(
    ("now", "expected"), [(10.0, "silent"), (69.9, "silent"), (70.0, ""), (9.9996, "silent")]
)
def test_silence_ends_after_its_time_from_the_first_request(now: float, expected: str) -> None:
    requests = [(10.0, "silent GET /a"), (60.0, "silent GET /b")]
    assert service.select_fault(ServiceFaults(silent_seconds=60), requests, "/b", now) == expected
    assert service.select_fault(service.NO_FAULTS, requests, "/b", now) == ""
