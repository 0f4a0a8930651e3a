"""No password, user name or token of a URL is printed or written, wherever it is planted."""

import base64
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from build.edges.download import Downloader, Request
from build.errors import ConfigError, RemoteError
from build.urls import has_userinfo, hide_userinfo
from ci.__main__ import main
from ci.report.console import open_console
from tests.config.test_release_toml import GOOD

PLANTED = "hunter2"
URLS = {
    "password": f"https://me:{PLANTED}@mirror.example/alpine/v3.24/main",
    "token": f"https://{PLANTED}@mirror.example/alpine/v3.24/main",
    "encoded user": f"https://user%40corp:{PLANTED}@mirror.example/v3.24/main",
    "encoded password": f"http://me:p%40{PLANTED}@mirror.example/v3.24/main",
    "encoded at sign": f"https://me:{PLANTED}%40mirror.example/v3.24/main",
    "slash in the password": f"https://me:a/{PLANTED}@mirror.example/v3.24/main",
    "at sign in the password": f"https://me:a@{PLANTED}@mirror.example/v3.24/main",
    "hash in the password": f"https://me:12#{PLANTED}@mirror.example/v3.24/main",
    "question mark in the token": f"https://a?{PLANTED}@mirror.example/v3.24/main",
    "capitals and a port": f"HTTPS://me:{PLANTED}@mirror.example:8443/v3.24/main",
    "address": f"http://me:{PLANTED}@[::1]:80/v3.24/main",
    "without scheme": f"me:{PLANTED}@mirror.example/v3.24/main",
    "scheme-relative": f"//me:{PLANTED}@mirror.example/v3.24/main",
}
KEYS = {
    "snapshot.repositories": "[snapshot]\nrepositories = ['URL']",
    "snapshot.mirrors": "[snapshot]\nmirrors = ['https://a.example', 'URL']",
    "builder.repositories": "[builder]\nrepositories = ['URL']",
    "builder.mirrors": "[builder]\nmirrors = ['URL']",
    "github.api": "[github]\napi = 'URL'",
    "spaces.endpoint": "[spaces]\nendpoint = 'URL'",
    "spaces.public_url": "[spaces]\npublic_url = 'URL'",
    "import.api": "[import]\napi = 'URL'",
    "sign.issuer": "[sign]\nissuer = 'URL'",
    "sign.trust_root": "[sign]\ntrust_root = 'URL'",
    "unknown key": "[snapshot]\nmirror = 'URL'",
    "unknown table": "[mirrors]\nfirst = 'URL'",
    "name of a key": "[snapshot]\n'URL' = 1",
    "comment": "[snapshot]\n# mirrors = ['URL']",
    "wrong type": "[snapshot]\nkeys = ['URL']",
    "broken file": "[snapshot\nkeys = ['URL']",
}
COMMANDS = {
    "pin --from": ["pin", "--from", "URL"],
    "an option that does not exist": ["pin", "--mirror", "URL"],
    "a choice that does not exist": ["pin", "--engine", "URL"],
    "no command": ["URL"],
    "verify": ["verify", "URL", "--repository", "a/b"],
    "verify --policy": ["verify", ".", "--policy", "URL"],
    "diff": ["diff", "URL", "URL"],
    "build --snapshot": ["build", "--snapshot", "URL"],
    "trust --tuf": ["trust", "--update", "--tuf", "URL", "--tuf-root", "root.json"],
    "rehearse --debian-mirror": ["rehearse", "--debian-mirror", "URL", "--folder", "state"],
    "a traceback": ["diff", "URL", "URL", "--debug"],
}


