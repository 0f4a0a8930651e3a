"""Whatever a server sends, a download of it ends in time, within its bytes, with one error."""

import time
from io import BytesIO

import pytest

from build.edges.download import Downloader, Limits, Request
from build.errors import RemoteError
from tests.edges.hostile import DRIP, GOOD, HOSTILE, Behaviour, endless, says, serving

LIMITS = Limits(
    patience=0.6,
    rate=1 << 20,
    connect=0.2,
    headers=0.15,
    silence=0.1,
    least=1000,
    header_bytes=20_000,
    framing=20_000,
    pauses=(0.0, 0.0),
    tries=8,
)
LIMIT = 100_000


def download(address: str, *, limits: Limits = LIMITS, scheme: str = "http") -> bytes:
    buffer = BytesIO()
    downloader = Downloader(lambda _: None, "what to do", limits)
    downloader.fetch(Request(url=f"{scheme}://{address}/file", limit=LIMIT), into=buffer)
    return buffer.getvalue()


def check_ends(
    behave: Behaviour, message: str, limits: Limits = LIMITS, *, seconds: float = 1.5
) -> None:
    with serving(behave) as server:
        start = time.monotonic()
        with pytest.raises(RemoteError, match=message) as refused:
            download(server.address, limits=limits)
        assert time.monotonic() - start < seconds
        assert str(refused.value).startswith(f"http://{server.address}/file: ")
        assert len(str(refused.value)) < 500
        assert refused.value.hint == "what to do"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_ends_with_one_error_in_time(name: str) -> None:
    check_ends(*HOSTILE[name])


def test_a_good_server_is_read_with_the_same_limits() -> None:
    with serving(says(GOOD)) as server:
        assert download(server.address) == b"file"


def test_a_tls_handshake_that_does_not_end_is_given_up() -> None:
    for behave in (endless(b"", b"\x16", pause=DRIP), endless(b"\x16\x03\x03\x40\x00", bytes(1))):
        with serving(behave, read=False) as server:
            start = time.monotonic()
            with pytest.raises(RemoteError):
                download(server.address, scheme="https")
            assert time.monotonic() - start < 1.5


def test_a_proxy_that_does_not_answer_connect_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(endless(b"HTTP/1.1 200 OK\r\nA: ", b"x", pause=DRIP)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        start = time.monotonic()
        with pytest.raises(RemoteError, match="no complete headers"):
            download("mirror.invalid", scheme="https")
        assert time.monotonic() - start < 1.5


def test_the_defaults_end_within_a_minute() -> None:
    limits = Limits()
    assert limits.patience <= 60 - 3
    # A stalled server fails three times before that, or is given up by then.
    assert limits.connect + limits.headers < limits.patience
    assert limits.retry_after < limits.patience
    assert limits.rate * limits.silence >= limits.least


@pytest.mark.full
@pytest.mark.parametrize(
    "name",
    [
        "accepts and is silent",
        "body byte by byte",
        "100 Continue slowly",
        "trailers slowly",
        "one more byte with each try",
        "Retry-After of centuries",
    ],
)
def test_a_hostile_server_ends_within_60_seconds_by_the_default_limits(name: str) -> None:
    start = time.monotonic()
    with serving(HOSTILE[name][0]) as server, pytest.raises(RemoteError):
        Downloader(time.sleep, "").fetch(Request(url=f"http://{server.address}/f", limit=1 << 24))
    assert time.monotonic() - start < 60
