"""Trust roots are shown, and renewed only with the signatures of TUF's keys."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # no re-export
from tuf.api.metadata import (  # type: ignore[attr-defined]  # no re-export
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from ci.__main__ import main
from ci.rehearsal.sigstore.trust import trusted_root
from ci.verify.trust.bundles import PUBLIC_ROOT
from ci.verify.trust.refresh import Source
from ci.verify.trust.root import read_root
from tests.verify.conftest import Output, Serve
from tests.verify.mint import Json
from tests.verify.stage import REPOSITORY, Scene, Stage

Ask = Callable[[Scene], Output]


class Repository:
    """A TUF repository of one key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer = CryptoSigner.generate_ed25519()
        (folder / "targets").mkdir(parents=True)
        root = Root(expires=self._later())
        for role in ("root", "timestamp", "snapshot", "targets"):
            root.add_key(self.signer.public_key, role)
        self._write("1.root.json", root)

    @property
    def root(self) -> Path:
        """What a client begins with."""
        return self.folder / "1.root.json"

    def publish(self, document: Json, version: int = 1) -> bytes:
        """Offer a trust root, with metadata of that version."""
        content = json.dumps(document).encode()
        target = TargetFile.from_data("trusted_root.json", content)
        name = f"{sha256(content).hexdigest()}.trusted_root.json"
        (self.folder / "targets" / name).write_bytes(content)
        listed = {"trusted_root.json": target}
        targets = Targets(version, expires=self._later(), targets=listed)
        self._write(f"{version}.targets.json", targets)
        meta = {"targets.json": MetaFile(version)}
        snapshot = Snapshot(version, expires=self._later(), meta=meta)
        self._write(f"{version}.snapshot.json", snapshot)
        timestamp = Timestamp(version, expires=self._later(), snapshot_meta=MetaFile(version))
        self._write("timestamp.json", timestamp)
        return content

    def rotate(self) -> None:
        """Replace the key: the next root is signed by the old one and the new one."""
        former = self.signer
        self.signer = CryptoSigner.generate_ed25519()
        root = Root(2, expires=self._later())
        for role in ("root", "timestamp", "snapshot", "targets"):
            root.add_key(self.signer.public_key, role)
        metadata: Metadata[Any] = Metadata(root)
        metadata.sign(former)
        metadata.sign(self.signer, append=True)
        metadata.to_file(str(self.folder / "2.root.json"))

    def _write(self, name: str, signed: Any) -> None:  # noqa: ANN401 - one of tuf's four roles
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(self.signer)
        metadata.to_file(str(self.folder / name))

    def _later(self) -> datetime:
        return (datetime.now(tz=UTC) + timedelta(days=1)).replace(microsecond=0)


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "tuf")


def update(address: str, repository: Repository, root: Path, *words: str) -> int:
    tuf = ["--tuf", address, "--tuf-root", str(repository.root)]
    return main(["trust", "--update", "--trust-root", str(root), *tuf, *words])


def test_the_reviewed_root_is_the_one_that_its_page_names() -> None:
    page = (PUBLIC_ROOT.parent / "README.md").read_text()
    assert read_root(PUBLIC_ROOT).sha256 in page


def test_trust_shows_every_anchor_with_its_validity(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trust", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["date"] == read_root(PUBLIC_ROOT).date
    kinds = {party["what"] for party in output["parties"]}
    assert kinds == {
        "certificate authority",
        "log key",
        "certificate log key",
        "timestamp authority",
    }
    assert any(party["to"] == "2022-12-31" for party in output["parties"])


def test_a_root_without_the_log_key_is_renewed_and_then_knows_it(
    scene: Scene,
    stage: Stage,
    ask: Ask,
    repository: Repository,
    serve: Serve,
    capsys: pytest.CaptureFixture[str],
) -> None:
    honest, other = trusted_root(stage.mint.keys), trusted_root(stage.foreign.keys)
    old, new = (
        {**honest, "tlogs": other["tlogs"]},
        {**honest, "tlogs": [*other["tlogs"], *honest["tlogs"]]},
    )
    scene.trust_root = scene.place / "mine.json"
    scene.trust_root.write_text(json.dumps(old))
    output = ask(scene)
    assert output.code == 1
    key = honest["tlogs"][0]["logId"]["keyId"]
    assert f"log key {hexed(key)[:16]} is not in your trust root of" in output.failed["trust root"]
    assert "nox -s trust -- --update" in output.failed["trust root"]
    content = repository.publish(new)
    assert update(serve(repository.folder), repository, scene.trust_root) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:2]] == ["change", "new"]
    assert scene.trust_root.read_bytes() == content
    assert ask(scene).failed == {}


