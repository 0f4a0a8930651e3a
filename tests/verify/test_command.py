"""The `verify` command: the trusted signer is named, and nothing unverified is kept."""

import functools
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ci.__main__ import main
from ci.release.manifest import PROVENANCE_BUNDLE
from tests.verify.attacks.facts import dirty_release
from tests.verify.conftest import Output, Quiet, Serve, remote
from tests.verify.stage import IMAGE, NEW, OLD, REPOSITORY, Scene, Stage, stem

ROOT = Path(__file__).parents[2]
Ask = Callable[[Scene], Output]


def at_github(scene: Scene, serve: Serve, tag: str, folder: Path) -> str:
    """Serve `folder` as the files of the release `tag`, and return the page's address."""
    root = scene.place / f"web-{tag}"
    shutil.copytree(folder, root / REPOSITORY / "releases" / "download" / tag)
    return f"{serve(root)}/{REPOSITORY}/releases/tag/{tag}"


def test_a_refusal_prints_what_was_expected_and_what_it_means(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene / IMAGE).write_bytes(b"QFI\xfb imagE")
    assert main(scene.argv) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[1].startswith("ok: ")
    assert len(out.splitlines()) < 20
    assert f"FAILED digest of {IMAGE}" in out
    assert "meaning  these are not the bytes that were signed" in out
    assert out.rstrip().splitlines()[-1].startswith(f"{scene.folder}: REFUSED")
    assert main([*scene.argv, "--all"]) == 1
    every = capsys.readouterr().out
    assert every.splitlines()[1].split() == ["result", "check", "expected"]
    assert every.count("\nok ") > 20


