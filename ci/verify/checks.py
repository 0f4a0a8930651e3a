"""What verification says: one line a check, and why a check that failed matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from build.errors import VerificationError


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

    def add(self, name: str, *, expected: str, found: str, meaning: str = "") -> bool:
        """Record that `found` must be `expected`, and return whether it is."""
        passed = expected == found
        self.checks.append(
            Check(name=name, passed=passed, expected=expected, found=found, meaning=meaning)
        )
        return passed

    @contextmanager
    def passing(self, name: str, *, expected: str, meaning: str = "") -> Iterator[None]:
        """Record a check that passes unless its block raises VerificationError.

        The error is raised again as `Stopped`: what stands on this check is not looked at.
        """
        try:
            yield
        except VerificationError as error:
            found = str(error) + (f" ({error.hint})" if error.hint else "")
            self.checks.append(
                Check(name=name, passed=False, expected=expected, found=found, meaning=meaning)
            )
            raise Stopped from error
        self.checks.append(Check(name=name, passed=True, expected=expected, found=expected))

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether there were checks and all held."""
        return bool(self.checks) and not self.failed


class Stopped(Exception):  # noqa: N818  # the failure itself is recorded in the findings
    """What comes next would stand on a check that failed."""
