"""Trust policy: whose workflow must have signed, and the values that certificates must have.

Certificates are Fulcio's for GitHub Actions (Fulcio, docs/oid-info.md). A name like OWNER/REPO
can be given up and registered by another owner; GitHub's numeric ids of a repository and its
owner cannot. `ci.verify.trust.policy_file` keeps them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography.hazmat import asn1
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)

from build.errors import VerificationError
from ci.config import ISSUER
from ci.verify.trust.rules import NO_RULES, Rules

OID = "1.3.6.1.4.1.57264.1"
"""Fulcio's arc; the extensions below it are DER UTF8Strings from number 8 on."""
SUBJECT, COMMIT, REF, REPOSITORY_ID, OWNER_ID, RUN = 0, 13, 14, 15, 17, 21
"""Last numbers below the arc; 0 means the subject alternative name."""
ABSENT = "nothing"
"""The description of an extension that a certificate lacks."""
BUILD_WORKFLOW = ".github/workflows/build.yml"
RELEASE_WORKFLOW = ".github/workflows/release.yml"
GITHUB_ID = re.compile(r"[0-9]{1,20}")
"""A number of GitHub, as its tokens have it."""
DEPRECATED = {1: "issuer", 2: "trigger", 3: "commit", 5: "repository", 6: "ref"}
"""Extensions of plain text that other verifiers may still read; Fulcio issues them beside
their successors (Fulcio, docs/oid-info.md)."""
PLAIN_TEXT = 6
"""The last number whose value is plain text and no DER."""
TITLES = {
    **{str(number): f"deprecated {name}" for number, name in DEPRECATED.items()},
    "8": "identity issuer",
    "9": "build workflow",
    "10": "build workflow digest",
    "11": "runner",
    "12": "source repository",
    "13": "source commit",
    "14": "source ref",
    "15": "repository number",
    "16": "source owner",
    "17": "owner number",
    "18": "calling workflow",
    "19": "calling workflow digest",
    "20": "trigger",
    "21": "run",
    "22": "visibility",
}
"""Names of extensions in messages, by the number below Fulcio's arc."""


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
    newest: Mapping[str, "Seen"] = field(default_factory=dict)
    """The newest verified release of each line."""
    rules: Rules = NO_RULES
    """What a release must be besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A release that was verified with a policy file."""

    tag: str
    epoch: int
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One value that a certificate must have."""

    name: str
    oid: int
    """Last number below Fulcio's arc; 0 is the subject alternative name."""
    expected: str
    """The value, or the description of `pattern`."""
    meaning: str
    """The meaning of another value."""
    pattern: re.Pattern[str] | None = None
    """None: `expected` is the value."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The values that the certificates of one release must have."""

    signer: TrustedSigner
    tag: str
    commit: str
    """Of the sources, as release.json and the provenance name it."""
    claims: Mapping[str, str] | None = None
    """Every value of the release's first certificate, by number; None before that was read."""

    @property
    def build_signer(self) -> str:
        """The identity of the workflow that made image and signatures."""
        return build_identity(self.signer.repository, self.tag)

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """All values that a certificate must have, each with the meaning of another one."""
        signer, builder = self.signer, self.build_signer
        source = f"https://github.com/{signer.repository}"
        run = re.compile(re.escape(source) + "/actions/runs/[0-9]{1,20}/attempts/[0-9]{1,9}")
        caller = _workflow(signer.repository, RELEASE_WORKFLOW, self.tag)
        other_signer = "another workflow signed this"
        other_owner = "the name is the same, but another owner has it now"
        issuer = "the identity was not issued by GitHub's token service"
        no_release = "the builder was called from a workflow that makes no releases"
        other_release = "the signature belongs to another release, or to none"
        other_sources = "the workflow ran on other sources than the release names"
        machine = "a machine that GitHub does not operate had the signing key"
        rows: tuple[tuple[str, int, str | None, str, re.Pattern[str] | None], ...] = (
            ("identity issuer", 8, signer.issuer, issuer, None),
            ("signer", SUBJECT, builder, other_signer, None),
            ("build workflow", 9, builder, other_signer, None),
            ("build workflow digest", 10, self.commit, other_sources, None),
            ("calling workflow", 18, caller, no_release, None),
            ("calling workflow digest", 19, self.commit, other_sources, None),
            ("source repository", 12, source, other_signer, None),
            ("source owner", 16, source.rpartition("/")[0], other_signer, None),
            ("source ref", REF, f"refs/tags/{self.tag}", other_release, None),
            ("source commit", COMMIT, self.commit, other_sources, None),
            ("runner", 11, *_any_of(signer.rules.runners, machine)),
            ("trigger", 20, "push", "the workflow was not started by pushing a tag", None),
            ("run", RUN, f"a run of {source}", other_signer, run),
            ("repository number", REPOSITORY_ID, signer.repository_id, other_owner, GITHUB_ID),
            ("owner number", OWNER_ID, signer.owner_id, other_owner, GITHUB_ID),
            *self._accepted_builder,
        )
        return tuple(
            Requirement(
                name=name,
                oid=oid,
                expected=expected or "GitHub's number",
                meaning=meaning,
                # A number that is known must be equal, like every other value.
                pattern=None if pattern is GITHUB_ID and expected else pattern,
            )
            for name, oid, expected, meaning, pattern in rows
        )

    @property
    def _accepted_builder(
        self,
    ) -> tuple[tuple[str, int, str, str, re.Pattern[str]], ...]:
        """The row about the builders that the policy file accepts; none without them."""
        rules = self.signer.rules
        meaning = "your policy file does not accept this builder"
        accepted, pattern = ", ".join(rules.builders), rules.builder_pattern
        # The builder.id of the provenance is compared with this name of the certificate.
        rows = (("accepted builder", SUBJECT, accepted, meaning, pattern),)
        return rows if rules.builders else ()

    @property
    def deprecated(self) -> Mapping[int, str]:
        """The values that the deprecated extensions must have where a certificate has them."""
        repository, ref = self.signer.repository, f"refs/tags/{self.tag}"
        return dict(
            zip(DEPRECATED, (self.signer.issuer, "push", self.commit, repository, ref), strict=True)
        )

    def compare(self, certificate: Certificate) -> Iterator[tuple[Requirement, str]]:
        """Yield each requirement with the value that `certificate` has.

        The value is that of `expected` when it matches the requirement's pattern.
        """
        for requirement in self.requirements:
            found = read_claim(certificate, requirement.oid)
            matches = requirement.pattern and requirement.pattern.fullmatch(found)
            yield requirement, requirement.expected if matches else found
        agree = Requirement(
            name="deprecated fields",
            oid=min(DEPRECATED),
            expected="absent, or the same as their successors",
            meaning="another verifier would see another signer",
        )
        differ = [
            f"{DEPRECATED[oid]} {found}"
            for oid, expected in self.deprecated.items()
            if (found := read_claim(certificate, oid)) not in (ABSENT, expected)
        ]
        yield agree, ", ".join(differ) or agree.expected

    def bind(self, certificate: Certificate) -> "Policy":
        """Return the same policy, which also requires every value that `certificate` has."""
        return replace(self, claims=read_claims(certificate))

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
        claims = read_claims(certificate)
        expected = claims if self.claims is None else self.claims
        for number in sorted(claims.keys() | expected.keys()):
            found, wanted = claims.get(number, ABSENT), expected.get(number, ABSENT)
            if found != wanted:
                title = TITLES.get(number, f"extension {OID}.{number}")
                raise VerificationError(
                    f"{name}: {title} of its certificate is {found}, "
                    f"that of the release is {wanted}: one run signs a release"
                )


