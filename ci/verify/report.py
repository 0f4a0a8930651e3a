"""All checks of one target, as a person reads them and as data."""

from dataclasses import asdict

from ci.report.console import Console
from ci.verify.explanations import explain
from ci.verify.findings import Check, Findings


def tell(
    findings: Findings, target: str, trusting: dict[str, str], console: Console, *, explained: bool
) -> None:
    """Print a line a check, what failed once more with its meaning, and the verdict.

    `trusting`: who is believed, by what.
    """
    words = ", ".join(f"{name} {value}" for name, value in trusting.items() if value)
    console.line(f"{target}: trusting {words}")
    console.table(
        [
            ["ok" if check.passed else "FAILED", check.name, check.expected]
            for check in findings.checks
        ],
        header=["result", "what", "against what"],
    )
    for note in findings.notes:
        console.line(f"note: {note}")
    if explained:
        for check in findings.checks:
            console.line(f"\n{check.name}\n{_indented(check)}")
    for check in findings.failed:
        console.line(f"\nFAILED {check.name}")
        console.line(f"  expected {check.expected}\n  found    {check.found}")
        if check.meaning:
            console.line(f"  meaning  {check.meaning}")
    verdict = "verified" if findings.passed else "REFUSED: do not import it"
    console.line(f"{target}: {verdict}, {len(findings.checks)} checks")
    console.data(
        {
            "target": target,
            "verified": findings.passed,
            "trusting": trusting,
            "facts": findings.facts,
            "checks": [_plain(check) for check in findings.checks],
            "notes": findings.notes,
        }
    )


def _indented(check: Check) -> str:
    proves, not_proves = explain(check.name)
    return f"  proves          {proves}\n  does not prove  {not_proves}"


def _plain(check: Check) -> dict[str, object]:
    proves, not_proves = explain(check.name)
    return {**asdict(check), "proves": proves, "does_not_prove": not_proves}
