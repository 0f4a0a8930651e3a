"""The tables of release.toml about releases, as frozen values; every error is one line."""

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from build.config import BuildConfig, read_build_config
from build.errors import ConfigError
from build.tables import REQUIRED, Table, read_toml
from build.urls import split_address
from ci.regions import SPACES, check_regions

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
CANDIDATE = "rc(?P<rc>[1-9][0-9]?)"
"""Pattern of the mark of a prerelease, also in its tag."""
URL = re.compile(r"https?://[^\s?#]+[^\s?#/]")
ADDRESS = "an http(s) URL with a host, and a port up to 65535"
LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
REGION = re.compile(LABEL)
"""The form that boto3 demands, whatever a service calls its regions."""
HOST = re.compile(rf"(?:{LABEL}\.)*{LABEL}\.?")
MAX_HOST = 255
ENDPOINT = "an http(s) URL whose host has letters, digits, dashes and dots, and a port up to 65535"
"""What is expected; boto3 refuses a host of another form, one with an underscore too."""
ISSUER = "https://token.actions.githubusercontent.com"
"""The issuer of GitHub Actions' identity tokens."""
UNNAMED_REPOSITORY = "OWNER/REPO"
"""Value of `github` in the release.toml of a fresh clone; to be replaced by the maintainer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignConfig:
    """The sigstore instance that signs, and the trust root that verifies."""

    trust_root: Path | None
    """A trusted_root.json; None is the public good instance, as committed in ci/verify/trust."""
    signing_config: Path | None
    """A signing_config.json; None is the public good instance's."""
    issuer: str
    public_log: bool = False
    """Whether the public log may publish the name of a repository that is not public."""

    @property
    def only_public(self) -> bool:
        """Whether a repository that is not public may not sign: its name would be published."""
        return self.signing_config is None and not self.public_log


