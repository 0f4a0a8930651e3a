"""Output of `verify`: a line per check, failures with their meaning, the verdict.

The texts of `--explain` are in explanations.toml.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from build.words import counted
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
    findings: Findings,
    target: str,
    trusted: dict[str, str],
    console: Console,
    *,
    explained: bool,
    every: bool,
) -> None:
    """Print the failures with their meaning, and the verdict.

    `trusted`: the signer and the trust root. `explained`: also print what each check proves.
    `every`: also print the result of each check, and not only their number.
    """
    values = ", ".join(f"{name} {value}" for name, value in trusted.items() if value)
    console.line(f"{target}: trusting {values}")
    if every or explained:
        rows = [[RESULTS[check.passed], check.name, check.expected] for check in findings.checks]
        console.table(rows, header=["result", "check", "expected"])
    elif passed := [check.name for check in findings.checks if check.passed]:
        console.line(f"ok: {count_kinds(passed)}; `--all` lists them")
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
    console.line(
        f"{target}: {VERDICTS[findings.verdict]}, {counted(len(findings.checks), 'check')}"
    )
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


def count_kinds(names: Sequence[str]) -> str:
    """Return the number of checks, by kind where there are several of one.

    >>> count_kinds(["signer", "digest of a.apk", "digest of b.apk", "run"])
    'digest (2) and 2 others'
    """
    counts = Counter(kind_of(name) for name in names)
    several = [f"{kind} ({count})" for kind, count in counts.items() if count > 1]
    others = counted(sum(count == 1 for count in counts.values()), "other")
    return " and ".join([", ".join(several), others] if several else [others])


def kind_of(name: str) -> str:
    """Return the kind of a check: its name without the file that it is about.

    >>> kind_of("digest of a.qcow2"), kind_of("signature of SHA256SUMS"), kind_of("file list")
    ('digest', 'signature', 'file list')
    """
    return re.split(r" (?:of|in) (?=\S*[.\d_A-Z])", name, maxsplit=1)[0]


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
