"""Trust policy: the identity that a certificate must name, given by the verifying person.

The values are those of Fulcio's certificates for GitHub Actions (Fulcio, docs/oid-info.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)

from build.errors import VerificationError

OID = "1.3.6.1.4.1.57264.1"
"""Fulcio's arc; what hangs below it is a DER UTF8String from number 8 on."""
UTF8_STRING = 0x0C
REPOSITORY_ID, OWNER_ID, COMMIT, REF = 15, 17, 13, 14
"""Last numbers below the arc."""
BUILD_WORKFLOW = ".github/workflows/build.yml"
RELEASE_WORKFLOW = ".github/workflows/release.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One value that the certificate must carry."""

    name: str
    oid: int
    """Last number below Fulcio's arc; 0 is the subject alternative name."""
    expected: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may have signed a release, where, and from what."""

    repository: str
    """OWNER/REPO."""
    tag: str
    commit: str
    """Of the sources, as release.json and the provenance say."""
    issuer: str
    """Who vouched for the workflow: GitHub's token service."""
    repository_id: str | None = None
    """GitHub's number of the repository; None demands none."""
    owner_id: str | None = None

    @property
    def build_signer(self) -> str:
        """The workflow inside which image and signatures were made."""
        return self._workflow(BUILD_WORKFLOW)

    @property
    def demands(self) -> tuple[Demand, ...]:
        """All that the certificate must say, each with what a difference means."""
        source = f"https://github.com/{self.repository}"
        other = "somebody else's workflow signed this"
        return (
            Demand(
                name="issuer of the identity",
                oid=8,
                expected=self.issuer,
                meaning="the identity was not vouched for by GitHub's token service",
            ),
            Demand(name="signer", oid=0, expected=self.build_signer, meaning=other),
            Demand(name="build workflow", oid=9, expected=self.build_signer, meaning=other),
            Demand(
                name="calling workflow",
                oid=18,
                expected=self._workflow(RELEASE_WORKFLOW),
                meaning="the builder was called from a workflow that makes no releases",
            ),
            Demand(name="source repository", oid=12, expected=source, meaning=other),
            Demand(
                name="source ref",
                oid=REF,
                expected=f"refs/tags/{self.tag}",
                meaning="the signature belongs to another release, or to none",
            ),
            Demand(
                name="source commit",
                oid=COMMIT,
                expected=self.commit,
                meaning="the workflow ran on other sources than the release names",
            ),
            Demand(
                name="runner",
                oid=11,
                expected="github-hosted",
                meaning="a machine that GitHub does not look after held the keys",
            ),
            Demand(
                name="trigger",
                oid=20,
                expected="push",
                meaning="the workflow was not started by pushing a tag",
            ),
            *self._numbers(),
        )

    def _numbers(self) -> Iterator[Demand]:
        for name, oid, number in (
            ("repository number", REPOSITORY_ID, self.repository_id),
            ("owner number", OWNER_ID, self.owner_id),
        ):
            if number is not None:
                meaning = "the name is the same, but somebody else has it now"
                yield Demand(name=name, oid=oid, expected=number, meaning=meaning)

    def _workflow(self, path: str) -> str:
        return f"https://github.com/{self.repository}/{path}@refs/tags/{self.tag}"


def read_claim(certificate: Certificate, oid: int) -> str:
    """Return what `claim` does; of a value of another form, what is wrong with it."""
    try:
        return claim(certificate, oid)
    except VerificationError as error:
        return str(error)


def claim(certificate: Certificate, oid: int) -> str:
    """Return what `certificate` says under Fulcio's number `oid` (0: its one alternative name).

    "nothing" when it does not say it.

    Raises:
        VerificationError: the value is not a DER UTF8String, or there are several names.
    """
    try:
        if oid == 0:
            names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
            uris = names.get_values_for_type(UniformResourceIdentifier)
            if len(uris) != 1 or len(list(names)) != 1:
                raise VerificationError(f"certificate: {len(list(names))} names, expected one URI")
            return uris[0]
        extension = certificate.extensions.get_extension_for_oid(ObjectIdentifier(f"{OID}.{oid}"))
    except ExtensionNotFound:
        return "nothing"
    return utf8_string(extension.value.public_bytes())


def utf8_string(der: bytes) -> str:
    r"""Return the text of one DER UTF8String (X.690, 8.1.3: definite lengths only).

    >>> utf8_string(b"\x0c\x04push")
    'push'

    Raises:
        VerificationError: it is anything else.
    """
    wrong = VerificationError(f"certificate: {der[:40].hex()} is no UTF8String")
    if len(der) < 2 or der[0] != UTF8_STRING:
        raise wrong
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if len(der) != start + length:
        raise wrong
    try:
        return der[start:].decode()
    except UnicodeDecodeError:
        raise wrong from None
