"""Package files as other tools know them: by package URL.

Source: the purl specification, type apk, and its qualifiers `arch`, `distro` and `vcs_url`.
"""

import re

from packageurl import PackageURL

from build.apk.info import PackageInfo
from build.snapshot.lock import Lock, LockedPackage
from ci.release.manifest import Manifest

FORGE = "https://github.com"


class ApkUrl(PackageURL):
    """A package URL whose percent codes are upper case, as RFC 3986 (2.1) has them.

    The library lowers an apk's name with the codes in it; other tools would show another text.
    """

    def to_string(self, encode: bool | None = True) -> str:
        """Return the URL as text."""
        return re.sub("%[0-9a-f]{2}", lambda code: code[0].upper(), super().to_string(encode))


def package_url(package: LockedPackage, lock: Lock) -> str:
    """Return `pkg:apk/alpine/NAME@VERSION?arch=ARCH&distro=alpine-BRANCH`.

    `distro` is what vulnerability scanners choose their list by.
    """
    release = lock.branch.removeprefix("v")
    qualifiers = {"arch": package.arch, "distro": f"alpine-{release}"}
    return _purl("alpine", package.name, package.version, qualifiers)


def own_package_url(info: PackageInfo, manifest: Manifest) -> str:
    """Return the URL of a package of our own: no distribution has it, a commit has.

    Its namespace is the release's name, so that no scanner takes it for Alpine's.
    """
    source = f"git+{FORGE}/{manifest.repository}@{info.commit or manifest.commit}"
    qualifiers = {"arch": info.arch, "vcs_url": source}
    return _purl(manifest.name, info.name, info.version, qualifiers)


def _purl(namespace: str, name: str, version: str, qualifiers: dict[str, str]) -> str:
    return ApkUrl("apk", namespace, name, version, qualifiers).to_string()
