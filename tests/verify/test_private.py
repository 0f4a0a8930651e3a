"""The release of a private repository is verified with a token, which goes to the API alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from build.edges.progress import Silent
from ci.__main__ import main
from ci.config import read_config
from ci.publish.attestations import AttestationStore
from ci.publish.github_release import ReleaseHost
from ci.publish.publish import publish_release
from ci.publish.release_files import read_release
from ci.rehearsal.github import server
from ci.rehearsal.github.state import World
from tests.publish.release import world_in
from tests.publish.test_adopt import CONFIG
from tests.verify.stage import NEW, REPOSITORY, Stage

TOKEN = "token-of-a-reader"  # noqa: S105


@pytest.fixture
def world(tmp_path: Path, stage: Stage) -> Iterator[World]:
    """The release in a private repository; `tmp_path` has the configuration that names it."""
    world = world_in(tmp_path)
    world.repository = REPOSITORY
    world.tags[NEW] = stage.commits[NEW]
    with server.running(world) as api:
        text = f'{CONFIG}[github]\napi = "{api}"\n[sign]\ntrust_root = "{stage.trust_root}"\n'
        text += f'signing_config = "{stage.trust_root}"\n'
        file = tmp_path / "release.toml"
        file.write_text(text.replace("[snapshot]", f'dist = "{stage.new}"\n[snapshot]'))
        release = read_release(read_config(file), Silent())
        host = ReleaseHost(api, REPOSITORY, "any", wait=lambda seconds: None)
        store = AttestationStore(api, REPOSITORY, "any", wait=lambda seconds: None)
        publish_release(
            host, store, release, "notes", replace=False, verify=lambda _: [], progress=Silent()
        )
        world.settings.private = True
        yield world
    assert world.violations == []


def verify(folder: Path, tag: str = NEW) -> int:
    config = str(folder / "release.toml")
    return main(["verify", tag, "--config", config, "--save", str(folder / "saved")])


def test_without_a_token_it_is_not_found(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    assert verify(tmp_path) == 1
    assert "a private one needs GITHUB_TOKEN" in capsys.readouterr().err
    assert world.settings.private


def test_with_a_token_it_is_verified(
    world: World,
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    # The double refuses a request for the bytes themselves that has a token, as GitHub does.
    assert verify(tmp_path) == 0, capsys.readouterr().err
    saved = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    assert saved == {path.name: path.read_bytes() for path in stage.new.iterdir()}
    assert verify(tmp_path, "v3.24.20200101") != 0
    assert world.settings.private


def test_no_other_server_gets_the_token(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mirror that has no such file is not asked again with a token."""
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    asked: list[str] = []
    run = server.Application.__call__

    def watch(self: server.Application, request: Request) -> Response:
        asked.append(request.headers.get("Authorization", ""))
        return run(self, request)

    monkeypatch.setattr(server.Application, "__call__", watch)
    with server.running(World(tmp_path / "other", "other/mirror", world.clock)) as other:
        url = f"{other}/{REPOSITORY}/releases/download/{NEW}"
        config = str(tmp_path / "release.toml")
        assert main(["verify", url, "--config", config]) != 0
    assert asked
    assert set(asked) == {""}
    assert stage.new.is_dir()
    capsys.readouterr()