def _any_of(values: Sequence[str], meaning: str) -> tuple[str, str, re.Pattern[str] | None]:
    """Return what a requirement has for one of `values`: description, meaning, pattern."""
    pattern = re.compile("|".join(map(re.escape, values)))
    return " or ".join(values), meaning, pattern if len(values) > 1 else None


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
        return ABSENT
    return _decode(str(oid), extension.value.public_bytes())


def read_claims(certificate: Certificate) -> dict[str, str]:
    """Return the value of each of Fulcio's extensions, by its number below the arc."""
    claims = {}
    for extension in certificate.extensions:
        oid = extension.oid.dotted_string
        if oid.startswith(f"{OID}."):
            number = oid.removeprefix(f"{OID}.")
            claims[number] = _decode(number, extension.value.public_bytes())
    return claims


def _decode(number: str, value: bytes) -> str:
    if number.isdecimal() and int(number) <= PLAIN_TEXT:
        return value.decode(errors="backslashreplace")
    try:
        return asn1.decode_der(str, value)
    except ValueError:
        return f"certificate: {value.hex()} is no UTF8String"


def read_facts(certificate: Certificate) -> dict[str, str]:
    """Return commit, run, and GitHub's numbers of repository and owner, as in `certificate`."""
    numbers = {
        "commit": COMMIT,
        "run": RUN,
        "repository_id": REPOSITORY_ID,
        "owner_id": OWNER_ID,
    }
    return {name: read_claim(certificate, oid) for name, oid in numbers.items()}
