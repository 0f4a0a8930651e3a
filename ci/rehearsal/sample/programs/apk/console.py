"""Lines for the person who started apk."""

import sys


def print_line(text: str) -> None:
    """Write a line that is not an error."""
    print(text, flush=True)


def print_error(text: str, label: str = "ERROR") -> None:
    """Write a line about an error."""
    print(f"{label}: {text}", file=sys.stderr, flush=True)
