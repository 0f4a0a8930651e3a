"""Output of `verify`: a line per check, failures with their meaning, the verdict.

The texts of `--explain` are in explanations.toml.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ci.report.console import Console
from ci.verify.findings import MISSING_HINT, Findings, Verdict

EXPLANATIONS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    Path(__file__).with_name("explanations.toml").read_text(encoding="utf-8")
)
"""By the first words of a check's name: what it `proves`, and what it `does_not_prove`."""

RESULTS = {True: "ok", False: "FAILED"}
VERDICTS = {
    Verdict.VERIFIED: "verified",
    Verdict.SIGNATURE_ONLY: "signature only: do not import it",
    Verdict.REFUSED: "REFUSED: do not import it",
}


def print_report(
    findings: Findings, target: str, trusted: dict[str, str], console: Console, *, explained: bool
) -> None:
    """Print the result of each check, failures with their meaning, and the verdict.

    `trusted`: the signer and the trust root. `explained`: also print what each check proves.
    """
    values = ", ".join(f"{name} {value}" for name, value in trusted.items() if value)
    console.line(f"{target}: trusting {values}")
    rows = [[RESULTS[check.passed], check.name, check.expected] for check in findings.checks]
    console.table(rows, header=["result", "check", "expected"])
    for note in findings.notes:
        console.line(f"note: {note}")
    if explained:
        for check in findings.checks:
            console.line(f"\n{_format_explanation(check.name, explain(check.name))}")
    for check in findings.failed:
        console.line(f"\nFAILED {check.name}")
        console.line(f"  expected {check.expected}\n  found    {check.found}")
        if check.meaning:
            console.line(f"  meaning  {check.meaning}")
    for name in findings.missing:
        console.line(f"missing: {name}")
    if findings.verdict is Verdict.SIGNATURE_ONLY:
        console.line(f"hint: {MISSING_HINT}")
    console.line(f"{target}: {VERDICTS[findings.verdict]}, {len(findings.checks)} checks")
    console.data(
        {
            "target": target,
            "verified": findings.verdict is Verdict.VERIFIED,
            "verdict": findings.verdict.value,
            "missing": findings.missing,
            "trusting": trusted,
            "facts": findings.facts,
            "checks": [{**asdict(check), **explain(check.name)} for check in findings.checks],
            "notes": findings.notes,
        }
    )


def print_explanations(console: Console) -> None:
    """Print what every check proves, for a user who has nothing to verify yet."""
    console.line("\n\n".join(_format_explanation(*item) for item in EXPLANATIONS.items()))
    console.data(EXPLANATIONS)


def explain(name: str) -> Mapping[str, str]:
    """Return what the check `name` proves, and what it does not.

    >>> explain("digest of a.qcow2")["proves"]
    'the file is, byte for byte, the one in the signed list'
    """
    matching = [words for words in EXPLANATIONS if name == words or name.startswith(f"{words} ")]
    return EXPLANATIONS[max(matching, key=len)]


def _format_explanation(name: str, texts: Mapping[str, str]) -> str:
    proves, does_not_prove = texts["proves"], texts["does_not_prove"]
    return f"{name}\n  proves          {proves}\n  does not prove  {does_not_prove}"
