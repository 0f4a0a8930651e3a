"""Fixtures of the tests of publishing: commands called in process, as by `python -m ci`."""

import argparse
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from ci.report.console import Console
from tests.publish.release import Counted


@dataclass
class Outcome:
    """Result of a command."""

    status: int
    text: str
    data: dict[str, object] = field(default_factory=dict)
    progress: Counted = field(default_factory=Counted)


@pytest.fixture
def call() -> Callable[..., Outcome]:
    """Return a function that runs a command module: config, arguments, environment -> outcome."""

    def caller(
        command: ModuleType,
        config: Path,
        *argv: str,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        parser = argparse.ArgumentParser()
        parser.add_argument("--config", type=Path)
        parser.add_argument("--json", action="store_true")
        command.add_arguments(parser)
        out, progress = io.StringIO(), Counted()
        arguments = parser.parse_args(["--config", str(config), *argv])
        environment = environment or {}
        console = Console(out, io.StringIO(), environment, arguments.json, progress)
        status = command.run(arguments, console)
        text = out.getvalue()
        return Outcome(status, text, json.loads(text) if arguments.json else {}, progress)

    return caller
