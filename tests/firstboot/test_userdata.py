"""The owner's script runs once for each droplet; what is no script never runs."""

import gzip
from typing import Any

import pytest

from tests.firstboot.conftest import KEY, OTHER_KEY, BootResult, Droplet, document, response
from tests.firstboot.test_drive import plug_in

SCRIPT = "#!/bin/sh\nid -u >>/ran\necho said; echo 'more said' >&2\n"
LIMIT = 1 << 20


def later(
    droplet: Droplet,
    text: str | bytes = "",
    *,
    user_data: list[dict[str, Any]] | None = None,
    listening: bool = True,
) -> BootResult:
    """Run what the droplet runs after sshd, with `text` as user data."""
    body = text.decode("latin-1") if isinstance(text, bytes) else text
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    return droplet.boot(*words, listening=listening, user_data=user_data or [response(body)])


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_script_runs_as_root_once(used_droplet: Droplet, *, packed: bool) -> None:
    data = gzip.compress(SCRIPT.encode()) if packed else SCRIPT.encode()
    for _ in range(3):
        result = later(used_droplet, data)
        assert (result.status, result.output) == (0, "")
    assert used_droplet.read("ran") == "0\n"
    log = used_droplet.read(used_droplet.log)
    assert log.count("\nsaid\nmore said\n") == 1
    modes = [
        (used_droplet.root / path).stat().st_mode & 0o777
        for path in (used_droplet.log, "var/lib/snowdrop/user-data", "var/lib/snowdrop")
    ]
    assert modes == [0o600, 0o700, 0o700]
    assert used_droplet.console.splitlines() == [
        "snowdrop-init: user-data: the script is started",
        "snowdrop-init: user-data: the script came to its end",
    ]


def test_the_boot_itself_runs_nothing(droplet: Droplet) -> None:
    droplet.boot(user_data=[response(SCRIPT)])
    assert not droplet.has("ran")


def test_a_copy_of_the_droplet_runs_its_own_script(used_droplet: Droplet) -> None:
    later(used_droplet, SCRIPT)
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    used_droplet.boot()
    later(used_droplet, "#!/bin/sh\necho of the copy >>/ran\n")
    assert used_droplet.read("ran") == "0\nof the copy\n"


def test_a_script_that_restarts_the_droplet_does_not_run_for_ever(used_droplet: Droplet) -> None:
    later(used_droplet, "#!/bin/sh\necho once >>/ran; kill -9 $PPID $$\n")
    later(used_droplet, SCRIPT)
    assert used_droplet.read("ran") == "once\n"


@pytest.mark.parametrize(
    ("script", "status"), [("#!/bin/sh\nexit 3\n", 3), ("#!/usr/bin/missing\n", 127)]
)
def test_a_script_that_fails_is_told(used_droplet: Droplet, script: str, status: int) -> None:
    assert later(used_droplet, script).status == 0
    assert f"the script ended with status {status}; /var/log/" in used_droplet.console


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "cloud-config": ("#cloud-config\nusers: [default]\n", "'#cloud-config'; only a script"),
    "MIME": ("Content-Type: multipart/mixed; boundary=x\n\n--x\n", "'Content-Type: multipart/"),
    "an include": ("#include\nhttp://192.0.2.1/x\n", "'#include'; only a script"),
    "a script behind a space": (" #!/bin/sh\ntouch /ran\n", "only a script"),
    "a control sequence": ("\x1b[2J\x00\x07\n", "'[2J'"),
    "broken gzip": (gzip.compress(SCRIPT.encode())[:-9], "cannot be unpacked"),
    "a small file that unpacks to a large one": (
        gzip.compress(SCRIPT.encode() + bytes(64 * LIMIT)),
        "longer than 1048576 bytes",
    ),
    "cloud-config in gzip": (gzip.compress(b"#cloud-config\n"), "'#cloud-config'; only a script"),
    "too long": (SCRIPT.ljust(LIMIT + 1), "longer than 1048576 bytes"),
    "much too long": (SCRIPT.ljust(2 * LIMIT), "longer than 1049088 bytes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_anything_else_is_refused_in_one_line_and_once(used_droplet: Droplet, what: str) -> None:
    text, told = REFUSED[what]
    assert later(used_droplet, text).status == 0
    later(used_droplet, SCRIPT)
    assert not used_droplet.has("ran")
    [line] = used_droplet.console.splitlines()
    assert line.startswith("snowdrop-init: user-data: not run: ")
    assert told in line
    assert line.isprintable()


@pytest.mark.parametrize("answers", [[response(status=404)], [response()]], ids=["none", "empty"])
def test_a_droplet_without_user_data_has_nothing_to_say(
    used_droplet: Droplet, answers: list[dict[str, Any]]
) -> None:
    later(used_droplet, user_data=answers)
    assert used_droplet.console == ""
    assert later(used_droplet).requests == []


def test_a_service_that_is_down_is_asked_again_at_the_next_boot(used_droplet: Droplet) -> None:
    later(used_droplet, user_data=[response(SCRIPT, missing=9)])
    assert "looked at again at the next boot" in used_droplet.console
    assert not used_droplet.has("ran")
    later(used_droplet, SCRIPT)
    assert used_droplet.read("ran") == "0\n"


def test_a_script_of_a_mebibyte_is_run(used_droplet: Droplet) -> None:
    later(used_droplet, SCRIPT + "# and more\n" * ((LIMIT - len(SCRIPT)) // 11))
    assert used_droplet.read("ran") == "0\n"


def test_the_config_drive_has_it_byte_for_byte(used_droplet: Droplet) -> None:
    text = "#!/bin/sh\ncat <<'END' >/ran\n\\n %s \"é\"\t\U0001f600 \\\\\nEND\n"
    plug_in(used_droplet, **{**document(), "user_data": text})
    later(used_droplet, listening=False)
    assert (used_droplet.root / "ran").read_text(
        encoding="utf-8"
    ) == '\\n %s "é"\t\U0001f600 \\\\\n'


def test_nothing_of_it_becomes_part_of_a_command(used_droplet: Droplet) -> None:
    later(used_droplet, "$(touch /ran)`touch /ran`;touch /ran\n")
    assert not used_droplet.has("ran")


def test_keys_that_never_came_at_the_boot_come_behind_sshd(droplet: Droplet) -> None:
    droplet.boot(listening=False)
    assert not droplet.has(droplet.keys)
    assert later(droplet, SCRIPT).hostname == "web-1.example.org"
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.read("ran") == "0\n"


def test_what_openrc_did_not_start_before_sshd_is_made_up_for_behind_it(droplet: Droplet) -> None:
    droplet.settings = "patience=(\n"
    assert later(droplet, SCRIPT).hostname == "web-1.example.org"
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.read("ran") == "0\n"


def test_elsewhere_than_on_a_droplet_it_is_not_asked_for(used_droplet: Droplet) -> None:
    used_droplet.write("sys/class/dmi/id/sys_vendor", "QEMU\n")
    assert later(used_droplet, SCRIPT).requests == []
    assert not used_droplet.has("ran")
