"""release.toml's half about releases, as frozen values; every refusal is one line."""

import re
from dataclasses import dataclass
from pathlib import Path

from build.config import BuildConfig, Section, read_build_config, read_section
from build.errors import ConfigError

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
URL = re.compile(r"https?://[^\s?#]+[^\s?#/]")
ISSUER = "https://token.actions.githubusercontent.com"
"""Who signs the identity tokens of GitHub Actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignConfig:
    """Which sigstore signs, and which one is believed."""

    trust_root: Path | None
    """A trusted_root.json; None is the public good instance, as committed in ci/verify/trust."""
    signing_config: Path | None
    """A signing_config.json; None is the public good instance's."""
    issuer: str
    public_log: bool = False
    """Whether a repository that is not public may tell its name to the public log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpacesConfig:
    """The S3-compatible bucket that mirrors a release."""

    bucket: str
    region: str
    prefix: str
    """Before every key; empty or ending in a slash."""
    endpoint: str
    public_url: str
    """What a key is appended to for a reader without an account; no slash at the end."""


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
    """OWNER/REPO at GitHub: where the release is, and whose workflow may have signed it."""
    serial: int
    """0, or the number of this release among those of one lock."""
    dist: Path
    github_api: str
    build: BuildConfig
    sign: SignConfig
    spaces: SpacesConfig | None
    imports: ImportConfig | None


def read_config(file: Path) -> ReleaseConfig:
    """Return release.toml, checked as a whole.

    Raises:
        ConfigError: one line with file, key, value and what is allowed.
    """
    top = read_section(file)
    top.only("release", "snapshot", "builder", "image", "sign", "github", "spaces", "import")
    release, github = top.section("release"), top.section("github", needed=False)
    release.only("name", "github", "serial", "dist")
    github.only("api")
    return ReleaseConfig(
        file=file,
        name=release.text(
            "name",
            allowed="lower-case letters, digits and dashes",
            pattern=re.compile(r"[a-z][a-z0-9-]*"),
        ),
        repository=release.text("github", allowed="OWNER/REPO", pattern=REPOSITORY),
        serial=release.number("serial", allowed="0 to 999", default=0, low=0, high=999),
        dist=release.path("dist", allowed="a path", default="dist"),
        github_api=github.text(
            "api", allowed="an http(s) URL", default="https://api.github.com", pattern=URL
        ),
        build=read_build_config(file),
        sign=_sign(top.section("sign", needed=False)),
        spaces=_spaces(top.section("spaces")) if "spaces" in top.values else None,
        imports=_import(top.section("import")) if "import" in top.values else None,
    )


def _sign(section: Section) -> SignConfig:
    section.only("trust_root", "signing_config", "issuer", "public_log")
    paths = {
        key: section.path(key, allowed="a path to a JSON file") if key in section.values else None
        for key in ("trust_root", "signing_config")
    }
    if (paths["trust_root"] is None) != (paths["signing_config"] is None):
        raise ConfigError(f"{section.file}: sign: trust_root and signing_config come together")
    return SignConfig(
        **paths,
        issuer=section.text("issuer", allowed="a URL", default=ISSUER, pattern=URL),
        public_log=section.flag("public_log", default=False),
    )


def _spaces(section: Section) -> SpacesConfig:
    section.only("bucket", "region", "prefix", "endpoint", "public_url")
    return SpacesConfig(
        bucket=section.text(
            "bucket",
            allowed="3 to 63 lower-case letters, digits and dashes",
            pattern=re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
        ),
        region=section.text("region", allowed="a region such as fra1"),
        prefix=section.text(
            "prefix",
            allowed="empty, or a path that ends in a slash",
            default="",
            pattern=re.compile(r"(?:[A-Za-z0-9._-]+/)*"),
        ),
        endpoint=section.text("endpoint", allowed="an http(s) URL", pattern=URL),
        public_url=section.text("public_url", allowed="an http(s) URL", pattern=URL),
    )


def _import(section: Section) -> ImportConfig:
    section.only("api", "regions", "name", "tags")
    return ImportConfig(
        api=section.text(
            "api", allowed="an http(s) URL", default="https://api.digitalocean.com", pattern=URL
        ),
        regions=section.texts("regions", allowed="a list of regions such as fra1"),
        name=section.text("name", allowed="a name"),
        tags=section.texts("tags", allowed="a list of words", default=()),
    )
