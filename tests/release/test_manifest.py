"""release.json has one byte form, and everything else is refused."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from build.errors import VerificationError
from ci.release.manifest import (
    Artifact,
    Manifest,
    archive_name,
    build_bundle,
    builder_sbom_name,
    bundle_name,
    dump_manifest,
    image_sbom_name,
    media_type_of,
    parse_manifest,
    source_name,
)
from tests.attest.conftest import COMMIT
from tests.attest.documents import RELEASE, schema_errors

IMAGE = Artifact(
    name="snowdrop-droplet-v3.24.20261123-x86_64.qcow2",
    role="image",
    media_type="application/x-qemu-disk",
    size=12,
    sha256="a" * 64,
)
LOCK = Artifact(
    name="release.lock", role="lock", media_type="application/toml", size=7, sha256="b" * 64
)
MANIFEST = Manifest(
    name="snowdrop",
    version="v3.24.20261123",
    tag="v3.24.20261123",
    repository="lighthouse/snowdrop",
    commit=COMMIT,
    dirty=False,
    lock_id="b" * 64,
    epoch=1_795_392_000,
    artifacts=(LOCK, IMAGE),
)


def test_the_order_of_artifacts_does_not_matter() -> None:
    turned = dataclasses.replace(MANIFEST, artifacts=(IMAGE, LOCK))
    assert dump_manifest(turned) == dump_manifest(MANIFEST)
    assert parse_manifest(dump_manifest(turned)) == MANIFEST


def test_every_bundle_of_a_release_is_named() -> None:
    stem = "snowdrop-droplet-v3.24.20261123-x86_64"
    assert MANIFEST.bundles == (
        "SHA256SUMS.sigstore.json",
        "provenance.sigstore.json",
        "release.json.sigstore.json",
        "release.lock.sigstore.json",
        "snapshot.sigstore.json",
        f"{stem}.boot.sigstore.json",
        f"{stem}.build.sigstore.json",
        f"{stem}.qcow2.sigstore.json",
        f"{stem}.sbom.sigstore.json",
    )
    second = dataclasses.replace(MANIFEST, previous="v3.24.20261101")
    assert set(second.bundles) - set(MANIFEST.bundles) == {"difference.sigstore.json"}


def test_the_other_files_are_named_after_release_and_image() -> None:
    stem = "snowdrop-droplet-v3.24.20261123-x86_64"
    assert archive_name("snowdrop", "v3.24.1") == "snowdrop-v3.24.1-snapshot.tar"
    assert source_name("snowdrop", "v3.24.1") == "snowdrop-v3.24.1-source.tar"
    assert builder_sbom_name("snowdrop", "v3.24.1") == "snowdrop-builder-v3.24.1.cdx.json"
    assert image_sbom_name(f"{stem}.qcow2") == f"{stem}.cdx.json"
    assert build_bundle(f"{stem}.qcow2") == f"{stem}.build.sigstore.json"
    assert bundle_name("SHA256SUMS") == "SHA256SUMS.sigstore.json"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (IMAGE.name, "application/x-qemu-disk"),
        ("release.json", "application/json"),
        ("SHA256SUMS", "text/plain"),
        ("SHA256SUMS.sigstore.json", "application/vnd.dev.sigstore.bundle.v0.3+json"),
    ],
)
def test_every_file_has_a_media_type(name: str, expected: str) -> None:
    assert media_type_of(name, MANIFEST) == expected


def artifact(**changes: object) -> Callable[[Any], None]:
    return lambda document: document["artifacts"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d.update(format=2), "format 2, this Snowdrop reads 1", id="newer"),
        pytest.param(lambda d: d.update(url="x"), "unknown keys", id="more"),
        pytest.param(lambda d: d.pop("lock"), "lock = nothing", id="less"),
        pytest.param(lambda d: d.update(epoch=True), "epoch = true", id="no number"),
        pytest.param(lambda d: d.update(artifacts={}), "artifacts = {}", id="no list"),
        pytest.param(lambda d: d["artifacts"].reverse(), "another byte form", id="unsorted"),
        pytest.param(artifact(name="../release.lock"), "name = ", id="leads out"),
        pytest.param(artifact(name=".bashrc"), "name = ", id="hidden"),
        pytest.param(artifact(name="SHA256SUMS"), "expected apart", id="reserved"),
        pytest.param(artifact(name="a.sigstore.json"), "expected apart", id="a bundle"),
        pytest.param(artifact(name=IMAGE.name), "qcow2 twice", id="twice"),
        pytest.param(artifact(role="virus"), "role = ", id="unknown role"),
        pytest.param(artifact(media_type="text/html"), "is of type text/html", id="other type"),
        pytest.param(artifact(sha256="A" * 64), "sha256 = ", id="upper case"),
        pytest.param(artifact(size=-1), "size = -1", id="negative"),
    ],
)
def test_a_document_that_dump_would_not_write_is_refused(
    change: Callable[[Any], object], message: str
) -> None:
    document = json.loads(dump_manifest(MANIFEST))
    change(document)
    raw = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
    with pytest.raises(VerificationError, match=f"^release.json: .*{message}"):
        parse_manifest(raw)


def test_the_schema_accepts_our_output() -> None:
    for previous in (None, "v3.24.20261101"):
        written = dump_manifest(dataclasses.replace(MANIFEST, previous=previous))
        assert schema_errors(json.loads(written), RELEASE) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d.update(format=2), id="newer"),
        pytest.param(lambda d: d.update(url="x"), id="more"),
        pytest.param(lambda d: d.pop("lock"), id="less"),
        pytest.param(lambda d: d.pop("previous"), id="no previous release"),
        pytest.param(lambda d: d.update(epoch="0"), id="no number"),
        pytest.param(artifact(name="../release.lock"), id="leads out"),
        pytest.param(artifact(name="SHA256SUMS"), id="reserved"),
        pytest.param(artifact(name="a.sigstore.json"), id="a bundle"),
        pytest.param(artifact(role="virus"), id="unknown role"),
        pytest.param(artifact(media_type="text/html"), id="other type"),
        pytest.param(artifact(sha256="A" * 64), id="upper case"),
        pytest.param(artifact(url="https://mirror.example"), id="a location"),
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(change: Callable[[Any], object]) -> None:
    document = json.loads(dump_manifest(MANIFEST))
    change(document)
    assert schema_errors(document, RELEASE)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(VerificationError, match=r"^release\.json: "):
        parse_manifest(raw)
