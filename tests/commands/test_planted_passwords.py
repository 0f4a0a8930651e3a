"""A planted password is in no file and no output of 30 situations, successful ones and failures."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from build.firstboot.packages import DEPENDS
from build.snapshot.pin import PinRequest
from tests.commands.conftest import Project, Result
from tests.snapshot.served import (
    Mirror,
    Reply,
    answer,
    apk_package,
    made,
    mirror_of,
    publish,
    reset_halfway,
    scripted,
    whole,
    with_bytes,
)

USER, PASSWORD = "mirror-user", "hunter2/p@ss=word"
PAIR = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
FORMS = (PASSWORD, PAIR, quote(PASSWORD, safe=""), quote(PASSWORD), "hunter2")
TAIL = "v3.19/main"
INDEX, HELLO = "APKINDEX.tar.gz", "hello-1.0-r0.apk"
NAMES = sorted({*DEPENDS, "hello", "e2fsprogs"})


@dataclass(frozen=True)
class Place:
    """A project with a mirror that wants credentials, which are in a netrc."""

    project: Project
    mirror: Mirror
    netrc: Path
    environment: pytest.MonkeyPatch

    @property
    def url(self) -> str:
        """The repository's address."""
        return f"{self.mirror.url}/{TAIL}"

    def ci(self, *words: str | Path) -> Result:
        """Run a command."""
        return self.project.ci(*words)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    publish(folder, apk_package(), *map(made, NAMES), tail=TAIL)
    return folder


