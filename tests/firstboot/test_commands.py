"""Each command that a script of the first boot runs is brought by a package of the image."""

import subprocess
from pathlib import Path

import pytest

from build.apk.unpack import unpack_data
from build.firstboot.packages import COMMANDS, DEPENDS, FILES, INIT_FILES, OPTIONAL_COMMANDS
from tests.alpine import SMALL
from tests.firstboot.shell_commands import external_commands, functions

NO_SCRIPTS = (".awk", "/interfaces", "sshd_config.d/")
SCRIPTS = [path for path in INIT_FILES if not any(part in path for part in NO_SCRIPTS)]
NAMES = {command for commands in COMMANDS.values() for command in commands.split()}


def test_every_command_of_a_script_has_its_package() -> None:
    texts = {path: (FILES / path).read_text() for path in SCRIPTS}
    own = {name for text in texts.values() for name in functions(text)}
    own |= {f"/{path}" for path in INIT_FILES}
    unknown = {
        path: missing
        for path, text in texts.items()
        if (missing := external_commands(text) - own - NAMES - {*OPTIONAL_COMMANDS})
    }
    assert unknown == {}


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ("a=1 ls | wc -l && b=$(cut x | tr a b)", {"ls", "wc", "cut", "tr"}),
        ("case $x in a | b) rm f ;; *) (mv f g) ;; esac; cp a b", {"rm", "mv", "cp"}),
        ('echo "$(cat "${f:-$(id)}") sed # no" # awk', {"cat", "id"}),
        ("f() {\n\tfor x in ls rm; do stat $x; done\n}\nf", {"stat", "f"}),
        (
            "timeout 5 dd if=x; exec setsid -w ip a; command -v nft",
            {"timeout", "dd", "setsid", "ip"},
        ),
        ("n=$(( $(wc -l <f) * (2 + 1) ))\nif ! grep x; then od; fi", {"wc", "grep", "od"}),
        ("cat <<'END'\nrm -rf /\nEND\nsync", {"cat", "sync"}),
        ("sed 's/a/$(b)/; c' \\\n  file & head f", {"sed", "head"}),
    ],
)
def test_commands_are_read_from_the_text_of_a_script(script: str, commands: set[str]) -> None:
    assert external_commands(script) == commands


def test_every_package_is_pinned_with_the_image() -> None:
    assert {*DEPENDS} == {*COMMANDS}


@pytest.mark.alpine
def test_alpines_busybox_has_the_applets(tmp_path: Path) -> None:
    for name in ("musl-1.2.4_git20230717-r4", "busybox-1.36.1-r15"):
        unpack_data((SMALL / f"x86_64/{name}.apk").read_bytes(), tmp_path)
    argv = [f"{tmp_path}/{name}" for name in ("lib/ld-musl-x86_64.so.1", "bin/busybox")]
    applets = subprocess.run(
        [*argv, "--list"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert {*COMMANDS["busybox"].split()} <= {*applets, "busybox", "env"}
