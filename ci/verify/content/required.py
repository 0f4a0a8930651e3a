"""Checks of the rules in the verifying person's policy file."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from ci.verify.content.statements import IMAGE_STATEMENTS
from ci.verify.findings import Findings
from ci.verify.trust.rules import Rules

TOO_OLD = "a release that is no longer maintained, or that somebody holds back newer ones for"
LACKING = (
    "your policy file demands more than the target states: one image has no snapshot and no "
    "difference, the first release of a line no difference"
)
CLOCKS = timedelta(minutes=5)
"""What the clock of this machine may differ from those of sigstore."""


def check_signing_time(rules: Rules, now: datetime, findings: Findings) -> None:
    """Add the check that the release was signed within the days that the policy file allows.

    The time is that in `findings`, of a signature that was verified.
    """
    days, signed = rules.max_age_days, findings.signed_at
    if days is None:
        return
    expected = f"within the {days} days before {now:%Y-%m-%d}"
    if signed is None:
        found = "no time"
    elif signed > now + CLOCKS:
        # A clock that is behind would make every release a young one.
        found = f"{signed:%Y-%m-%d %H:%M} UTC, later than this machine's clock: set the clock"
    elif now - signed > timedelta(days=days):
        found = f"{signed:%Y-%m-%d %H:%M} UTC, {(now - signed).days} days ago"
    else:
        found = expected
    findings.add("time of signing", expected=expected, found=found, meaning=TOO_OLD)


def check_required_statements(rules: Rules, images: Iterable[str], findings: Findings) -> None:
    """Add the check that the statements that the policy file demands were verified.

    `images`: names of the image files that were verified.
    """
    if not rules.statements:
        return
    of_images = {kind.title for kind in IMAGE_STATEMENTS}
    names = [
        name
        for title in rules.statements
        for name in ([f"{title} of {image}" for image in images] if title in of_images else [title])
    ]
    passed = {check.name for check in findings.checks if check.passed}
    lacking = [name for name in names if name not in passed]
    expected = f"verified: {', '.join(rules.statements)}"
    findings.add(
        "required statements",
        expected=expected,
        found=f"no valid {', '.join(lacking)}" if lacking else expected,
        meaning=LACKING,
    )
