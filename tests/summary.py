"""What a run of the tests writes into the summary of its job in GitHub Actions."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from ci.report.table import escape, markdown_table

Report = pytest.TestReport | pytest.CollectReport
RESULTS = {"passed": "passed", "skipped": "skipped", "failed": "failed", "error": "with errors"}
"""Words by the names that pytest gives to results."""
MAX_FAILURES = 50
"""Rows of a summary; the log of the job has all."""


def summarize(results: Mapping[str, Sequence[Report]], chosen: Sequence[str] = ()) -> str:
    """Return the result of a run as Markdown: numbers, failures, and reasons of skips.

    `chosen` are the files or folders that the run was limited to.
    """
    numbers = [
        f"{len(results[name]):,} {word}" for name, word in RESULTS.items() if results.get(name)
    ]
    title = f"## Tests of {code(' '.join(chosen))}" if chosen else "## Tests"
    texts = [title, ", ".join(numbers) or "no test was run"]
    failed = [*results.get("failed", ()), *results.get("error", ())]
    if failed:
        rows = [(code(report.nodeid), code(reason(report))) for report in failed[:MAX_FAILURES]]
        texts.append(markdown_table(rows, ["failed", "why"]))
    if len(failed) > MAX_FAILURES:
        texts.append(f"and {len(failed) - MAX_FAILURES:,} more")
    if skips := Counter(code(reason(report)) for report in results.get("skipped", ())):
        skipped = [(str(count), text) for text, count in skips.most_common()]
        texts.append(markdown_table(skipped, ["skipped", "why"]))
    return "\n\n".join(texts)


def reason(report: Report) -> str:
    """Return one line of what pytest says of a failure or a skip."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ").partition("\n")[0]
    if crash := getattr(report.longrepr, "reprcrash", None):
        return str(crash.message).strip().partition("\n")[0]
    # A module that cannot be imported has its error behind the traceback.
    return str(report.longrepr).strip().rpartition("\n")[2].removeprefix("E ").strip()


def code(text: str) -> str:
    """Return text as a code span, in which nothing is Markdown.

    >>> code("a`b")
    "`a'b`"
    """
    return f"`{escape(text).replace('`', chr(39)) or ' '}`"
