"""Trust policy: whose workflow must have signed, and the values that certificates must have.

Certificates are Fulcio's for GitHub Actions (Fulcio, docs/oid-info.md). A name like OWNER/REPO
can be given up and registered by another owner; GitHub's numeric ids of a repository and its
owner cannot. A policy file keeps them: it is written at the first use, from a certificate that
passed, and its numbers are required from then on.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat import asn1
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)

from build.errors import ConfigError, VerificationError
from ci.config import ISSUER, REPOSITORY, URL

OID = "1.3.6.1.4.1.57264.1"
"""Fulcio's arc; the extensions below it are DER UTF8Strings from number 8 on."""
SUBJECT, COMMIT, REF, REPOSITORY_ID, OWNER_ID = 0, 13, 14, 15, 17
"""Last numbers below the arc; 0 means the subject alternative name."""
BUILD_WORKFLOW = ".github/workflows/build.yml"
RELEASE_WORKFLOW = ".github/workflows/release.yml"
POLICY_HEADER = """\
# The signer that `verify` trusts. The numbers stay the same when the repository is renamed, and
# differ when another owner registers its name later. Review them, and keep this file.
"""
_ID = re.compile(r"[0-9]{1,20}")
POLICY_KEYS = {"repository": REPOSITORY, "repository_id": _ID, "owner_id": _ID, "issuer": URL}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedSigner:
    """The repository whose workflow must have signed."""

    repository: str
    """OWNER/REPO."""
    issuer: str = ISSUER
    """The token service that identifies the workflow: GitHub's."""
    repository_id: str | None = None
    """GitHub's number; None when it is not known yet, and not required."""
    owner_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One value that a certificate must have."""

    name: str
    oid: int
    """Last number below Fulcio's arc; 0 is the subject alternative name."""
    expected: str
    meaning: str
    """The meaning of another value."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The values that the certificates of one release must have."""

    signer: TrustedSigner
    tag: str
    commit: str
    """Of the sources, as release.json and the provenance name it."""

    @property
    def build_signer(self) -> str:
        """The identity of the workflow that made image and signatures."""
        return build_identity(self.signer.repository, self.tag)

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """All values that a certificate must have, each with the meaning of another one."""
        signer, builder = self.signer, self.build_signer
        source = f"https://github.com/{signer.repository}"
        caller, ref = (
            _workflow(signer.repository, RELEASE_WORKFLOW, self.tag),
            f"refs/tags/{self.tag}",
        )
        other_signer = "another workflow signed this"
        other_owner = "the name is the same, but another owner has it now"
        issuer = "the identity was not issued by GitHub's token service"
        no_release = "the builder was called from a workflow that makes no releases"
        other_release = "the signature belongs to another release, or to none"
        other_sources = "the workflow ran on other sources than the release names"
        machine = "a machine that GitHub does not operate had the signing key"
        rows = (
            ("identity issuer", 8, signer.issuer, issuer),
            ("signer", SUBJECT, builder, other_signer),
            ("build workflow", 9, builder, other_signer),
            ("calling workflow", 18, caller, no_release),
            ("source repository", 12, source, other_signer),
            ("source ref", REF, ref, other_release),
            ("source commit", COMMIT, self.commit, other_sources),
            ("runner", 11, "github-hosted", machine),
            ("trigger", 20, "push", "the workflow was not started by pushing a tag"),
            ("repository number", REPOSITORY_ID, signer.repository_id, other_owner),
            ("owner number", OWNER_ID, signer.owner_id, other_owner),
        )
        return tuple(
            Requirement(name=name, oid=oid, expected=expected, meaning=meaning)
            for name, oid, expected, meaning in rows
            if expected is not None
        )

    def compare(self, certificate: Certificate) -> Iterator[tuple[Requirement, str]]:
        """Yield each requirement with the value that `certificate` has."""
        for requirement in self.requirements:
            yield requirement, read_claim(certificate, requirement.oid)

    def check(self, certificate: Certificate, name: str) -> None:
        """Check that `certificate`, of the bundle `name`, meets every requirement.

        Raises:
            VerificationError: naming the first requirement that it does not meet.
        """
        for requirement, found in self.compare(certificate):
            if found != requirement.expected:
                raise VerificationError(
                    f"{name}: {requirement.name} of its certificate is {found}, "
                    f"expected {requirement.expected}"
                )


def build_identity(repository: str, tag: str) -> str:
    """Return the identity that the signing workflow of a release has in its certificates."""
    return _workflow(repository, BUILD_WORKFLOW, tag)


def _workflow(repository: str, path: str, tag: str) -> str:
    return f"https://github.com/{repository}/{path}@refs/tags/{tag}"


def read_claim(certificate: Certificate, oid: int) -> str:
    """Return the value under Fulcio's number `oid`; of none or a malformed one, a description."""
    try:
        if oid == SUBJECT:
            names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
            uris = names.get_values_for_type(UniformResourceIdentifier)
            # A second name would let another verifier see another signer.
            if len(uris) != 1 or len(list(names)) != 1:
                return f"certificate: {len(list(names))} names, expected one URI"
            return uris[0]
        extension = certificate.extensions.get_extension_for_oid(ObjectIdentifier(f"{OID}.{oid}"))
    except ExtensionNotFound:
        return "nothing"
    der = extension.value.public_bytes()
    try:
        return asn1.decode_der(str, der)
    except ValueError:
        return f"certificate: {der[:40].hex()} is no UTF8String"


def read_facts(certificate: Certificate) -> dict[str, str]:
    """Return commit, and GitHub's numbers of repository and owner, as `certificate` has them."""
    numbers = {"commit": COMMIT, "repository_id": REPOSITORY_ID, "owner_id": OWNER_ID}
    return {name: read_claim(certificate, oid) for name, oid in numbers.items()}


def read_signer(path: Path) -> TrustedSigner:
    """Return the signer in the policy file `path`.

    Raises:
        ConfigError: it cannot be read, or has other keys or values.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no policy file ({error})") from None
    if others := sorted(values.keys() - POLICY_KEYS):
        raise ConfigError(f"{path}: {others[0]}: unknown key in a policy file")
    for key, pattern in POLICY_KEYS.items():
        found = values.get(key)
        if not isinstance(found, str) or not pattern.fullmatch(found):
            raise ConfigError(
                f"{path}: {key} = {found!r}, expected a string that matches {pattern.pattern}",
                hint="remove the file and verify once more with `--repository OWNER/REPO`",
            )
    return TrustedSigner(**values)


def dump_signer(signer: TrustedSigner) -> str:
    """Return the content of the policy file for `signer`, whose numbers are known."""
    return POLICY_HEADER + "".join(f'{key} = "{getattr(signer, key)}"\n' for key in POLICY_KEYS)


def write_signer(path: Path, signer: TrustedSigner) -> None:
    """Write the policy file `path`, which must not exist yet.

    Raises:
        VerificationError: the numbers of `signer` are malformed.
        ConfigError: the file exists, or cannot be written.
    """
    for what, number in (("repository", signer.repository_id), ("owner", signer.owner_id)):
        if number is None or not _ID.fullmatch(number):
            raise VerificationError(f"certificate: {what} number {number!r}, expected digits")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(dump_signer(signer))
    except OSError as error:
        raise ConfigError(f"--policy {path}: {error.strerror}, not written") from None
