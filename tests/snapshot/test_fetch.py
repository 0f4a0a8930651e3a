"""Transient failures of a mirror are tried again; a refusal is an error with the URL."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from build.edges.download import Limits
from build.errors import ConfigError, RemoteError
from build.snapshot.fetch import Fetcher, locate

Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(*replies: Reply) -> Iterator[str]:
    """Serve the replies one after the other, the last one again and again."""
    waiting = list(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (waiting.pop(0) if len(waiting) > 1 else waiting[0])(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


CUT_SHORT = answer(200, b"con", **{"Content-Length": "7"})


@pytest.mark.parametrize(
    "failure", [answer(503), answer(429), hang_up, CUT_SHORT], ids=["503", "429", "reset", "short"]
)
def test_two_transient_failures_are_followed_by_a_third_try(failure: Reply) -> None:
    slept: list[float] = []
    with serving(failure, failure, answer(200, b"content")) as url:
        assert Fetcher(slept.append).fetch(url, "x86_64/file", limit=7) == b"content"
    assert slept == list(Limits().pauses)
    with serving(failure) as url, pytest.raises(RemoteError, match=f"^{url}/file: .*, 3 times$"):
        Fetcher(slept.append).fetch(url, "file", limit=7)


def test_a_refusal_is_not_tried_again_and_names_url_and_hint() -> None:
    slept: list[float] = []
    with (
        serving(answer(404)) as url,
        pytest.raises(RemoteError, match=f"^{url}/file: status 404") as e,
    ):
        Fetcher(slept.append).fetch(url, "file", limit=7)
    assert "run the command again" in e.value.hint
    assert slept == []


def test_a_longer_file_than_the_limit_is_refused() -> None:
    with serving(answer(200, bytes(1000))) as url:
        assert len(Fetcher(_never).fetch(url, "file", limit=1000)) == 1000
        with pytest.raises(RemoteError, match="longer than the 999 bytes expected"):
            Fetcher(_never).fetch(url, "file", limit=999)


def test_bytes_arrive_as_stored_even_with_a_content_encoding() -> None:
    stored = b"\x1f\x8b\x08 as signed"
    with serving(answer(200, stored, **{"Content-Encoding": "gzip"})) as url:
        assert Fetcher(_never).fetch(url, "file", limit=100) == stored


def test_redirects_are_followed_to_http_only_and_limited() -> None:
    with serving(answer(302, Location="/there"), answer(200, b"there")) as url:
        assert Fetcher(_never).fetch(url, "file", limit=100) == b"there"
    with (
        serving(answer(302, Location="file:///etc/passwd")) as url,
        pytest.raises(RemoteError, match="redirected to file:///etc/passwd"),
    ):
        Fetcher(_never).fetch(url, "file", limit=100)
    with serving(answer(302, Location="/")) as url, pytest.raises(RemoteError, match="5 redirects"):
        Fetcher(_never).fetch(url, "file", limit=100)


def test_folders_and_file_urls_are_repositories_too(tmp_path: Path) -> None:
    (tmp_path / "a b/x86_64").mkdir(parents=True)
    (tmp_path / "a b/x86_64/file").write_bytes(b"content")
    for written in ("a b", str(tmp_path / "a b"), f"file://{tmp_path}/a%20b"):
        location = locate(written, tmp_path)
        assert Fetcher(_never).fetch(location, "x86_64/file", limit=7) == b"content"
    with pytest.raises(RemoteError, match="other: no such file"):
        Fetcher(_never).fetch(locate("a b", tmp_path), "other", limit=7)
    with pytest.raises(RemoteError, match="longer than the 6 bytes"):
        Fetcher(_never).fetch(locate("a b", tmp_path), "x86_64/file", limit=6)
    with pytest.raises(ConfigError, match="expected http://"):
        locate("ftp://mirror.example/alpine", tmp_path)


def _never(seconds: float) -> None:
    raise AssertionError(f"no wait of {seconds} s is due")
