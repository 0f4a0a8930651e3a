"""Every command is a module of the protocol `Command`."""

import argparse
import inspect
from pathlib import Path

import pytest

from ci import commands
from ci.__main__ import main, make_parser
from ci.commands import (
    COMMANDS,
    Command,
    act,
    archive,
    artifacts,
    boot,
    build,
    convert,
    diff,
    doctor,
    explain,
    import_,
    load_command,
    mirror,
    module_name,
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
    *(verify, import_, convert, trust, rehearse, act),
)
"""mypy checks each of them against the protocol."""


def test_the_table_names_every_module_once() -> None:
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(map(module_name, COMMANDS)) == sorted(files)
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
    assert main(["biuld"]) == 2
    assert "biuld: not a command (did you mean build?)" in capsys.readouterr().err


def test_help_lists_every_command_with_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"]):
        assert main(words) == 0
        printed = capsys.readouterr().out
        for name in COMMANDS:
            assert f"{name} " in printed
            assert load_command(name).HELP in printed


def test_relative_paths_start_in_the_folder_of_the_caller(tmp_path: Path) -> None:
    parser = make_parser("inspect", load_command("inspect"), folder=tmp_path)
    arguments = parser.parse_args(["x.qcow2", "--config", "/etc/release.toml"])
    assert arguments.image == tmp_path / "x.qcow2"
    assert arguments.config == Path("/etc/release.toml")
    # A default is relative to the checkout, wherever the command was typed.
    assert parser.parse_args(["x.qcow2"]).config == Path("release.toml")
