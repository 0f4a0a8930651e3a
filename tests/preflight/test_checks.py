"""A check that ends in an internal error takes no row of the others with it."""

import json
from pathlib import Path

import pytest

from ci.__main__ import main
from ci.commands import doctor, preflight
from tests.publish.release import write_config


def defect(*_: object) -> str:
    raise ValueError("of a\nlibrary")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(doctor, "check_tools", defect)
    monkeypatch.setattr(preflight, "check_bucket", defect)
    monkeypatch.setattr(preflight, "check_room", lambda _: "room enough")
    monkeypatch.setattr(doctor, "check_room", lambda _: "room enough")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    return write_config(tmp_path, api="http://127.0.0.1:1")


@pytest.mark.parametrize(("command", "name"), [("preflight", "bucket"), ("doctor", "programs")])
def test_the_other_rows_are_printed_before_the_internal_error(
    command: str, name: str, config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--config", str(config)]) == 70
    out, err = capfd.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert ["FAILED", name, "internal", "error:", "ValueError:"] in [row[:5] for row in rows]
    assert ["ok", "room", "room", "enough"] in rows
    assert err.startswith("error: internal error: ValueError: of a library, please report it")
    assert "Traceback" not in out + err


def test_the_document_has_all_rows_and_the_error(
    config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["preflight", "--json", "--debug", "--config", str(config)]) == 70
    out, err = capfd.readouterr()
    document = json.loads(out)
    found = {each["name"]: each["state"] for each in document["checks"]}
    assert (found["bucket"], found["room"]) == ("FAILED", "ok")
    assert document["error"].startswith("internal error: ValueError")
    assert document["mirror"] is False
    assert "in defect" in err