def test_a_newer_root_still_holds_for_the_release_before(
    scene: Scene, stage: Stage, ask: Ask
) -> None:
    """A key that ended afterwards, and new ones beside it, change nothing for what it signed."""
    document, other = trusted_root(stage.mint.keys), trusted_root(stage.foreign.keys)
    later = (datetime.now(tz=UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document["tlogs"][0]["publicKey"]["validFor"] = {
        **document["tlogs"][0]["publicKey"]["validFor"],
        "end": later,
    }
    for kind in ("tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"):
        document[kind] = [*other[kind], *document[kind]]
    scene.trust_root = scene.place / "newer.json"
    scene.trust_root.write_text(json.dumps(document))
    scene.target = str(stage.old)
    output = ask(scene)
    assert (output.code, output.failed) == (0, {})


def test_a_root_that_lost_keys_is_kept_only_when_that_is_accepted(
    stage: Stage,
    repository: Repository,
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    honest, other = trusted_root(stage.mint.keys), trusted_root(stage.foreign.keys)
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(honest))
    content, address = (
        repository.publish({**honest, "tlogs": other["tlogs"]}),
        serve(repository.folder),
    )
    assert update(address, repository, mine) == 1
    assert "1 of its keys are not in the current root" in capsys.readouterr().err
    assert json.loads(mine.read_text()) == honest
    assert update(address, repository, mine, "--accept-removals") == 0
    assert mine.read_bytes() == content


def test_an_update_does_not_go_back_to_metadata_of_before(
    stage: Stage,
    repository: Repository,
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A withdrawn key would come back with the metadata of the time before."""
    honest, other = trusted_root(stage.mint.keys), trusted_root(stage.foreign.keys)
    mine, address = tmp_path / "mine.json", serve(repository.folder)
    both = {**honest, "tlogs": [*honest["tlogs"], *other["tlogs"]]}
    repository.publish(both, 1)
    assert update(address, repository, mine) == 0
    without = repository.publish(honest, 2)
    assert update(address, repository, mine, "--accept-removals") == 0
    assert mine.with_suffix(".tuf").is_dir()
    repository.publish(both, 1)
    assert update(address, repository, mine) == 1
    assert "timestamp" in capsys.readouterr().err
    assert mine.read_bytes() == without
    repository.publish(honest, 3)
    assert update(address, repository, mine) == 0


def test_an_update_does_not_go_back_to_a_withdrawn_key_of_tuf(
    stage: Stage, repository: Repository, serve: Serve, tmp_path: Path
) -> None:
    honest, other = trusted_root(stage.mint.keys), trusted_root(stage.foreign.keys)
    mine, address = tmp_path / "mine.json", serve(repository.folder)
    repository.publish(honest, 1)
    assert update(address, repository, mine) == 0
    withdrawn = repository.signer
    repository.rotate()
    content = repository.publish(honest, 2)
    assert update(address, repository, mine) == 0
    (repository.folder / "2.root.json").unlink()
    repository.signer = withdrawn
    repository.publish({**honest, "tlogs": [*honest["tlogs"], *other["tlogs"]]}, 9)
    assert update(address, repository, mine) == 1
    assert mine.read_bytes() == content


def test_refresh_does_not_go_back_either(
    scene: Scene,
    stage: Stage,
    repository: Repository,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine, address = scene.place / "mine.json", serve(repository.folder)
    repository.publish(trusted_root(stage.mint.keys), 2)
    assert update(address, repository, mine) == 0
    repository.publish(trusted_root(stage.mint.keys), 1)
    monkeypatch.setattr("ci.verify.verify.PUBLIC", Source(address, repository.root.read_bytes()))
    monkeypatch.setattr("ci.verify.verify.PUBLIC_ROOT", mine)
    capsys.readouterr()
    assert main(["verify", str(stage.new), "--repository", REPOSITORY, "--refresh"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {address}: no trust root")


DAY = "2026-01-01T00:00:00Z"
LATER = "2036-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ([{"end": LATER}], [{"end": "2035-12-31T00:00:00Z"}], "shortened"),
        ([{}], [{"start": "2025-06-01T00:00:00Z"}], "shortened"),
        ([{"end": LATER}, {"start": LATER}], [{"end": LATER}], "shortened"),
        ([{}], [{"end": LATER}], "ended"),
        ([{"end": DAY}], [{"end": LATER}], "extended"),
        ([{"end": DAY}], [{}], "extended"),
        ([{"end": LATER}], [{"end": LATER}, {"start": LATER}], "extended"),
        ([{"end": LATER}], [{"end": LATER}], ""),
    ],
)
def test_every_change_of_a_period_is_shown(
    stage: Stage,
    repository: Repository,
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: list[dict[str, str]],
    after: list[dict[str, str]],
    kind: str,
) -> None:
    def root_of(periods: list[dict[str, str]]) -> Json:
        document = trusted_root(stage.mint.keys)
        (log,) = document["tlogs"]
        start = {"start": "2025-01-01T00:00:00Z"}
        document["tlogs"] = [
            {**log, "publicKey": {**log["publicKey"], "validFor": {**start, **period}}}
            for period in periods
        ]
        return document

    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(root_of(before)))
    repository.publish(root_of(after))
    code = update(serve(repository.folder), repository, mine)
    out, err = capsys.readouterr()
    shown = [line.split()[0] for line in out.splitlines() if "log key" in line]
    assert shown == ([kind] if kind else [])
    assert code == (1 if kind == "shortened" else 0)
    assert ("1 of its keys" in err) == (kind == "shortened")


def test_verify_takes_the_root_of_today_for_one_run_and_says_so(
    stage: Stage,
    repository: Repository,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repository.publish(trusted_root(stage.mint.keys))
    source = Source(serve(repository.folder), repository.root.read_bytes())
    monkeypatch.setattr("ci.verify.verify.PUBLIC", source)
    words = ["verify", str(stage.new), "--repository", REPOSITORY]
    assert main(words) == 1
    assert "an authority that the trust root" in capsys.readouterr().out
    before = PUBLIC_ROOT.read_bytes()
    assert main([*words, "--refresh"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"trust root renewed from {source.url}: of ")
    assert f"trust root {source.url}" in out
    assert PUBLIC_ROOT.read_bytes() == before


@pytest.mark.parametrize("lie", ["other key", "other bytes", "no root"])
def test_a_root_that_the_keys_of_tuf_did_not_sign_is_not_kept(
    lie: str,
    stage: Stage,
    repository: Repository,
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(trusted_root(stage.mint.keys)))
    before, served = mine.read_bytes(), repository
    repository.publish({} if lie == "no root" else trusted_root(stage.foreign.keys))
    if lie == "other key":
        served = Repository(tmp_path / "other")
        served.publish(trusted_root(stage.foreign.keys))
    if lie == "other bytes":
        (target,) = (repository.folder / "targets").iterdir()
        target.write_bytes(target.read_bytes().replace(b"rehearsal", b"rehearsaL", 1))
    assert update(serve(served.folder), repository, mine) != 0
    assert capsys.readouterr().err.startswith("error: http://127.0.0.1")
    assert mine.read_bytes() == before


def hexed(text: str) -> str:
    import base64

    return base64.b64decode(text).hex()
