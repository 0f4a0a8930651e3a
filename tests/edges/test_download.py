"""Downloads: bounded, resumed, hashed, and no credential leaves the first host."""

import errno
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from build.edges.download import Downloader, Limits, Request, VanishedError, bearer
from build.edges.download.redirects import may_redirect
from build.errors import RemoteError, SnowdropError
from tests.edges.hostile import Connection, says, serving
from tests.snapshot.served import Mirror, answer, mirror_of, reset_halfway, with_bytes

CONTENT = b"content of a file" * 100


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    (folder / "other").write_bytes(CONTENT)
    with mirror_of(folder) as served:
        yield served


def request(mirror: Mirror, **more: object) -> Request:
    return Request(**{"url": f"{mirror.url}/file", "limit": len(CONTENT), **more})  # type: ignore[arg-type]


def downloader(slept: list[float] | None = None) -> Downloader:
    return Downloader((slept if slept is not None else []).append, "what to do")


def test_credentials_and_headers_go_to_the_first_host_alone(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    mirror.fault("file", answer(302, headers={"Location": f"{mirror.url}/other"}))
    asked = request(mirror, auth=bearer("token"), headers={"Accept": "application/x"})
    downloader().fetch(asked)
    first, second = (headers for _, headers in mirror.asked)
    assert (first["Authorization"], first["Accept"]) == ("Bearer token", "application/x")
    assert "Authorization" not in second
    assert second["Accept"] != "application/x"


@pytest.mark.parametrize(
    ("url", "target", "allowed"),
    [
        ("https://a.example/", "https://b.example/", True),
        ("http://a.example/", "https://b.example/", True),
        ("http://a.example/", "http://b.example/", True),
        ("http://127.0.0.1:1/", "http://127.0.0.1:2/", True),
        ("https://a.example/", "http://a.example/", False),
        ("https://127.0.0.1/", "http://127.0.0.1/", False),
        ("http://a.example/", "http://127.0.0.1/", False),
        ("http://127.0.0.1/", "http://a.example/", False),
        ("http://a.example/", "file:///etc/passwd", False),
        ("http://a.example/", "ftp://a.example/", False),
    ],
)
def test_a_redirect_never_weakens_the_connection(url: str, target: str, allowed: bool) -> None:
    assert may_redirect(url, target) == allowed


def test_redirects_are_counted_and_can_be_forbidden(mirror: Mirror) -> None:
    mirror.fault("file", *[answer(302, headers={"Location": "/file"})] * (Limits().redirects + 1))
    with pytest.raises(RemoteError, match=f"/file: more than {Limits().redirects} redirects"):
        downloader().fetch(request(mirror))
    mirror.fault("file", answer(302, headers={"Location": "/other"}))
    with pytest.raises(RemoteError, match="/file: status 302"):
        downloader().fetch(request(mirror, redirects=0))


@pytest.mark.parametrize("location", ["http://[::1", "http://a..b/", "http://\udcff/"])
def test_a_malformed_redirect_is_refused_with_the_url(mirror: Mirror, location: str) -> None:
    raw = location.encode("utf-8", "surrogateescape").decode("latin-1")
    mirror.fault("file", *[answer(302, headers={"Location": raw})] * 3)
    with pytest.raises(RemoteError, match=f"^{mirror.url}/file: "):
        downloader().fetch(request(mirror))


def test_fewer_bytes_than_must_be_are_asked_for_again(mirror: Mirror) -> None:
    slept: list[float] = []
    short = with_bytes(lambda content: content[:-1])
    mirror.fault("file", short, short)
    seen: list[int] = []
    buffer = BytesIO()
    downloader(slept).fetch(request(mirror, exact=True), into=buffer, watch=seen.append)
    assert (buffer.getvalue(), sum(seen), slept) == (CONTENT, len(CONTENT), list(Limits().pauses))
    mirror.fault("file", short, short, short)
    with pytest.raises(RemoteError, match=rf"ended after \d+ of {len(CONTENT)} bytes, 3 times"):
        downloader().fetch(request(mirror, exact=True))


def test_a_saved_file_is_there_whole_or_not_at_all(mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "kept/file"
    path.parent.mkdir()
    mirror.fault("file", reset_halfway)
    whole = downloader().save(request(mirror), path)
    assert path.read_bytes() == CONTENT
    assert downloader().fetch(request(mirror)).sha256 == whole.sha256
    path.unlink()
    with pytest.raises(RemoteError, match=f"longer than the {len(CONTENT) - 1} bytes"):
        downloader().save(request(mirror, limit=len(CONTENT) - 1), path)
    mirror.fault("file", answer(404))
    with pytest.raises(VanishedError, match="/file: status 404") as refused:
        downloader().save(request(mirror), path)
    assert refused.value.hint == "what to do"
    assert list(path.parent.iterdir()) == []


def test_a_query_is_not_printed(mirror: Mirror) -> None:
    with pytest.raises(RemoteError, match="/file: status 404") as refused:
        downloader().fetch(request(mirror, url=f"{mirror.url}/file?signature=secret"))
    assert "secret" not in str(refused.value)


def test_head_returns_status_and_headers_and_is_sent_once(mirror: Mirror) -> None:
    with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")) as server:
        status, headers = downloader().head(Request(url=f"http://{server.address}/f", limit=1))
        assert (status, headers["content-length"]) == (200, "99")
        assert server.requests[0].startswith(b"HEAD /f ")
    with serving(says(b"")) as server, pytest.raises(RemoteError, match="/f: ") as refused:
        downloader().head(Request(url=f"http://{server.address}/f", limit=1))
    assert refused.value.hint == "what to do"
    assert len(server.requests) == 1


def test_a_disk_that_is_full_is_no_fault_of_the_server(mirror: Mirror, tmp_path: Path) -> None:
    class Full(BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SnowdropError, match=r"^No space left on device$"):
        downloader().fetch(request(mirror), into=Full())
    assert len(mirror.asked) == 1
    with pytest.raises(FileExistsError):
        downloader().save(request(mirror), Path("/dev/null/file"))


def test_a_download_ends_when_its_patience_does_and_a_byte_prolongs_it(mirror: Mirror) -> None:
    def run(rate: int) -> None:
        clock = iter(range(0, 10_000, 5))
        limits = Limits(patience=60, rate=rate, silence=1000, headers=1000)
        slow = Downloader(lambda _: None, "", limits, clock=lambda: float(next(clock)))
        with serving(endless_length) as server:
            slow.fetch(Request(url=f"http://{server.address}/f", limit=5000))

    def endless_length(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
        for _ in range(40):
            connection.send(bytes(100))
            connection.stop.wait(0.005)

    run(rate=1)
    with pytest.raises(RemoteError, match=r"given up after .* s with .* bytes, expected 1000 byte"):
        run(rate=1000)
