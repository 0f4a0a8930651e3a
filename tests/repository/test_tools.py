"""Every session asks for every program that its command can call.

The programs are read from the sources: from the command's `run`, over each function, class and
constant that it names, to the first word of each list of arguments.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from ci.commands import COMMANDS, module_name
from ci.environment import SESSION_TOOLS, TOOLS, session_tools

ROOT = Path(__file__).parents[2]
ONLY_IN_TESTS = {"shellcheck", "busybox", "sfdisk", "sshd", "chromium"}
"""No command starts these; some are also names of Alpine packages."""
TOOL_OF = {
    **{tool.program: name for name, tool in TOOLS.items() if name not in ONLY_IN_TESTS},
    **dict.fromkeys(("docker", "podman", "unshare"), "engine"),
    "ssh-keygen": "ssh",
}
"""Programs by name, those of a tool's packages among them."""
ESSENTIAL = {
    *("tar", "chroot", "setpriv", "nsenter", "/bin/sh", "env", "/usr/bin/dpkg-query"),
    *("apt-get", "apt-config"),
}
"""Parts of every system of Debian's family, the last two being checked by the command itself."""
NOT_ON_THIS_HOST = ("build.inside", "ci.reproduce.vm_guest", "ci.rehearsal.sample.programs")
"""Modules that run in a container or a virtual machine."""
ASKED_ONLY = "ci.environment"
"""`preflight` and `doctor` report a missing program; they do not need it themselves."""
NOT_CALLED = {"build.inspect.external_checks": "inspect"}
"""Modules that one command asks for by an argument (`InspectOptions.programs`)."""
STARTERS = {"run", "Popen", "which"}


@dataclass(frozen=True)
class Module:
    """The names at the top of a module: what it defines, and what it imports from where."""

    defined: dict[str, list[ast.stmt]]
    imported: dict[str, str]


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    found = (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file())
    return next(found, None)


@cache
def module_of(name: str) -> Module:
    file = file_of(name)
    assert file is not None, name
    defined: dict[str, list[ast.stmt]] = {}
    imported: dict[str, str] = {}
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {
                each.asname or each.name: f"{node.module}.{each.name}" for each in node.names
            }
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            defined.setdefault(statement.name, []).append(statement)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    defined.setdefault(node.id, []).append(statement)
    return Module(defined, imported)


def resolve(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield where a name that `module` uses is defined."""
    if name in module_of(module).defined:
        yield module, name
    elif target := module_of(module).imported.get(name):
        if file_of(target):  # a module: every name of it that is used is an attribute
            yield target, ""
        elif file_of(target.rpartition(".")[0]):
            yield from resolve(*target.rpartition(".")[::2])


def uses(module: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield what the definition of `name` in `module` names."""
    for statement in module_of(module).defined.get(name, []):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                yield from resolve(module, node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                for found, inner in resolve(module, node.value.id):
                    if not inner:
                        yield from resolve(found, node.attr)


def reached(module: str, names: tuple[str, ...], command: str) -> set[tuple[str, str]]:
    """Return every definition that can be reached from those of `module`."""
    seen: set[tuple[str, str]] = set()
    waiting = [(module, name) for name in names]
    while waiting:
        each = waiting.pop()
        where = each[0]
        hidden = (
            where.startswith((*NOT_ON_THIS_HOST, ASKED_ONLY))
            or NOT_CALLED.get(where, command) != command
        )
        if each not in seen and not hidden:
            seen.add(each)
            waiting += uses(*each)
    return seen


def first_word(module: str, node: ast.expr) -> Iterator[str]:
    """Yield the program of a list of arguments, or a name that is one itself."""
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        yield from first_word(module, node.elts[0])
    elif isinstance(node, ast.Starred):
        yield from first_word(module, node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name):
        for found, name in resolve(module, node.id):
            for statement in module_of(found).defined.get(name, []):
                if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                    yield str(statement.value.value)


def programs(module: str, name: str) -> Iterator[str]:
    """Yield the programs that a definition starts: known ones in any list, all where it runs."""
    known = TOOL_OF.keys() | ESSENTIAL
    for statement in module_of(module).defined.get(name, []):
        for node in ast.walk(statement):
            if isinstance(node, ast.List | ast.Tuple):
                yield from (word for word in first_word(module, node) if word in known)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id == "argv":
                    yield from first_word(module, node.value)
            elif isinstance(node, ast.Call) and node.args:
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                listed = isinstance(node.args[0], ast.List | ast.Tuple)
                if called in STARTERS and (listed or called == "which"):
                    yield from first_word(module, node.args[0])


def programs_of(command: str) -> set[str]:
    found = reached(f"ci.commands.{module_name(command)}", ("run",), command)
    return {program for each in found for program in programs(*each)}


def rehearsed_commands() -> set[str]:
    """Return the commands that a rehearsal runs, each in a process of its own."""
    tree = ast.parse((ROOT / "ci/rehearsal/rehearse.py").read_text())
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    words = {
        node.args[0].value
        for node in calls
        if isinstance(node.func, ast.Name) and isinstance(node.args[0], ast.Constant)
    }
    return {str(word) for word in words if word in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_session_asks_for_the_programs_that_its_command_can_call(command: str) -> None:
    found = programs_of(command)
    assert found - ESSENTIAL <= TOOL_OF.keys(), "add it to TOOLS in ci/environment.py"
    needed = {TOOL_OF[program] for program in found - ESSENTIAL}
    if command == "act":
        needed |= {"dockerd", *session_tools("rehearse"), *session_tools("boot", ["--faults"])}
        needed |= {"debootstrap", *session_tools("tests")}  # ci.yml, with `--workflow`
    if command == "rehearse":
        assert {"pin", "build", "boot", "sign"} <= rehearsed_commands()
        needed |= {tool for each in rehearsed_commands() for tool in session_tools(each)}
        needed.add("debian")  # is read, not run: ci/rehearsal/sample/mirror.py
    options = [key.partition(" ")[2] for key in SESSION_TOOLS if key.split()[0] == command]
    assert set(session_tools(command, options)) == needed


def test_the_programs_of_commands_are_found_in_their_sources() -> None:
    assert programs_of("boot") >= {"qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen"}
    assert programs_of("pin") >= {"docker", "podman", "unshare", "tar"}
    assert "git" not in programs_of("inspect")


def test_the_table_names_sessions_and_tools_that_exist() -> None:
    text = (ROOT / "noxfile.py").read_text()
    for key, tools in SESSION_TOOLS.items():
        assert f"def {key.split()[0]}(session" in text, key
        assert set(tools) <= TOOLS.keys(), key
