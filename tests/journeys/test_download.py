"""Somebody downloads the release: every claim is checked with tools that are not ours."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import AllOf, Identity, OIDCIssuerV2, OIDCRunnerEnvironment

from tests import skips
from tests.journeys.conftest import ROOT, Rehearsal, ci, succeed

SECTOR = 512
FIRST_PARTITION = 2048 * SECTOR
REPOSITORY = "snowdrop-rehearsal/snowdrop"
SAID = ("--repository", REPOSITORY)
ISSUER = "https://token.actions.githubusercontent.com"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_sha256sum_of_coreutils_agrees(rehearsal: Rehearsal) -> None:
    said = succeed(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=rehearsal.download)
    assert f"{rehearsal.image.name}: OK" in said
    listed = (rehearsal.download / "SHA256SUMS").read_text().splitlines()
    files = [path.name for path in rehearsal.download.iterdir()]
    unsigned = {name for name in files if not name.endswith(".sigstore.json")} - {"SHA256SUMS"}
    assert {line.split("  ")[1] for line in listed} == unsigned


def test_the_image_is_a_clean_disk_under_80_mb(rehearsal: Rehearsal, tmp_path: Path) -> None:
    image = rehearsal.image
    assert image.stat().st_size < 80_000_000
    assert "No errors were found" in succeed(["qemu-img", "check", image])
    described = json.loads(succeed(["qemu-img", "info", "--output=json", image]))
    assert described["format"] == "qcow2"
    assert "backing-filename" not in described
    raw = tmp_path / "disk.raw"
    succeed(["qemu-img", "convert", "-O", "raw", image, raw])
    assert sha256(raw) == rehearsal.record("build")["raw"]["sha256"]
    file_system = tmp_path / "root.ext4"
    with raw.open("rb") as disk, file_system.open("wb") as root:
        disk.seek(FIRST_PARTITION)
        while chunk := disk.read(1 << 22):
            root.write(chunk)
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    succeed(["e2fsck", "-fn", file_system], env=environment)


def test_every_bundle_verifies_with_unmodified_sigstore(rehearsal: Rehearsal) -> None:
    version = rehearsal.told["version"]
    workflow = f"https://github.com/{REPOSITORY}/.github/workflows/build.yml@refs/tags/{version}"
    policy = AllOf(
        [
            Identity(identity=workflow),
            OIDCIssuerV2(ISSUER),
            OIDCRunnerEnvironment("github-hosted"),
        ]
    )
    root = TrustedRoot.from_file(str(rehearsal.state / "sigstore" / "trusted_root.json"))
    verifier = Verifier(trusted_root=root)
    bundles = sorted(rehearsal.download.glob("*.sigstore.json"))
    blobs = 0
    for path in bundles:
        bundle = Bundle.from_json(path.read_bytes())
        signed = rehearsal.download / path.name.removesuffix(".sigstore.json")
        if signed.is_file():
            verifier.verify_artifact(signed.read_bytes(), bundle, policy)
            blobs += 1
        else:
            kind, payload = verifier.verify_dsse(bundle, policy)
            assert kind == "application/vnd.in-toto+json"
            names = {subject["name"] for subject in json.loads(payload)["subject"]}
            assert names <= {item.name for item in rehearsal.download.iterdir()}
    assert blobs == len(list(rehearsal.download.iterdir())) - len(bundles)


def test_the_provenance_names_every_package_of_the_closures(rehearsal: Rehearsal) -> None:
    bundle = json.loads((rehearsal.download / "provenance.sigstore.json").read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    named = {
        entry["digest"]["sha256"]
        for entry in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        if "sha256" in entry["digest"]
    }
    lock = (rehearsal.download / "release.lock").read_text()
    locked = {line.split('"')[1] for line in lock.splitlines() if line.startswith("sha256 = ")}
    assert len(locked) > 50
    assert locked <= named


def test_every_package_of_the_sample_is_signed_by_its_one_key(rehearsal: Rehearsal) -> None:
    sample = rehearsal.state / "sample"
    (pem,) = (sample / "keys").glob("*.rsa.pub")
    assert pem.name == "rehearsal-only.rsa.pub"
    key = load_pem_public_key(pem.read_bytes())
    assert isinstance(key, RSAPublicKey)
    packages = sorted(sample.glob("*/x86_64/*.apk"))
    assert len(packages) > 50
    for path in packages:
        raw = path.read_bytes()
        first = zlib.decompressobj(31)
        header = first.decompress(raw)
        second = zlib.decompressobj(31)
        second.decompress(first.unused_data)
        end = len(first.unused_data) - len(second.unused_data)
        name = header[:100].rstrip(b"\0").decode()
        size = int(header[124:135], 8)
        assert name == f".SIGN.RSA.{pem.name}", path.name
        # PKCS#1 v1.5 over SHA-1 is what apk's `.SIGN.RSA.` means.
        key.verify(
            header[512 : 512 + size],
            first.unused_data[:end],
            PKCS1v15(),
            SHA1(),  # noqa: S303
        )


def test_the_folder_verifies_with_our_command_and_no_network(rehearsal: Rehearsal) -> None:
    words = [
        "verify",
        str(rehearsal.download),
        "--offline",
        *SAID,
        "--config",
        str(rehearsal.config),
    ]
    alone = ["unshare", "--net", "--map-root-user", "--user", sys.executable, "-m", "ci", *words]
    if subprocess.run([*alone[:4], "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(skips.NAMESPACES)
    done = subprocess.run(alone, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout.splitlines()[-1]


def test_without_its_configuration_the_release_is_refused(rehearsal: Rehearsal) -> None:
    done = ci("verify", str(rehearsal.download), *SAID)
    assert done.returncode == 1
    assert "an authority that the trust root" in done.stdout
    assert "FAILED trust root" in done.stdout


def test_one_flipped_byte_of_the_image_is_refused(rehearsal: Rehearsal, tmp_path: Path) -> None:
    for path in rehearsal.download.iterdir():
        if path != rehearsal.image:
            (tmp_path / path.name).hardlink_to(path)
    flipped = bytearray(rehearsal.image.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / rehearsal.image.name).write_bytes(flipped)
    done = ci("verify", str(tmp_path), *SAID, "--config", str(rehearsal.config))
    assert done.returncode == 1
    assert f"FAILED digest of {rehearsal.image.name}" in done.stdout


def test_the_image_is_converted_by_the_command(rehearsal: Rehearsal, tmp_path: Path) -> None:
    made = tmp_path / "image.vhd"
    words = ("--to", "vhd", "--output", str(made), "--config", str(rehearsal.config))
    done = ci("convert", str(rehearsal.download), *SAID, *words)
    assert done.returncode == 0, done.stderr
    assert f"sha256:{sha256(made)}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