PRIVATE = (
    "the public sigstore would write its name, workflow and commit into a public log whose "
    "entries cannot be deleted"
)
"""Why a repository that is not public does not sign with it."""
OWN_INSTANCE = (
    "set trust_root and signing_config of your own instance in `[sign]`; or allow the publication "
    "with `public_log = true` there"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpacesConfig:
    """The S3-compatible bucket that mirrors a release."""

    bucket: str
    region: str
    prefix: str
    """Prefix of every key; empty or ending in a slash."""
    endpoint: str
    public_url: str
    """URL to which a key is appended for anonymous readers; without a slash at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """How a mirrored image becomes a custom image at DigitalOcean."""

    api: str
    regions: tuple[str, ...]
    name: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """All of release.toml."""

    file: Path
    name: str
    """Prefix of every artifact."""
    repository: str
    """OWNER/REPO at GitHub, which has the release and whose workflow must have signed it."""
    auto: bool
    """Whether a merged lock is proposed for release: a person pushes the tag."""
    serial: int
    """0, or the number of this release among those of the same lock."""
    prerelease: str
    """`rc1` for a release that is to be tried out; else empty."""
    dist: Path
    github_api: str
    build: BuildConfig
    sign: SignConfig
    spaces: SpacesConfig | None
    imports: ImportConfig | None


def read_config(file: Path) -> ReleaseConfig:
    """Return release.toml, completely checked.

    Raises:
        ConfigError: one line with file, key, value and the allowed values.
    """
    top = read_toml(file)
    top.only("release", "snapshot", "builder", "image", "sign", "github", "spaces", "import")
    release, github = top.table("release"), top.table("github", required=False)
    release.only("name", "github", "serial", "prerelease", "dist", "auto")
    github.only("api")
    return ReleaseConfig(
        file=file,
        name=release.text(
            "name",
            expected="lower-case letters, digits and dashes",
            pattern=re.compile(r"[a-z][a-z0-9-]*"),
        ),
        repository=release.text("github", expected="OWNER/REPO", pattern=REPOSITORY),
        auto=release.flag("auto", default=False),
        serial=release.number("serial", default=0, high=999),
        prerelease=release.text(
            "prerelease",
            expected="rc1 to rc99",
            pattern=re.compile(f"(?:{CANDIDATE})?"),
            empty=True,
            default="",
        ),
        dist=release.path("dist", expected="a path", default="dist"),
        github_api=_address(github, "api", default="https://api.github.com"),
        build=read_build_config(file),
        sign=_sign(top.table("sign", required=False)),
        spaces=_spaces(top.table("spaces")) if "spaces" in top.values else None,
        imports=_import(top.table("import")) if "import" in top.values else None,
    )


def is_endpoint(url: str) -> bool:
    """Return whether boto3 takes `url` as an endpoint, and can connect to its port.

    >>> is_endpoint("http://127.0.0.1:9000"), is_endpoint("https://my_minio.example")
    (True, False)
    """
    parts = split_address(url)
    if parts is None or parts.hostname is None:
        return False
    with suppress(ValueError):
        ipaddress.ip_address(parts.hostname)
        return True
    return len(parts.hostname) <= MAX_HOST and HOST.fullmatch(parts.hostname) is not None


def _sign(section: Table) -> SignConfig:
    section.only("trust_root", "signing_config", "issuer", "public_log")
    paths = {
        key: section.path(key, expected="a path to a JSON file") if key in section.values else None
        for key in ("trust_root", "signing_config")
    }
    if (paths["trust_root"] is None) != (paths["signing_config"] is None):
        raise ConfigError(f"{section.where}: sign: expected trust_root and signing_config together")
    return SignConfig(
        **paths,
        issuer=section.text("issuer", expected="a URL", default=ISSUER, pattern=URL),
        public_log=section.flag("public_log", default=False),
    )


def _spaces(section: Table) -> SpacesConfig:
    section.only("bucket", "region", "unlisted_region", "prefix", "endpoint", "public_url")
    config = SpacesConfig(
        bucket=section.text(
            "bucket",
            expected="3 to 63 lower-case letters, digits and dashes",
            pattern=re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
        ),
        region=section.text("region", expected="a region such as fra1", pattern=REGION),
        prefix=section.text(
            "prefix",
            expected="empty, or a path that ends in a slash",
            default="",
            pattern=re.compile(r"(?:[A-Za-z0-9._-]+/)*"),
        ),
        endpoint=section.text("endpoint", expected=ENDPOINT, pattern=URL),
        public_url=_address(section, "public_url"),
    )
    if not is_endpoint(config.endpoint):
        raise section.fail("endpoint", ENDPOINT)
    unlisted = section.flag("unlisted_region", default=False)
    if SPACES.fullmatch(config.endpoint):
        _check_regions(section, "region", (config.region,), unlisted=unlisted)
    return config


def _import(section: Table) -> ImportConfig:
    section.only("api", "regions", "unlisted_region", "name", "tags")
    regions = section.strings("regions", expected="a list of regions such as fra1")
    unlisted = section.flag("unlisted_region", default=False)
    _check_regions(section, "regions", regions, unlisted=unlisted)
    return ImportConfig(
        api=_address(section, "api", default="https://api.digitalocean.com"),
        regions=regions,
        name=section.text("name", expected="a name"),
        tags=section.strings("tags", expected="a list of words", default=()),
    )


def _address(section: Table, key: str, *, default: str = REQUIRED) -> str:
    """Return the URL of a server, to which paths are appended."""
    url = section.text(key, expected=ADDRESS, default=default, pattern=URL)
    if split_address(url) is None:
        raise section.fail(key, ADDRESS)
    return url


def _check_regions(section: Table, key: str, regions: Sequence[str], *, unlisted: bool) -> None:
    where = f"{section.where}: {section.name}.{key} ="
    check_regions(regions, where, unlisted=unlisted, accept="unlisted_region = true")
