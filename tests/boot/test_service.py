"""The stand-in metadata service answers as DigitalOcean's documentation says."""

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
from ci.boot.metadata import Interface, Metadata, Service, document, pages
from ci.boot.metadata_service import Manner

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
    """Return one HTTP connection to the program, as QEMU opens it: its standard input and output.

    The program runs as it does under QEMU, without this project on its path.
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
def told(tmp_path: Path) -> Service:
    """Return a service in a folder that needs quoting, told what DROPLET is."""
    folder = tmp_path / "it's a, folder"
    folder.mkdir()
    made = Service(folder)
    made.tell(DROPLET)
    return made


def test_a_client_walks_the_whole_tree_on_one_connection(told: Service) -> None:
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

    with connection(told.folder) as client:
        walk(client, "/metadata/v1/")
    assert {**seen, "/metadata/v1.json": json.dumps(document(DROPLET))} == pages(DROPLET)
    assert seen["/metadata/v1/interfaces/private/0/ipv4/address"] == "10.110.0.2"
    assert seen["/metadata/v1/public-keys"].splitlines() == list(DROPLET.public_keys)
    assert told.requests()[0][1] == "200 GET /metadata/v1/"


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
def test_answers_by_the_book(method: str, path: str, status: int, body: str, told: Service) -> None:
    with connection(told.folder) as client:
        for _ in range(2):  # the second time on the same connection: no byte too many before
            client.request(method, path)
            response = client.getresponse()
            assert (response.status, response.read().decode()) == (status, body)
            assert (response.getheader("Location") is not None) == (status == 301)


def test_closes_the_connection_when_the_client_wishes_it(told: Service) -> None:
    for request, keeps in (
        (b"GET /metadata/v1/id HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (b"GET /metadata/v1/id HTTP/1.0\r\n\r\n", False),
        (b"GET /metadata/v1/id HTTP/1.1\r\n\r\n", True),
        (b"not http\r\n\r\n", False),
        (b"GET /metadata/v1/id HTTP/1.1\r\nContent-Length: many\r\n\r\n", False),
    ):
        answers = io.BytesIO()
        service.serve(told.folder, io.BytesIO(request * 2), answers)
        assert answers.getvalue().count(b"HTTP/1.1 ") == (2 if keeps else 1), request


def test_what_a_droplet_is_told_can_change_while_it_runs(told: Service) -> None:
    with connection(told.folder) as client:
        for name in ("one", "two"):
            told.tell(
                Metadata(droplet_id=1, hostname=name, public_keys=(), interfaces=(), nameservers=())
            )
            client.request("GET", "/metadata/v1/hostname")
            assert client.getresponse().read() == name.encode()


def test_json_and_pages_tell_the_same_of_a_reserved_address() -> None:
    droplet = replace(DROPLET, reserved_address="203.0.113.9")
    assert pages(droplet)["/metadata/v1/reserved_ip/ipv4/ip_address"] == "203.0.113.9"
    assert document(droplet)["reserved_ip"]["ipv4"] == {"active": True, "ip_address": "203.0.113.9"}
    assert pages(DROPLET)["/metadata/v1/reserved_ip/ipv4/active"] == "false"


def asked(folder: Path, path: str) -> str:
    """Return what a client makes of one answer: its body, its status, or how it broke off."""
    with connection(folder) as client:
        client.request("GET", path)
        try:
            response = client.getresponse()
            body = response.read().decode()
        except http.client.HTTPException as problem:
            return type(problem).__name__
    return body if response.status == 200 else str(response.status)


def test_an_unhelpful_service_comes_to_its_senses_for_each_path(told: Service) -> None:
    told.tell(DROPLET, Manner(errors=2, cuts=1))
    for path, body in (("/metadata/v1/id", "2756294"), ("/metadata/v1/hostname", DROPLET.hostname)):
        heard = [asked(told.folder, path) for _ in range(5)]
        assert heard == ["500", "500", "IncompleteRead", body, body]
    noted = [line for _, line in told.requests() if line.endswith("/id")]
    assert [line.split()[0] for line in noted] == ["500", "500", "cut", "200", "200"]


def test_an_answer_without_a_body_is_cut_in_its_head(told: Service) -> None:
    told.tell(replace(DROPLET, user_data=""), Manner(cuts=1))
    incoming = io.BytesIO(b"GET /metadata/v1/user-data HTTP/1.1\r\n\r\n")
    service.serve(told.folder, incoming, answer := io.BytesIO())
    assert answer.getvalue().startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in answer.getvalue()


def test_a_silent_service_takes_the_connection_and_says_nothing(told: Service) -> None:
    told.tell(DROPLET, Manner(silent_seconds=3600))
    with connection(told.folder) as client:
        assert client.sock is not None
        client.request("GET", "/metadata/v1/id")
        client.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            client.getresponse()
    assert [line for _, line in told.requests()] == ["silent GET /metadata/v1/id"]
    told.tell(DROPLET)
    assert asked(told.folder, "/metadata/v1/id") == "2756294"


@pytest.mark.parametrize(
    ("now", "expected"), [(10.0, "silent"), (69.9, "silent"), (70.0, ""), (9.9996, "silent")]
)
def test_silence_ends_so_long_after_the_first_request(now: float, expected: str) -> None:
    noted = [(10.0, "silent GET /a"), (60.0, "silent GET /b")]
    assert service.fault(Manner(silent_seconds=60), noted, "/b", now) == expected
    assert service.fault(service.PROMPT, noted, "/b", now) == ""