def outcome(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as end:
        return int(str(end.code))


def written(folder: Path, *besides: Path) -> str:
    """Return the content and names of all files below `folder`."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in besides]
    return "".join(f"{path}{path.read_bytes()!r}" for path in files)


@pytest.mark.parametrize("url", URLS.values(), ids=URLS.keys())
@pytest.mark.parametrize("key", KEYS)
def test_a_url_with_credentials_in_release_toml_is_refused_without_them(
    key: str,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "release.toml"
    path.write_text(KEYS[key].replace("URL", url))
    assert outcome(["pin"]) == 2
    out, err = capfd.readouterr()
    assert PLANTED not in out + err + written(tmp_path, path)
    if key != "broken file":
        assert "error: release.toml: line 2: a user name, password or token in a URL\n" in err
        assert "hint: remove it" in err
        assert "~/.netrc" in err


@pytest.mark.parametrize("url", URLS.values(), ids=URLS.keys())
@pytest.mark.parametrize("command", COMMANDS)
def test_a_url_with_credentials_on_the_command_line_is_not_printed(
    command: str,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "release.toml").write_text(GOOD)
    (tmp_path / "root.json").write_text("{}")
    assert outcome([url if word == "URL" else word for word in COMMANDS[command]]) == 2
    out, err = capfd.readouterr()
    assert "error: the command line: a user name, password or token in a URL\nhint: remove" in err
    assert PLANTED not in out + err + written(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "https://mirror.example:8443/a@b/v3.24: status 404",
        "http://[::1]:80/x, file:///srv/a@b and a folder",
        "expected http://, https://, file:// or a folder",
        "http://127.0.0.1:8000: status 500",
        "(http://mirror.example:80) root@host, git@github.com:a/b.git",
        "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64",
        "-v /srv//x:/y:ro image@sha256:00",
    ],
)
def test_a_text_without_credentials_is_printed_as_it_is(text: str) -> None:
    assert (hide_userinfo(text), has_userinfo(text)) == (text, False)


@contextmanager
def server(status: int, headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve one response for every request; yield the URL and the credentials received."""
    received: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{listening.server_port}", received
        finally:
            listening.shutdown()
            thread.join()


def test_credentials_come_from_netrc_for_exactly_that_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {PLANTED}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    downloader = Downloader(lambda _: None, "none")
    with server(200, {}) as (address, received):
        for host in (address, address.replace("127.0.0.1", "localhost")):
            downloader.fetch(Request(url=f"http://{host}/file", limit=1))
    expected = base64.b64encode(f"me:{PLANTED}".encode()).decode()
    assert received == [f"Basic {expected}", ""]


def test_a_redirect_to_a_url_with_credentials_is_reported_without_them() -> None:
    downloader = Downloader(lambda _: None, "none")
    location = {"Location": f"http://me:{PLANTED}@mirror.example/x"}
    with (
        server(302, location) as (address, _),
        pytest.raises(RemoteError, match=r"redirected to http://mirror\.example/x") as failure,
    ):
        downloader.fetch(Request(url=f"http://{address}/file", limit=1))
    assert PLANTED not in str(failure.value)


def test_a_download_from_a_url_with_credentials_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^https://mirror\.example/x: a user name") as failure:
        Downloader(lambda _: None, "none").fetch(
            Request(url=f"https://me:{PLANTED}@mirror.example/x?token={PLANTED}", limit=1)
        )
    assert PLANTED not in str(failure.value)


@pytest.mark.parametrize("url", URLS.values(), ids=URLS.keys())
def test_an_error_and_what_a_console_prints_have_no_credentials(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for as_json in (False, True):
        with open_console({}, as_json=as_json) as console:
            console.line(f"downloaded from {url}")
            console.data({"url": url})
            console.error(RemoteError(f"{url}: status 404", hint=f"is {url} right?"))
    out, err = capsys.readouterr()
    assert "status 404" in err
    assert "url" in out
    assert PLANTED not in out + err


def test_the_debian_mirror_of_the_environment_is_refused_with_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ci.rehearsal.sample.debian.KEYRING", Path(__file__))
    monkeypatch.setenv("SNOWDROP_DEBIAN_MIRROR", URLS["token"])
    assert outcome(["rehearse", "--folder", "state"]) == 2
    out, err = capfd.readouterr()
    assert "error: the Debian mirror: a user name, password or token in a URL\n" in err
    assert PLANTED not in out + err + written(tmp_path)
