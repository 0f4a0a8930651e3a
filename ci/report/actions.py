"""Files through which a step of GitHub Actions gives outputs and a summary to its job.

Outside of a workflow the variables that name these files are absent, and nothing is written.
"""

from collections.abc import Mapping
from pathlib import Path

from build.errors import SnowdropError

OUTPUT, SUMMARY = "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"
MAX_SUMMARY = 1 << 20
"""Bytes that GitHub accepts of one step (GitHub Actions, "Adding a job summary")."""


def write_outputs(environment: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Add outputs to the step; a later job may read them.

    Raises:
        SnowdropError: a value has a line end, which would begin another output.
    """
    for name, value in values.items():
        if "\n" in value or "\r" in value:
            raise SnowdropError(f"output {name}: has a line end, expected one line")
    _append(environment, OUTPUT, "".join(f"{name}={text}\n" for name, text in values.items()))


def write_summary(environment: Mapping[str, str], markdown: str) -> None:
    """Add Markdown to the summary of the job."""
    if len(markdown.encode()) < MAX_SUMMARY:
        _append(environment, SUMMARY, markdown.rstrip() + "\n\n")


def _append(environment: Mapping[str, str], variable: str, text: str) -> None:
    if path := environment.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
