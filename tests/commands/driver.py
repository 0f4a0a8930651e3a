"""`python -m tests.commands.driver WORDS`: a command that solves without a container.

For tests that kill it, or that give it a file system of its own.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from ci.__main__ import main
from tests.snapshot.served import scripted

if __name__ == "__main__":
    engine = SimpleNamespace(engine=scripted(Path(), ()))
    with patch("ci.commands.pin.choose_engine", lambda *_, **__: engine):
        sys.exit(main(sys.argv[1:]))
