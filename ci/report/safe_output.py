"""Output without secrets and control characters, and the one function that reads a secret."""

import io
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import TextIO
from urllib.parse import quote

from build.errors import ConfigError, SnowdropError
from build.urls import hide_userinfo
from ci.report.table import escape

SECRETS = (
    *("GITHUB_TOKEN", "SPACES_KEY", "SPACES_SECRET", "SIGSTORE_ID_TOKEN", "DIGITALOCEAN_TOKEN"),
    # GitHub Actions: requests the identity token of the job.
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)
"""Environment variables whose values are never printed."""
MIN_LENGTH = 6
"""Shorter values stay in the output: they would be parts of ordinary words."""
ENDS = (r"[^!-~]+", r"[^!-.0-~]+")
"""Separators of the parts of a value: all but visible ASCII, and the same with the slash."""


def read_secret(environment: Mapping[str, str], name: str) -> str:
    """Return the secret in the variable `name`, empty when it is not set.

    Raises:
        ConfigError: it has other characters than visible ASCII; the message has only the name.
    """
    value = environment.get(name, "")
    # An HTTP library that refuses a header with such a value prints the whole header.
    if re.search(r"[^!-~]", value):
        message = f"{name}: has white space, a line end or a control character, expected none"
        raise ConfigError(message, hint="set it again, without a line end after the value")
    return value


def cleaner(environment: Mapping[str, str]) -> Callable[[str], str]:
    r"""Return a function that removes secrets and escapes all but line ends, tabs and text.

    >>> print(cleaner({"GITHUB_TOKEN": "ghp/01234\n"})("ghp%2F01234\n\u202eb http://a:b@c/\r"))
    ***
    \u202eb http://c/\r
    """
    # A malformed value is refused, but must not be printed either: its parts are removed. A slash
    # ends a value that stands in a URL, such as a password.
    names = [(name, ends) for name in SECRETS for ends in ENDS]
    parts = {part for name, ends in names for part in re.split(ends, environment.get(name, ""))}
    long = [part for part in parts if len(part) >= MIN_LENGTH]
    forms = {form for each in long for form in (each, quote(each, ""), json.dumps(each)[1:-1])}
    # The longest first: one value may be the beginning of another.
    words = map(re.escape, sorted(forms, key=len, reverse=True))
    secret = re.compile("|".join(words) or r"(?!)")

    def clean(text: str) -> str:
        hidden = hide_userinfo(secret.sub("***", text))
        return re.sub(r"[^\n\t]+", lambda line: escape(line[0]), hidden)

    return clean


class SafeStream(io.TextIOBase):
    """Stream that cleans what is written, by commands and libraries; not that of children."""

    def __init__(self, stream: TextIO | None, clean: Callable[[str], str], name: str = "") -> None:
        # A closed stream is None. Its descriptor is occupied, or else a file that is opened later
        # gets it, and with it the output of child processes.
        self.stream = stream or open(os.devnull, "w")  # noqa: PTH123, SIM115  # until the end
        self.clean, self.name = clean, name
        if isinstance(self.stream, io.TextIOWrapper):
            self.stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write `text` cleaned, at once.

        Raises:
            SnowdropError: that failed; not for a stream without a name.
            SystemExit: the reader of a stream with a name has ended, as `head` does.
        """
        try:
            print(self.clean(text), end="", file=self.stream, flush=True)
        except OSError as error:
            # What is left in the buffer goes nowhere: Python would fail again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            if self.name and isinstance(error, BrokenPipeError):
                raise SystemExit(1) from None
            if self.name:
                raise SnowdropError(f"{self.name}: {error.strerror}") from None
        return len(text)

    def fileno(self) -> int:
        """Return the descriptor, for a child process."""
        return self.stream.fileno()
