"""A reply of an API is read to its limit, whatever the server sends."""

import zlib

import pytest
import requests

from build.edges.replies import LIMIT, send
from build.errors import RemoteError
from ci.importing.api import MAX_ATTEMPTS, TOKEN, Api
from tests.edges.hostile import END, OK, Behaviour, Connection, says, serving

MIB = 1 << 20
FOUND = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere"
UNPACKED = 64 * MIB
BOMB = OK + b"Content-Encoding: deflate" + END + zlib.compress(bytes(UNPACKED))


@pytest.mark.parametrize("start", [OK, FOUND + b"\r\n"], ids=["a reply", "a redirect"])
def test_an_endless_reply_is_an_error_of_the_api(start: bytes) -> None:
    sent = 0

    def behave(connection: Connection) -> None:
        nonlocal sent
        connection.send(start + b"\r\n")
        for _ in range(64):
            connection.send(b" " * MIB)
            sent += MIB

    with serving(behave) as server:
        api = Api(f"http://{server.address}", {TOKEN: "dop_v1_0123456789abcdef"}, lambda _: None)
        with pytest.raises(RemoteError, match=f"a reply of more than {LIMIT} bytes"):
            api.get(1)
    # The kernel's buffers of the connections hold a few of them.
    assert sent < MAX_ATTEMPTS * 32 * MIB


@pytest.mark.parametrize(
    "behave", [says(BOMB), says(OK + b"\r\n" + bytes(LIMIT + 1))], ids=["packed", "plain"]
)
def test_a_reply_of_one_byte_too_many_is_refused(behave: Behaviour) -> None:
    with serving(behave) as server, pytest.raises(requests.RequestException, match="more than"):
        send("GET", f"http://{server.address}/", timeout=5)


def test_a_reply_has_its_status_headers_and_document() -> None:
    head = b"HTTP/1.1 429 Later\r\nRetry-After: 7\r\nContent-Length: 14" + END
    with serving(says(head, b'{"message": 1}')) as server:
        reply = send("POST", f"http://{server.address}/x", json={"a": 1}, timeout=5)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
    assert reply.json() == {"message": 1}
    assert server.requests[0].startswith(b"POST /x ")


@pytest.mark.parametrize("document", [b"", b"\xff", b"{", b"[" * 100_000])
def test_a_document_that_is_no_json_is_a_value_error(document: bytes) -> None:
    with serving(says(OK + b"\r\n", document)) as server:
        reply = send("GET", f"http://{server.address}/", timeout=5)
    with pytest.raises(ValueError, match=r"."):
        reply.json()
