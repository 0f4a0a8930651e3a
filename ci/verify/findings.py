"""Results of the checks, in the order in which they were made."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from build.errors import SnowdropError, VerificationError
from ci.verify.safe_io import printable

MISSING_HINT = (
    "put these files of the release beside the image, or verify the release itself with "
    "`--save DIR`"
)
MAX_FOUND = 700
"""Characters kept of a found value, which an attacker may have written."""


class Verdict(Enum):
    """The result of all checks together; the value is what is printed."""

    VERIFIED = "verified"
    """Everything that a release states about the files was there, and passed."""
    SIGNATURE_ONLY = "signature only"
    """The checks passed, but files are missing: name, provenance or boot are not known."""
    REFUSED = "refused"
    """A check failed."""

    @property
    def exit_code(self) -> int:
        """The exit code of `verify`."""
        return {Verdict.VERIFIED: 0, Verdict.REFUSED: 1, Verdict.SIGNATURE_ONLY: 4}[self]


class SignatureOnlyError(SnowdropError):
    """Only a signature was verified, where more is required."""

    exit_code = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    expected: str
    found: str
    meaning: str = ""
    """The meaning of a failure for an import of the image."""


@dataclass(slots=True)
class Findings:
    """The checks made so far."""

    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    """Tag, time of signing, and of the certificate commit, run, and GitHub's numbers."""
    missing: list[str] = field(default_factory=list)
    """Files without which an image is bound neither to its name nor to its statements."""
    signed_at: datetime | None = None
    """The time of the first signature that was verified; None before that."""
    epoch: int | None = None
    """The epoch of the release, in seconds since 1970; None before its manifest passed."""

    def add(
        self, name: str, *, expected: str, found: str, meaning: str = "", failed: bool = False
    ) -> bool:
        """Record a check that passes when `found` is `expected`; return whether it does.

        `failed`: it does not pass in any case, since `found` is the text of an error.
        """
        check = Check(
            name=printable(name),
            passed=not failed and expected == found,
            expected=printable(expected),
            found=printable(found, MAX_FOUND),
            meaning=meaning,
        )
        self.checks.append(check)
        return check.passed

    @contextmanager
    def require(self, name: str, *, expected: str, meaning: str = "") -> Iterator[None]:
        """Record a check that later ones depend on; it fails when its block does.

        Raises:
            CheckFailed: the block raised VerificationError, which is recorded.
        """
        try:
            yield
        except VerificationError as error:
            found = str(error) + (f" ({error.hint})" if error.hint else "")
            self.add(name, expected=expected, found=found, meaning=meaning, failed=True)
            raise CheckFailed from error
        self.add(name, expected=expected, found=expected)

    @contextmanager
    def check(self, name: str, *, expected: str, meaning: str = "") -> Iterator[None]:
        """Record a check that no other depends on: a failure is recorded, and ends the block."""
        with suppress(CheckFailed), self.require(name, expected=expected, meaning=meaning):
            yield

    @contextmanager
    def until_failure(self) -> Iterator[None]:
        """End the block at a required check that failed, and note that the rest was skipped."""
        try:
            yield
        except CheckFailed:
            self.note(f"skipped: what comes after {self.checks[-1].name}, which failed")

    def note(self, text: str) -> None:
        """Record information that decides nothing."""
        self.notes.append(printable(text))

    @property
    def verdict(self) -> Verdict:
        """The result of all checks; REFUSED when there were none."""
        if not self.passed:
            return Verdict.REFUSED
        return Verdict.SIGNATURE_ONLY if self.missing else Verdict.VERIFIED

    def require_verified(self, target: str) -> None:
        """Check that `target` may be imported: every check was made and passed.

        Raises:
            VerificationError: a check failed; the message names the first.
            SignatureOnlyError: files are missing; the message names them.
        """
        if self.verdict is Verdict.REFUSED:
            first = next(iter(self.failed), None)
            reason = f"{first.name}: {first.found}" if first else "nothing was checked"
            raise VerificationError(f"{target}: refused: {reason}")
        if self.verdict is Verdict.SIGNATURE_ONLY:
            raise SignatureOnlyError(
                f"{target}: only its signature was verified, lacking {', '.join(self.missing)}",
                hint=MISSING_HINT,
            )

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether there were checks and all passed."""
        return bool(self.checks) and not self.failed


class CheckFailed(Exception):  # noqa: N818  # the failure itself is recorded in the findings
    """A required check failed: those that depend on it are not made."""
