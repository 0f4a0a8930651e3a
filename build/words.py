"""Words for messages."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the nearest of the known words, or nothing.

    >>> did_you_mean("pakages", ["packages", "services"])
    ' (did you mean packages?)'
    """
    nearest = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, which takes an `s` unless the plural is given.

    >>> counted(1, "file"), counted(2, "file"), counted(0, "entry", "entries")
    ('1 file', '2 files', '0 entries')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
