"""What verification says: one line a check, and why a check that failed matters."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from build.errors import VerificationError
from ci.verify.safe_io import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    expected: str
    found: str
    meaning: str = ""
    """What a failure means to the person who wants to import the image."""


@dataclass(slots=True)
class Findings:
    """The checks made so far, in the order they were made."""

    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    """What the certificate says of itself, to be kept by who wants to: numeric ids, tag, commit."""

    def add(self, name: str, *, expected: str, found: str, meaning: str = "") -> bool:
        """Record that `found` must be `expected`, and return whether it is."""
        passed = expected == found
        self._record(name, passed, expected, found, meaning)
        return passed

    @contextmanager
    def require(self, name: str, *, expected: str, meaning: str = "") -> Iterator[None]:
        """Record a check that passes unless its block raises VerificationError.

        The error is raised again as `CheckFailed`: what stands on this check is not looked at.
        """
        try:
            yield
        except VerificationError as error:
            found = str(error) + (f" ({error.hint})" if error.hint else "")
            self._record(name, False, expected, found, meaning)
            raise CheckFailed from error
        self._record(name, True, expected, expected, "")

    @contextmanager
    def check(self, name: str, *, expected: str, meaning: str = "") -> Iterator[None]:
        """Record what `passing` records; nothing stands on this check, so others follow it."""
        with suppress(CheckFailed), self.require(name, expected=expected, meaning=meaning):
            yield

    def note(self, text: str) -> None:
        """Tell what is worth knowing and decides nothing."""
        self.notes.append(printable(text))

    def _record(self, name: str, passed: bool, expected: str, found: str, meaning: str) -> None:
        # What was found may be anybody's text: it goes to a terminal, and is no essay.
        check = Check(
            name=printable(name),
            passed=passed,
            expected=printable(expected),
            found=printable(found, 700),
            meaning=meaning,
        )
        self.checks.append(check)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether there were checks and all held."""
        return bool(self.checks) and not self.failed


class CheckFailed(Exception):  # noqa: N818  # the failure itself is recorded in the findings
    """What comes next would stand on a check that failed."""
