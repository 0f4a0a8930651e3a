"""`python -m tests.commands.driver WORDS`: a command that solves without a container.

For tests that kill it, or that give it a file system of its own.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import ci.commands.pin
from ci.__main__ import main
from tests.snapshot.served import scripted

if __name__ == "__main__":
    engine = SimpleNamespace(engine=scripted(Path(), ()))
    ci.commands.pin.choose_engine = lambda *_, **__: engine  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))
