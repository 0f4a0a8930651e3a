"""The summary has what the steps so far made, and nothing that a name could add."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from build.errors import SnowdropError
from ci.__main__ import main
from ci.config import read_config
from ci.publish.notes import release_notes
from ci.publish.release_files import read_release
from ci.publish.summary import Summary, format_summary, read_summary
from ci.release.lock_diff import compare_locks
from ci.report.actions import write_outputs, write_summary
from tests.publish.release import (
    COMMIT,
    IMAGE,
    REPOSITORY,
    VERSION,
    Counted,
    write_config,
    write_inventory,
    write_release,
)
from tests.snapshot.conftest import lock_of, locked

RECORD = {
    "format": 1,
    "version": VERSION,
    "lock": {"id": "1" * 64},
    "source": {"commit": COMMIT},
    "image": {"file": IMAGE, "size": 33_200_000, "sha256": "2" * 64},
}
REPORT = {
    "format": 1,
    "image": {"file": IMAGE},
    "checks": [{"passed": True}, {"passed": True}],
    "seconds": {"kernel": 7.04, "network": 21.8, "ssh": 30.0, "shutdown": None},
    "faults": [{"passed": True}, {"passed": False}],
    "ports": ["22/tcp"],
}
SPACES = {
    "bucket": "mirror",
    "region": "fra1",
    "endpoint": "https://fra1.example.org",
    "public_url": "https://mirror.fra1.example.org",
}


def test_it_grows_from_step_to_step(tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path, spaces=SPACES))
    assert format_summary(read_summary(config)) == ""
    config.dist.mkdir()
    (config.dist / "a.build.json").write_text(json.dumps(RECORD))
    built = format_summary(read_summary(config))
    assert built.startswith(f"## {VERSION}\n\nBuilt from commit `{COMMIT}`")
    assert f"| `{IMAGE}` | 33.2 MB | {'2' * 64} |" in built

    (config.dist / "a.boot.json").write_text(json.dumps(REPORT))
    booted = format_summary(read_summary(config))
    row = "2 of 2 passed | 7.0 s | 21.8 s | 30.0 s | - | 1 of 2 passed |"
    assert booted == built.rstrip() + "\n\n" + booted.removeprefix(built).lstrip()
    assert row in booted

    before = lock_of(locked("musl", 1))
    after = lock_of(locked("musl", 1, "1.1-r0"))
    write_release(tmp_path, since=compare_locks(before, after, names=("v1", VERSION)))
    signed = format_summary(read_summary(config))
    assert signed.startswith(booted.rstrip())
    assert "| upgraded | musl | 1.0-r0 | 1.1-r0 |" in signed
    assert f"nox -s verify -- {VERSION} --repository {REPOSITORY}" in signed
    assert f"https://mirror.fra1.example.org/{VERSION}/{IMAGE}" in signed


def test_a_name_cannot_leave_its_cell() -> None:
    record = {**RECORD, "image": {**RECORD["image"], "file": "a`|b\n# c"}}  # type: ignore[dict-item]
    text = format_summary(Summary(builds=[record]))
    assert "\n# c" not in text
    assert "`a\\|b\\n# c`" in text


def test_files_of_a_step_are_appended_and_only_where_github_wants_them(tmp_path: Path) -> None:
    summary, output = tmp_path / "summary", tmp_path / "output"
    environment = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output)}
    for text in ("## one", "## two"):
        write_summary(environment, text)
    write_outputs(environment, {"changed": "true"})
    assert summary.read_text() == "## one\n\n## two\n\n"
    assert output.read_text() == "changed=true\n"
    write_summary({}, "## nowhere")
    with pytest.raises(SnowdropError, match="has a line end"):
        write_outputs(environment, {"a": "b\nc=d"})


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda dist: (dist / "more").write_text("x"), "more: sha256 .*lists in no list"),
        (lambda dist: (dist / IMAGE).unlink(), "lists"),
        (lambda dist: (dist / IMAGE).write_text("another image"), f"{IMAGE}: sha256"),
        (lambda dist: (dist / "link").symlink_to("/etc/passwd"), "link: not a file"),
    ],
)
def test_an_exchanged_artifact_is_refused(
    damage: Callable[[Path], object],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dist, config = write_release(tmp_path), str(write_config(tmp_path))
    output = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    assert main(["artifacts", "--config", config]) == 0
    listed = output.read_text().strip().removeprefix("files=")
    words = ["artifacts", "--config", config, "--check", listed]
    assert main(words) == 0
    damage(dist)
    capsys.readouterr()
    assert main(words) == 1
    assert re.search(problem, capsys.readouterr().err)


def test_lists_of_two_jobs_are_read_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dist, config = write_release(tmp_path), str(write_config(tmp_path))
    assert main(["artifacts", "--config", config, "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == len(list(dist.iterdir()))
    first = {name: sha256 for name, sha256 in files.items() if name != IMAGE}
    second = {IMAGE: files[IMAGE], "release.json": files["release.json"]}
    lists = [json.dumps(first), json.dumps(second)]
    assert main(["artifacts", "--config", config, "--check", *lists]) == 0
    second["release.json"] = "0" * 64
    lists[1] = json.dumps(second)
    assert main(["artifacts", "--config", config, "--check", *lists]) == 1
    assert "two jobs list it" in capsys.readouterr().err
    for wrong in ("", "[]", '{"../a": "x"}', '{"a": "x"}'):
        assert main(["artifacts", "--config", config, "--check", wrong]) == 2


def test_it_says_what_is_in_the_image_in_the_words_of_the_release_notes(tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path, spaces=SPACES))
    write_inventory(write_release(tmp_path))
    record = {**RECORD, "variant": "droplet", "raw": {"size": 1 << 30}}
    (config.dist / "a.build.json").write_text(json.dumps(record))
    (config.dist / "a.boot.json").write_text(json.dumps(REPORT))
    found = format_summary(read_summary(config))
    notes = release_notes(config, read_release(config, Counted()))
    part = notes.partition(f"## What is in {IMAGE}\n\n")[2].partition("\n- First login")[0]
    assert part.startswith("- Linux 6.18.3-0-virt; 2 packages")
    assert f"### What is in `{IMAGE}`\n\n{part}\n- First login 30 s after" in found
    assert "doctl compute image create snowdrop" in found
