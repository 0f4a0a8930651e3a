"""Package URLs (purl) of package files, by which other tools identify them.

Source: the purl specification, type apk, and its qualifiers `arch`, `distro` and `vcs_url`.
"""

import re

from packageurl import PackageURL

from build.apk.info import PackageInfo
from build.snapshot.lock import Lock, LockedPackage
from ci.release.manifest import Manifest

FORGE = "https://github.com"


class ApkUrl(PackageURL):
    """A package URL with upper-case percent codes, as RFC 3986 (2.1) recommends.

    The library converts an apk's name to lower case after encoding it; the codes of other tools
    would differ.
    """

    def to_string(self, encode: bool | None = True) -> str:
        """Return the URL as text."""
        return re.sub("%[0-9a-f]{2}", lambda code: code[0].upper(), super().to_string(encode))


def package_url(package: LockedPackage, lock: Lock) -> str:
    """Return `pkg:apk/alpine/NAME@VERSION?arch=ARCH&distro=alpine-BRANCH`.

    Vulnerability scanners choose their database by `distro`.
    """
    release = lock.branch.removeprefix("v")
    qualifiers = {"arch": package.arch, "distro": f"alpine-{release}"}
    return _purl("alpine", package.name, package.version, qualifiers)


def own_package_url(info: PackageInfo, manifest: Manifest) -> str:
    """Return the URL of one of our own packages, which names its source commit.

    The namespace is the release's name, so that scanners do not take it for Alpine's.
    """
    source = f"git+{FORGE}/{manifest.repository}@{info.commit or manifest.commit}"
    qualifiers = {"arch": info.arch, "vcs_url": source}
    return _purl(manifest.name, info.name, info.version, qualifiers)


def _purl(namespace: str, name: str, version: str, qualifiers: dict[str, str]) -> str:
    return ApkUrl("apk", namespace, name, version, qualifiers).to_string()
