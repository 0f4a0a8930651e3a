"""Every command is a module of the protocol `Command`."""

import argparse
import inspect
from pathlib import Path

import pytest

from ci import commands
from ci.__main__ import main
from ci.commands import (
    COMMANDS,
    Command,
    act,
    archive,
    artifacts,
    boot,
    build,
    diff,
    doctor,
    explain,
    load_command,
    mirror,
    pin,
    preflight,
    propose,
    publish,
    refresh,
    rehearse,
    sign,
    store,
    trust,
    verify,
    version,
)
from ci.commands import inspect as inspect_command

MODULES: tuple[Command, ...] = (
    *(
        doctor,
        preflight,
        version,
        pin,
        refresh,
        propose,
        diff,
        store,
        build,
        inspect_command,
        explain,
        boot,
    ),
    *(archive, artifacts, sign, publish, mirror),
    *(verify, trust, rehearse, act),
)
"""mypy checks each of them against the protocol."""


def test_the_table_names_every_module_once() -> None:
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(COMMANDS) == sorted(files)
    assert tuple(load_command(name) for name in COMMANDS) == MODULES


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_arguments_and_run(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = load_command(name)
    assert command.HELP
    assert "\n" not in command.HELP
    for method in ("add_arguments", "run"):
        found = inspect.signature(getattr(command, method), eval_str=True)
        expected = inspect.signature(getattr(Command, method), eval_str=True)
        parameters = [each.replace() for each in expected.parameters.values()][1:]
        assert found == expected.replace(parameters=parameters)
    command.add_arguments(argparse.ArgumentParser())
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert command.HELP.split()[0] in capsys.readouterr().out


def test_what_is_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == main([]) == 2
    assert "nonsense: not a command" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "propose, diff, store" in capsys.readouterr().out
