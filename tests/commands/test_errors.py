"""Failures of commands: one line, a documented exit code, no traceback and no secret."""

import gc
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ci.__main__ import main
from ci.attest.sigstore_client import job_of
from ci.commands import sign, trust
from tests.publish.release import write_config, write_release

SECRETS = ("GITHUB_TOKEN", "SPACES_KEY", "SPACES_SECRET", "SIGSTORE_ID_TOKEN", "DIGITALOCEAN_TOKEN")
MARK = "MARKED"
"""Part of every planted secret."""
REFUSED = "http://127.0.0.1:1"
"""Address without a server: port 1 is reserved (tcpmux)."""


class Echo(BaseHTTPRequestHandler):
    """Service that answers with what it should not repeat; the form depends on the first folder."""

    def reply(self) -> None:
        """Answer with the credentials in the reason phrase, the headers and the body."""
        seen = " ".join([*(self.headers.get_all("Authorization") or ()), *PLANTED.values()])
        form = self.path.split("/")[1]
        status = {"moved": 302, "list": 200, "page": 200}.get(form, 403)
        if form == "page":
            body = f"<html>\x1b[2J{seen}"
        elif form == "list":
            body = json.dumps([seen])
        elif form == "xml":
            body = f"<Error><Code>Denied</Code><Message>{seen}</Message></Error>"
        else:
            body = json.dumps({"message": f"\x1b[2J\u202e {seen}", "documentation_url": seen})
        self.send_response(status, f"\x1b[2JNo {seen}")
        if status == 302:
            self.send_header("Location", f"http://user:{PLANTED['GITHUB_TOKEN']}@[{seen}/")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    do_GET = do_HEAD = do_PUT = do_POST = reply  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Log nothing."""


PLANTED = {name: f"{MARK}-{name}-0/1+2" for name in SECRETS}


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a release, and every secret in the environment."""
    write_release(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return tmp_path


def spaces(url: str) -> dict[str, str]:
    return {
        "bucket": "bucket",
        "region": "fra1",
        "prefix": "p/",
        "endpoint": url,
        "public_url": url,
    }


USER = f"http://user:{PLANTED['GITHUB_TOKEN']}@127.0.0.1:1"
TOKEN = PLANTED["GITHUB_TOKEN"]
NETWORK = [
    ("publish", "ECHO/json"),
    ("publish", "ECHO/page"),
    ("publish", "ECHO/list"),
    ("publish", "ECHO/moved"),
    ("publish", REFUSED),
    ("publish", USER),
    ("mirror", "ECHO/xml"),
    ("mirror", "ECHO/page"),
    ("mirror", "ECHO/json"),
    ("mirror", "ECHO/moved"),
    ("mirror", REFUSED),
    ("mirror", USER),
]
WORDS = [
    f"verify --repository a/b ECHO/json/{TOKEN}",
    "verify --repository a/b ECHO/page/releases/download/v1",
    "verify --repository a/b ECHO/moved/x",
    f"verify --repository a/b {USER}/v1",
    f"verify --repository {TOKEN} x",
    f"verify --repository a/b {TOKEN}/nothing",
    f"trust --update --tuf {USER} --tuf-root root.json",
    "trust --update --tuf ECHO/json --tuf-root root.json",
    "trust --update --tuf ECHO/moved --tuf-root root.json",
    f"trust --trust-root {TOKEN}",
    f"trust --nonsense={TOKEN}",
    f"explain {TOKEN} {TOKEN}",
    f"{TOKEN}",
]


def check_failure(words: list[str], capfd: pytest.CaptureFixture[str], *, codes: set[int]) -> str:
    """Run a command three times, plain, with --debug and with --json; return what it printed."""
    printed = ""
    for options in ([], ["--debug"], ["--json"]):
        code = main([*words, *options])
        out, err = capfd.readouterr()
        printed += out + err
        assert code in codes, out + err
        assert MARK not in out + err
        assert not {"\x1b", "\u202e", "\x00"} & set(out + err)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        document = json.loads(out) if "--json" in options else {}
        if words[0] == "verify" and not errors:
            # A report of failed checks.
            assert (code, document.get("verified", False)) == (1, False)
            assert "Traceback" not in err
            continue
        assert ("Traceback" in err) == ("--debug" in options)
        assert len(errors) == 1
        if "--json" in options:
            assert sorted(document) == ["error", "exit_code", "hint"]
            assert document["exit_code"] == code
    return printed


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("command", "url"), NETWORK)
def test_a_service_that_fails_gets_no_secret_printed(
    command: str, url: str, folder: Path, echo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    url = url.replace("ECHO", echo)
    config = write_config(folder, api=url, spaces=spaces(url))
    check_failure([command, "--config", str(config)], capfd, codes={1, 2})
    # botocore leaves the socket of a refused connection to the garbage collector.
    gc.collect()


@pytest.mark.parametrize("words", WORDS)
def test_arguments_that_fail_get_no_secret_printed(
    words: str, folder: Path, echo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "root.json").write_text("{}")
    check_failure(words.replace("ECHO", echo).split(), capfd, codes={1, 2})


@pytest.mark.parametrize("end", ["\n", "\r\nX: y", " x", "\x1b[2J", "é"])
@pytest.mark.parametrize(
    ("command", "variable"),
    [
        ("publish", "GITHUB_TOKEN"),
        ("mirror", "SPACES_KEY"),
        ("mirror", "SPACES_SECRET"),
        ("sign", "SIGSTORE_ID_TOKEN"),
    ],
)
def test_a_malformed_secret_is_an_error_that_names_the_variable(
    command: str,
    variable: str,
    end: str,
    folder: Path,
    echo: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, PLANTED[variable] + end)
    config = write_config(folder, api=echo, spaces=spaces(echo))
    read_token_only(monkeypatch)
    printed = check_failure([command, "--config", str(config)], capfd, codes={2})
    assert printed.count(f"{variable}: has white space") >= 3


@pytest.mark.parametrize("value", ["", ".a.b", f".{'e30' * 9}.{MARK}"])
def test_an_identity_token_that_is_none_is_not_printed(
    value: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", PLANTED["SIGSTORE_ID_TOKEN"] + value)
    read_token_only(monkeypatch)
    check_failure(["sign", "--config", str(write_config(folder))], capfd, codes={2})


def read_token_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `sign` begin with the token: a whole build is tested elsewhere."""
    monkeypatch.setattr(sign, "build_records", lambda config: ())
    monkeypatch.setattr(
        sign, "sign_release", lambda *_, environment, **__: job_of(environment, lambda: None)
    )


@pytest.mark.parametrize(
    "error", [RuntimeError(f"of a\nlibrary {TOKEN}"), RecursionError(), AssertionError("\x1b[2J")]
)
def test_an_unexpected_exception_is_one_line(
    error: Exception,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def run(arguments: object, console: object) -> int:
        raise error

    monkeypatch.setattr(trust, "run", run)
    printed = check_failure(["trust"], capfd, codes={70})
    assert f"error: internal error: {type(error).__name__}: " in printed
    assert "please report it" in printed


BAD_NAMES = ["\udcff\x1b[2J\u202e", "n" * 238, "n" * 300, "a\nb", "locked/file"]
NAMED = [
    "verify --repository a/b dist/NAME",
    "verify --repository a/b --trust-root NAME dist",
    "verify --repository a/b --policy NAME dist",
    "verify --repository a/b --config NAME dist",
    "verify --repository a/b --save NAME http://127.0.0.1:1/v1",
    "verify --repository a/b --keys NAME --deep dist",
    "verify --repository a/b --tag NAME dist",
    "trust --trust-root NAME",
    "trust --update --tuf http://127.0.0.1:1 --tuf-root NAME",
    "explain NAME NAME",
    "inspect NAME",
    "diff NAME NAME",
    "store verify --config NAME",
    "archive --config NAME",
    "sign --config NAME",
    "publish --config NAME",
    "pin --config NAME",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=["not UTF-8", "238", "300", "line end", "locked"])
@pytest.mark.parametrize("words", NAMED)
def test_an_odd_name_is_one_line(
    words: str, name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    locked = folder / "locked"
    locked.mkdir(mode=0o000)
    argv = [word.replace("NAME", name) for word in words.split()]
    try:
        check_failure(argv, capfd, codes={1, 2})
    finally:
        locked.chmod(0o700)
    assert not any(part.name.startswith(".verify") for part in folder.iterdir())