@pytest.fixture
def place(project: Project, served: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    engine = SimpleNamespace(engine=scripted(Path(), ()))
    monkeypatch.setattr("ci.commands.pin.choose_engine", lambda *_, **__: engine)
    monkeypatch.setattr("ci.commands.pin.PinRequest", partial(PinRequest, sleep=lambda _: None))
    monkeypatch.setattr("time.sleep", lambda _: None)
    netrc = project.folder.parent / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with mirror_of(served) as mirror:
        project.configure(f"{mirror.url}/{TAIL}", packages=("hello",))
        yield Place(project, mirror, netrc, monkeypatch)


def echo(status: int, header: str) -> Reply:
    """Return a server that repeats what it was sent, in a header, the reason and the body."""

    def reply(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        sent = handler.headers.get("Authorization", "")
        body = content if status == 200 else f"{sent} {PASSWORD}".encode()
        handler.wfile.write(
            f'HTTP/1.1 {status} {sent} {PASSWORD}\r\n{header}: "{sent}{PASSWORD}"\r\n'
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    return reply


def pin(file: str, *replies: Reply, words: tuple[str, ...] = ()) -> Callable[[Place], Result]:
    """Return a situation: a pin in which the mirror sends `replies` for one file."""

    def run(place: Place) -> Result:
        place.mirror.fault(file, *replies)
        return place.ci("pin", *words)

    return run


def configured(key: str) -> Callable[[Place], Result]:
    """Return a situation: a URL with the password in release.toml."""

    def run(place: Place) -> Result:
        file = place.project.folder / "release.toml"
        url = f"https://{USER}:{quote(PASSWORD, safe='')}@mirror.example/alpine"
        text = file.read_text()
        file.write_text(text.replace("keys =", f"{key} = ['{url}']\nkeys =", 1))
        result = place.ci("pin")
        file.write_text(text)
        return result

    return run


def proxied(proxy: str) -> Callable[[Place], Result]:
    """Return a situation: a proxy with the password, at the mirror's or another address."""

    def run(place: Place) -> Result:
        place.netrc.write_text("")
        address = proxy.replace("MIRROR", place.mirror.url.removeprefix("http://"))
        place.environment.setenv("http_proxy", address.replace("PW", quote(PASSWORD, safe="")))
        for variable in ("no_proxy", "NO_PROXY"):
            place.environment.setenv(variable, "")
        return place.ci("pin", "--debug")

    return run


def after_pin(*words: str, file: str = "", reply: Reply = whole) -> Callable[[Place], Result]:
    """Return a situation: a command after a pin, with an empty store if `file` has a fault."""

    def run(place: Place) -> Result:
        assert place.ci("pin").status == 0
        if file:
            for blob in place.project.store.folder.glob("??/*"):
                blob.unlink()
            place.mirror.fault(file, *[reply] * 9)
        url = f"{place.mirror.url}/release.lock"
        return place.ci(*[word.replace("URL", url) for word in words])

    return run


def broken_netrc(place: Place) -> Result:
    place.netrc.write_text(f"machine 127.0.0.1 login {USER} {PASSWORD}\n{PASSWORD}\n")
    return place.ci("pin", "--debug")


def locked(place: Place) -> Result:
    """A lock with the password in a URL."""
    assert place.ci("pin").status == 0
    lock = place.project.folder / "release.lock"
    text = lock.read_text()
    lock.write_text(text.replace("http://", f"http://{USER}:{quote(PASSWORD, safe='')}@"))
    result = place.ci("pin", "--check", "--debug")
    lock.write_text(text)
    return result


GOOD, BAD = 0, None
SITUATIONS: dict[str, tuple[Callable[[Place], Result], int | None]] = {
    "pin": (pin(INDEX), GOOD),
    "pin --json": (pin(INDEX, words=("--json",)), GOOD),
    "pin --debug": (pin(INDEX, words=("--debug",)), GOOD),
    "pin, resumed": (pin(HELLO, reset_halfway), GOOD),
    "pin twice": (after_pin("pin"), GOOD),
    "pin --check": (after_pin("pin", "--check"), GOOD),
    "pin --replace": (after_pin("pin", "--replace"), GOOD),
    "echo in an ETag": (pin(INDEX, echo(200, "ETag")), GOOD),
    "echo in Last-Modified": (pin(INDEX, echo(200, "Last-Modified")), GOOD),
    "echo in an ETag of a package": (pin(HELLO, echo(200, "ETag")), GOOD),
    "401": (pin(INDEX, answer(401)), BAD),
    "403 with an echo": (pin(INDEX, echo(403, "X")), BAD),
    "404 with an echo": (pin(INDEX, echo(404, "X")), BAD),
    "500 with an echo": (pin(INDEX, *[echo(500, "X")] * 3), BAD),
    "302 with an echo": (pin(INDEX, echo(302, "Location"), words=("--debug",)), BAD),
    "206 with an echo": (pin(HELLO, reset_halfway, *[echo(206, "Content-Range")] * 9), BAD),
    "wrong bytes": (pin(HELLO, with_bytes(lambda c: c[:-1] + b"x"), words=("--debug",)), BAD),
    "too long": (pin(INDEX, answer(200, b"", {"Content-Length": "99999999"})), BAD),
    "password in repositories": (configured("mirrors"), BAD),
    "password in an unknown key": (configured("mirror"), BAD),
    "password in the lock": (locked, BAD),
    "proxy": (proxied("http://me:PW@MIRROR"), BAD),
    "proxy that is down": (proxied("http://me:PW@127.0.0.1:1"), BAD),
    "proxy that is malformed": (proxied("http://me:PW@"), BAD),
    "netrc that is malformed": (broken_netrc, GOOD),
    "archive": (after_pin("archive"), GOOD),
    "archive of an empty store": (after_pin("archive", file=HELLO), GOOD),
    "archive, mirror echoes": (after_pin("archive", file=HELLO, reply=echo(403, "X")), BAD),
    "diff with a URL": (after_pin("diff", "URL", "--debug"), BAD),
    "diff --json with a URL": (after_pin("diff", "URL", "--json"), BAD),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_planted_password_is_in_no_file_and_no_output(name: str, place: Place) -> None:
    situation, status = SITUATIONS[name]
    result = situation(place)
    assert (result.status == 0) is (status == GOOD), result
    sent = [headers.get("Authorization", "") for _, headers in place.mirror.asked]
    if name not in ("proxy", "proxy that is down", "proxy that is malformed") and sent:
        assert f"Basic {PAIR}" in sent or name == "netrc that is malformed"
    files = [path for path in place.project.folder.rglob("*") if path.is_file()]
    texts = {"output": result.out + result.err}
    texts |= {str(path): path.read_bytes().decode("latin-1") for path in files}
    for where, text in texts.items():
        for form in FORMS:
            assert form not in where + text, (form, where)
    if name in ("pin", "archive"):
        kinds = {path.suffix for path in files}
        assert {".lock", ".json"} <= kinds
        assert (".tar" in kinds) is (name == "archive")