def test_a_release_page_a_tag_an_image_and_a_mirror_are_the_same_release(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    page = at_github(scene, serve, NEW, scene.folder)
    files = page.replace("/tag/", "/download/")
    for target in (page, files, f"{files}/SHA256SUMS", f"{files}/{IMAGE}"):
        output = ask(remote(scene, target))
        assert (output.code, output.failed) == (0, {}), target


def test_the_older_release_under_the_new_tag_is_refused(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    """GitHub, or who answers in its name, serves a release that was good once."""
    output = ask(remote(scene, at_github(scene, serve, NEW, scene.stage.old)))
    assert output.failed["source ref"] == f"refs/tags/{OLD}"


def test_a_mirror_that_serves_the_older_release_is_refused(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    shutil.copytree(scene.stage.old, scene.place / "mirror" / NEW)
    output = ask(remote(scene, f"{serve(scene.place / 'mirror')}/{NEW}"))
    assert output.failed["source ref"] == f"refs/tags/{OLD}"


def test_a_mirror_that_serves_the_former_image_is_refused(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    shutil.copyfile(scene.stage.old / f"{stem(OLD)}.qcow2", scene / IMAGE)
    output = ask(remote(scene, serve(scene.folder)))
    assert list(output.failed) == [f"digest of {IMAGE}"]


def test_the_download_command_keeps_what_it_verified(scene: Scene, ask: Ask, serve: Serve) -> None:
    kept = scene.place / "kept"
    output = ask(remote(scene, serve(scene.folder), "--save", str(kept), "--deep"))
    assert output.code == 0
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        path.name: path.read_bytes() for path in scene.folder.iterdir()
    }


@pytest.mark.parametrize("damage", [IMAGE, "SHA256SUMS", PROVENANCE_BUNDLE])
def test_the_download_command_keeps_nothing_that_it_refused(
    scene: Scene, ask: Ask, serve: Serve, damage: str
) -> None:
    content = bytearray((scene / damage).read_bytes())
    content[9] ^= 1
    (scene / damage).write_bytes(content)
    before = sorted(scene.place.rglob("*"))
    output = ask(remote(scene, serve(scene.folder), "--save", str(scene.place / "kept")))
    assert output.code == 1
    assert sorted(scene.place.rglob("*")) == before


def test_an_interrupted_download_keeps_nothing(scene: Scene) -> None:
    asked, go_on = threading.Event(), threading.Event()

    class Stalling(Quiet):
        """A server that stops in the middle of the image."""

        def copyfile(self, source: Any, outputfile: Any) -> None:  # noqa: ANN401
            if self.path.endswith(IMAGE):
                outputfile.write(source.read(4))
                outputfile.flush()
                asked.set()
                go_on.wait(30)
            else:
                super().copyfile(source, outputfile)

    handler = functools.partial(Stalling, directory=str(scene.folder))
    before = sorted(scene.place.rglob("*"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        target = f"http://127.0.0.1:{server.server_address[1]}"
        words = remote(scene, target, "--save", str(scene.place / "kept")).argv
        process = subprocess.Popen(
            [sys.executable, "-m", "ci", *words],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert asked.wait(60)
        assert sorted(scene.place.rglob("*")) != before
        process.terminate()
        _, output = process.communicate(timeout=30)
        go_on.set()
        server.shutdown()
        thread.join()
    assert process.returncode == 130
    assert output.splitlines()[-1] == "error: interrupted"
    assert sorted(scene.place.rglob("*")) == before


def test_a_longer_file_than_the_manifest_says_is_not_downloaded_to_its_end(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    size = (scene / IMAGE).stat().st_size
    (scene / IMAGE).write_bytes(bytes(size * 2))
    output = ask(remote(scene, serve(scene.folder)))
    assert output.code == 1
    assert f"/{IMAGE}: longer than the {size} bytes expected" in output.err


def test_what_is_both_a_tag_and_a_folder_is_refused(
    scene: Scene, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who types a tag must not get what lies in the working directory."""
    scene.folder.rename(scene.place / NEW)
    monkeypatch.chdir(scene.place)
    output = ask(remote(scene, NEW))
    assert output.code == 2
    assert f"{NEW}: a tag, and also a file or folder here" in output.err
    assert ask(remote(scene, f"./{NEW}")).code == 0
    monkeypatch.chdir(scene.place / NEW)
    scene.words = ["--tag", OLD]
    scene.target = "."
    assert "expected one tag" in ask(scene).err


def test_an_image_of_the_page_of_the_latest_release_names_its_tag(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    root = scene.place / "web"
    for name, source in (("newest", scene.folder), ("older", scene.stage.old)):
        shutil.copytree(source, root / name / "releases" / "latest" / "download")
    address = serve(root)
    for name, code in (("newest", 0), ("older", 1)):
        output = ask(remote(scene, f"{address}/{name}/releases/latest/download/{IMAGE}"))
        assert output.code == code
    assert output.failed["source ref"] == f"refs/tags/{OLD}"


def test_an_image_that_the_release_lacks_is_refused(scene: Scene, ask: Ask, serve: Serve) -> None:
    image = IMAGE.replace("droplet", "desktop")
    output = ask(remote(scene, f"{serve(scene.folder)}/{image}"))
    assert output.failed == {f"entry of {image}": "no such image"}


def test_a_release_of_uncommitted_changes_needs_a_configuration_of_this_machine(
    scene: Scene, ask: Ask, stage: Stage
) -> None:
    """A rehearsal publishes to this machine alone, and its own configuration says so."""
    dirty_release(scene)
    assert list(ask(scene).failed) == ["sources in release.json"]
    text = (stage.root / "release.toml").read_text()
    for api, code in (("http://127.0.0.1:9", 0), ("https://git.example.org/api/v3", 1)):
        mine = stage.root / f"mine-{code}.toml"
        mine.write_text(f'{text}[github]\napi = "{api}"\n')
        output = ask(remote(scene, str(scene.folder), "--config", str(mine)))
        assert output.code == code, output.failed


def test_a_folder_that_cannot_be_written_is_one_line(scene: Scene, ask: Ask, serve: Serve) -> None:
    (scene.place / "file").touch()
    output = ask(remote(scene, serve(scene.folder), "--save", str(scene.place / "file" / "kept")))
    assert output.code == 2
    assert output.err.startswith(f"error: --save {scene.place}/file/kept: ")


def test_a_configuration_in_the_working_directory_is_ignored(
    scene: Scene, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a downloaded folder the working directory holds the attacker's release.toml."""
    scene.resign(stage.foreign)
    shutil.copyfile(stage.root / "release.toml", scene / "release.toml")
    monkeypatch.chdir(scene.folder)
    assert main(["verify", "."]) == 2
    assert "no trusted repository was named" in capsys.readouterr().err
    assert main(["verify", ".", "--repository", REPOSITORY]) == 1
    assert "an authority that the trust root" in capsys.readouterr().out


def test_a_named_configuration_names_the_trusted_signer(
    scene: Scene, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--config", str(stage.root / "release.toml")]
    assert main(["verify", str(scene.folder), *named]) == 0
    assert f"trusting repository {REPOSITORY}" in capsys.readouterr().out
    scene.resign(stage.foreign)
    assert main(["verify", str(scene.folder), *named]) == 1


def test_explain_needs_nothing_to_verify(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--explain"]) == 0
    said = capsys.readouterr().out
    assert "does not prove  that there is no newer release" in said


def test_explain_is_printed_after_the_results(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*scene.argv, "--explain"]) == 0
    said = capsys.readouterr().out
    assert f"\nboot report of {IMAGE}\n  proves          this image started" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no target, expected a folder"),
        (
            ("no such thing", "--repository", "a/b"),
            "no such folder or file, and no http(s)",
        ),
        (
            ("a" * 300 + "/b", "--repository", "a/b"),
            "no such folder or file, and no http(s)",
        ),
        ((NEW,), "no trusted repository was named"),
        ((NEW, "--repository", "nobody"), "--repository nobody: expected OWNER/REPO"),
        ((".", "--repository", "a/b", "--save", "x"), "--save x: . is on this machine, there"),
        ((NEW, "--repository", "a/b", "--offline"), "--offline: https://github.com/a/b"),
        (
            (".", "--repository", "a/b", "--offline", "--refresh"),
            "--offline and --refresh are mutually",
        ),
        ((".", "--repository", "a/b", "--trust-root", "/none"), "/none: no trust root"),
    ],
)
def test_wrong_arguments_are_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
