"""The `verify` command: the trusted signer is named, and nothing unverified is kept."""

import functools
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from build.errors import VerificationError
from ci.__main__ import main
from ci.commands.verify import no_socket
from ci.release.manifest import PROVENANCE_BUNDLE, boot_bundle, bundle_name
from ci.verify.findings import Findings, SignatureOnlyError, Verdict
from ci.verify.release import Expectation, verify_image
from ci.verify.trust.bundles import Trust
from ci.verify.trust.policy import TrustedSigner
from tests import skips
from tests.verify.attacks.facts import dirty_release
from tests.verify.conftest import Output, Quiet, Serve
from tests.verify.stage import IMAGE, NEW, OLD, REPOSITORY, Scene, Stage, stem

ROOT = Path(__file__).parents[2]
Ask = Callable[[Scene], Output]


def ci(words: Sequence[str], *around: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ci WORDS` in a process of its own, behind the words `around`."""
    return subprocess.run(
        [*around, sys.executable, "-m", "ci", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def at_github(scene: Scene, serve: Serve, tag: str, folder: Path) -> str:
    """Serve `folder` as the files of the release `tag`, and return the page's address."""
    root = scene.place / f"web-{tag}"
    shutil.copytree(folder, root / REPOSITORY / "releases" / "download" / tag)
    return f"{serve(root)}/{REPOSITORY}/releases/tag/{tag}"


def remote(scene: Scene, target: str, *words: str) -> Scene:
    """Let the scene verify what is served at `target`."""
    scene.target, scene.words = target, list(words)
    return scene


@pytest.mark.skipif(shutil.which("strace") is None, reason=skips.TOOL)
def test_offline_opens_no_socket(scene: Scene) -> None:
    """No network call is seen by strace, from the first import to the last line."""
    trace = scene.place / "trace"
    watch = ["strace", "-f", "-qq", "-e", "trace=%network", "-o", str(trace)]
    scene.words += ["--deep"]
    done = ci(scene.argv, *watch)
    assert (done.returncode, trace.read_text()) == (0, "")
    assert f"{scene.folder}: verified," in done.stdout
    ci(["verify", "http://127.0.0.1:9", "--repository", REPOSITORY], *watch)
    assert "socket(AF_INET" in trace.read_text(), "strace sees what opens one"


def test_offline_refuses_what_would_open_a_socket() -> None:
    with no_socket(), pytest.raises(PermissionError, match="--offline"):
        socket.socket()
    socket.socket().close()


def test_a_folder_verifies_where_there_is_no_network(scene: Scene) -> None:
    alone = ["unshare", "--net", "--map-root-user", "--user"]
    probe = subprocess.run([*alone, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(skips.NAMESPACES)
    done = ci(scene.argv, *alone)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_refusal_prints_what_was_expected_and_what_it_means(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene / IMAGE).write_bytes(b"QFI\xfb imagE")
    assert main(scene.argv) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["result", "check", "expected"]
    assert f"FAILED digest of {IMAGE}" in out
    assert "meaning  these are not the bytes that were signed" in out
    assert out.rstrip().splitlines()[-1].startswith(f"{scene.folder}: REFUSED")


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


def test_a_policy_file_is_written_and_printed_once_and_required_from_then_on(
    scene: Scene, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = scene.place / "trusted" / "policy.toml"
    scene.words += ["--policy", str(policy)]
    assert main(scene.argv) == 0
    shown = capsys.readouterr().out
    assert policy.read_text() in shown
    assert 'repository_id = "700000001"\nowner_id = "600000001"\n' in policy.read_text()
    assert shown.rstrip().splitlines()[-1].startswith(f"{scene.folder}: verified")
    before = policy.read_text()
    words = ["verify", scene.target, "--policy", str(policy), "--trust-root"]
    assert main([*words, str(scene.trust_root)]) == 0
    assert "repository number" in capsys.readouterr().out
    scene.resign(scene.stage.mint.claiming(repository_id="700000002"))
    output = ask(scene)
    assert output.failed == {"repository number": "700000002"}
    assert policy.read_text() == before


def test_a_policy_file_is_not_written_from_what_was_refused(scene: Scene, ask: Ask) -> None:
    policy = scene.place / "policy.toml"
    (scene / IMAGE).unlink()
    scene.words += ["--policy", str(policy)]
    assert ask(scene).code == 1
    assert not policy.exists()


def test_a_certificate_without_numbers_makes_no_policy_file(scene: Scene, ask: Ask) -> None:
    scene.resign(scene.stage.mint.claiming(repository_id='1"\nissuer = "x'))
    scene.words += ["--policy", str(scene.place / "policy.toml")]
    output = ask(scene)
    assert output.code == 1
    assert output.failed == {"repository number": '1"\\nissuer = "x'}
    assert not (scene.place / "policy.toml").exists()


def remembering(scene: Scene) -> Path:
    """Let the scene verify with a policy file, and return its path."""
    policy = scene.place / "policy.toml"
    scene.words += ["--policy", str(policy)]
    return policy


def test_a_policy_file_remembers_the_newest_release_of_its_line(scene: Scene, ask: Ask) -> None:
    policy = remembering(scene)
    scene.target = str(scene.stage.old)
    assert ask(scene).code == 0
    assert f'[newest."v3.24"]\ntag = "{OLD}"\n' in policy.read_text()
    scene.target = str(scene.folder)
    assert ask(scene).code == 0
    assert f'[newest."v3.24"]\ntag = "{NEW}"\n' in policy.read_text()
    before = policy.read_text()
    scene.target = str(scene.stage.old)
    output = ask(scene)
    assert output.code == 1
    assert list(output.failed) == ["age of the release"]
    scene.words += ["--allow-older"]
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})
    assert any(
        f"older than {NEW}, which was verified before" in n for n in output.document["notes"]
    )
    assert policy.read_text() == before, "an accepted older release is not remembered"


def test_another_line_is_neither_older_nor_newer(scene: Scene, ask: Ask) -> None:
    policy = remembering(scene)
    assert ask(scene).code == 0
    other = policy.read_text().replace('"v3.24"', '"v3.25"').replace(NEW, "v3.25.20270101")
    policy.write_text(other)
    assert ask(scene).code == 0
    assert "v3.25.20270101" in policy.read_text()
    assert NEW in policy.read_text()


def test_a_policy_file_of_before_is_completed(scene: Scene, ask: Ask) -> None:
    policy = remembering(scene)
    assert ask(scene).code == 0
    complete = policy.read_text()
    policy.write_text(complete.partition("\n[newest")[0])
    assert ask(scene).code == 0
    assert policy.read_text() == complete


def test_a_policy_file_is_written_before_anything_is_kept(
    scene: Scene, ask: Ask, serve: Serve
) -> None:
    (scene.place / "file").touch()
    kept = scene.place / "kept"
    words = ["--save", str(kept), "--policy", str(scene.place / "file" / "policy.toml")]
    output = ask(remote(scene, serve(scene.folder), *words))
    assert output.code == 2
    assert "not written" in output.err
    assert not kept.exists()


@pytest.mark.parametrize("number", ["repository_id", "repository_owner_id"])
def test_a_release_without_numbers_is_not_kept(
    scene: Scene, ask: Ask, serve: Serve, number: str
) -> None:
    scene.resign(scene.stage.mint.claiming(**{number: "x"}))
    kept, policy = scene.place / "kept", scene.place / "policy.toml"
    before = sorted(scene.place.rglob("*"))
    words = ["--save", str(kept), "--policy", str(policy)]
    assert ask(remote(scene, serve(scene.folder), *words)).code == 1
    assert sorted(scene.place.rglob("*")) == before


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


def test_a_configuration_must_not_name_trust_that_came_with_the_release(
    scene: Scene, ask: Ask, stage: Stage
) -> None:
    for name in ("trusted_root.json", "signing_config.json"):
        shutil.copyfile(stage.root / "sigstore" / name, scene / name)
    text = (stage.root / "release.toml").read_text()
    mine = scene.place / "mine.toml"
    shutil.copytree(stage.keys, scene.place / "keys")
    for old, new, what in (
        ("sigstore/trusted_root.json", "release/trusted_root.json", "[sign] trust_root"),
        ('keys = "keys"', 'keys = "release/keys"', "[snapshot] keys"),
    ):
        assert old in text
        mine.write_text(text.replace(old, new))
        output = ask(remote(scene, str(scene.folder), "--config", str(mine)))
        assert output.code == 2
        assert what in output.err
        assert "is part of the target, which must not determine trust" in output.err


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


def test_an_import_asks_for_all_checks(scene: Scene, stage: Stage) -> None:
    expected = Expectation(signer=TrustedSigner(repository=REPOSITORY), tag=NEW)
    trust = Trust(stage.trust_root)
    image = scene / IMAGE
    findings = verify_image(image, trust, expected)
    assert findings.verdict is Verdict.VERIFIED
    findings.require_verified(IMAGE)
    (scene / boot_bundle(IMAGE)).unlink()
    with pytest.raises(SignatureOnlyError, match=rf"lacking {boot_bundle(IMAGE)}") as caught:
        verify_image(image, trust, expected).require_verified(IMAGE)
    assert caught.value.exit_code == 4
    image.write_bytes(b"QFI\xfb other")
    with pytest.raises(VerificationError, match=f"refused: digest of {IMAGE}"):
        verify_image(image, trust, expected).require_verified(IMAGE)
    with pytest.raises(VerificationError, match="nothing was checked"):
        Findings().require_verified(IMAGE)


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


def test_one_image_with_all_of_its_bundles(scene: Scene, ask: Ask) -> None:
    scene.target = str(scene / IMAGE)
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})
    assert {
        f"entry of {IMAGE}",
        f"digest of {IMAGE}",
        "provenance",
        f"boot report of {IMAGE}",
        f"SBOM of {IMAGE}",
    } <= set(output.names)
    assert output.document["verdict"] == "verified"


def test_trusted_files_may_lie_below_the_folder_of_an_image(scene: Scene) -> None:
    """As in a home folder; but a file beside the image is refused."""
    words = ["verify", str(scene / IMAGE), "--repository", REPOSITORY, "--trust-root"]
    for name, code in (("mine/root.json", 0), ("root.json", 2)):
        (scene / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(scene.trust_root, scene / name)
        assert main([*words, str(scene / name)]) == code


def test_one_image_with_its_own_bundle_alone(scene: Scene, ask: Ask) -> None:
    alone = scene.place / "alone"
    alone.mkdir()
    for name in (IMAGE, bundle_name(IMAGE)):
        shutil.copyfile(scene / name, alone / name)
    scene.target = str(alone / IMAGE)
    scene.words += ["--tag", NEW]
    policy = scene.place / "policy.toml"
    scene.words += ["--policy", str(policy)]
    output = ask(scene)
    assert (output.code, output.failed) == (4, {})
    assert (output.document["verdict"], output.document["verified"]) == ("signature only", False)
    assert output.document["missing"] == [
        *("release.json", "SHA256SUMS", "SHA256SUMS.sigstore.json"),
        *(PROVENANCE_BUNDLE, boot_bundle(IMAGE)),
    ]
    assert not policy.exists(), "nothing is remembered of it"


@pytest.mark.parametrize(
    ("damage", "words", "check"),
    [
        (lambda scene: (scene / IMAGE).write_bytes(b"QFI"), [], f"digest of {IMAGE}"),
        (lambda scene: (scene / bundle_name(IMAGE)).unlink(), [], f"signature of {IMAGE}"),
        (
            lambda scene: scene.resign(scene.stage.foreign, PROVENANCE_BUNDLE),
            [],
            "provenance",
        ),
        (
            lambda scene: scene.restate(
                PROVENANCE_BUNDLE,
                lambda said: said["subject"].pop(0) and said["subject"].clear(),
            ),
            [],
            "provenance",
        ),
        (
            lambda scene: scene.restate(
                boot_bundle(IMAGE), lambda said: said["predicate"].update(result="FAILED")
            ),
            [],
            f"boot report of {IMAGE}",
        ),
    ],
    ids=[
        "image",
        "no bundle",
        "provenance elsewhere",
        "no subject",
        "boot failed",
    ],
)
def test_one_image_is_refused(
    scene: Scene,
    ask: Ask,
    damage: Callable[[Scene], object],
    words: list[str],
    check: str,
) -> None:
    damage(scene)
    scene.target = str(scene / IMAGE)
    scene.words += words
    output = ask(scene)
    assert output.code == 1
    assert check in output.failed


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
        (("no such thing", "--repository", "a/b"), "neither a folder, nor an image"),
        (("a" * 300 + "/b", "--repository", "a/b"), "neither a folder, nor an image"),
        ((NEW,), "no trusted repository was named"),
        ((NEW, "--repository", "nobody"), "--repository nobody: expected OWNER/REPO"),
        ((".", "--repository", "a/b", "--save", "x"), "the target is a file already"),
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
