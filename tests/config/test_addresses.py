"""An address that no server can have is refused when release.toml is read, with its key."""

from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError

from build.errors import ConfigError
from build.snapshot.fetch import locate
from ci.__main__ import main
from ci.config import SpacesConfig, is_endpoint, read_config
from ci.importing.private import private_bucket
from ci.publish.mirror import open_bucket
from tests.publish.release import write_config

SPACES = {
    "bucket": "releases",
    "region": "fra1",
    "endpoint": "https://s3.example",
    "public_url": "https://files.example",
}
KEYS = {"SPACES_KEY": "a-key", "SPACES_SECRET": "a-secret"}
UNUSABLE = [
    "https://files.example:65536",
    "https://files.example:0",
    "https://files.example:99999/s3",
    "https://:8443",
    "https:///files",
    "https://[::1",
    "https://[files]",
]
"""Of no server, whatever connects."""
NO_ENDPOINT = [
    "https://my_minio.example.com",
    "https://-minio.example",
    "https://minio..example",
    f"https://{'m' * 64}.example",
    f"https://{'m.' * 128}example",
    "https://b\u00fccher.example",
    "https://minio.example,other/s3",
]
"""Refused by boto3 alone."""
ENDPOINTS = [
    "http://127.0.0.1:9000",
    "http://[::1]:9000",
    "http://localhost:65535",
    "https://fra1.digitaloceanspaces.com",
    "https://s3.example./path",
    "https://S3.Example:1",
]


def configured(folder: Path, **changed: str) -> Path:
    """Return a release.toml whose [spaces] has the changed keys."""
    return write_config(folder, spaces={**SPACES, **changed})


@pytest.mark.parametrize("url", [*UNUSABLE, *NO_ENDPOINT])
def test_an_endpoint_that_boto3_refuses_is_refused_with_its_key(url: str, tmp_path: Path) -> None:
    path = configured(tmp_path, endpoint=url)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: spaces.endpoint = ")
    assert "expected an http(s) URL whose host has letters, digits, dashes" in str(caught.value)


@pytest.mark.parametrize("url", NO_ENDPOINT)
def test_boto3_does_refuse_it(url: str) -> None:
    spaces = SpacesConfig(
        bucket="b", region="fra1", prefix="", endpoint=url, public_url="https://files.example"
    )
    with pytest.raises(ConfigError, match="region fra1: Invalid endpoint") as caught:
        open_bucket(spaces, KEYS)
    assert f"endpoint {url}" in str(caught.value)


@pytest.mark.parametrize("url", ENDPOINTS)
def test_an_endpoint_that_boto3_accepts_is_read(url: str, tmp_path: Path) -> None:
    spaces = read_config(configured(tmp_path, endpoint=url)).spaces
    assert spaces is not None
    assert spaces.endpoint == url
    open_bucket(spaces, KEYS).close()


@pytest.mark.parametrize("region", ["fra 1", "eu_west", "-", "a/b", "r" * 64])
def test_a_region_that_boto3_refuses_is_refused_with_its_key(region: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, BotoCoreError)):
        boto3.client("s3", region_name=region)
    path = configured(tmp_path, region=region)
    with pytest.raises(ConfigError, match=r"spaces\.region = .*: expected a region such as fra1"):
        read_config(path)


@pytest.mark.parametrize("url", UNUSABLE)
def test_the_addresses_of_other_services_are_checked_too(url: str, tmp_path: Path) -> None:
    def check(key: str, path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            read_config(path)
        assert str(caught.value).startswith(f"{path}: {key} = ")
        assert "expected an http(s) URL with a host, and a port up to 65535" in str(caught.value)

    check("spaces.public_url", configured(tmp_path, public_url=url))
    check("github.api", write_config(tmp_path, api=url))
    path = write_config(tmp_path)
    imports = f'[import]\nregions = ["fra1"]\nname = "a"\napi = "{url}"\n'
    path.write_text(path.read_text() + imports)
    check("import.api", path)


def test_only_boto3_minds_an_underscore(tmp_path: Path) -> None:
    spaces = read_config(configured(tmp_path, public_url="https://my_files.example")).spaces
    assert spaces is not None
    assert spaces.public_url == "https://my_files.example"


@pytest.mark.parametrize("url", [*UNUSABLE, *NO_ENDPOINT, "minio.example", "ftp://minio.example"])
def test_the_endpoint_of_an_import_is_checked_too(url: str) -> None:
    assert not is_endpoint(url)
    with pytest.raises(ConfigError, match=r"^--endpoint .*: expected an http\(s\) URL whose host"):
        private_bucket("s3://bucket", region="fra1", endpoint=url)


def test_a_repository_with_half_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"repository 'http://\[::1/main': Invalid IPv6 URL"):
        locate("http://[::1/main", tmp_path)


@pytest.mark.parametrize(
    "command",
    ["preflight --part bucket", "preflight", "mirror --dry-run", "store push", "doctor"],
)
def test_each_command_names_the_key(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    path = configured(tmp_path, endpoint="https://my_minio.example.com")
    assert main([*command.split(), "--config", str(path)]) == 2
    expected = f'error: {path}: spaces.endpoint = "https://my_minio.example.com": expected'
    assert capfd.readouterr().err.startswith(expected)
