"""Tests of user data: a script runs once for each droplet, anything else never runs."""

import gzip
from typing import Any

import pytest

from tests.firstboot.conftest import KEY, OTHER_KEY, BootResult, Droplet, document, response
from tests.firstboot.test_drive import add_config_drive

SCRIPT = "#!/bin/sh\nid -u >>/ran\necho said; echo 'more said' >&2\n"
LIMIT = 1 << 20
OUTPUT = "var/log/snowdrop-userdata.log"


def run_user_data(
    droplet: Droplet,
    text: str | bytes = "",
    *,
    user_data: list[dict[str, Any]] | None = None,
    listening: bool = True,
) -> BootResult:
    """Run the service that starts after sshd, with `text` as user data."""
    body = text.decode("latin-1") if isinstance(text, bytes) else text
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    return droplet.boot(*words, listening=listening, user_data=user_data or [response(body)])


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_script_runs_once_as_root(used_droplet: Droplet, *, packed: bool) -> None:
    data = gzip.compress(SCRIPT.encode()) if packed else SCRIPT.encode()
    for _ in range(3):
        result = run_user_data(used_droplet, data)
        assert (result.status, result.output) == (0, "")
    assert used_droplet.read("ran") == "0\n"
    assert used_droplet.read(OUTPUT) == "said\nmore said\n"
    modes = [
        (used_droplet.root / path).stat().st_mode & 0o777
        for path in (OUTPUT, "var/lib/snowdrop/user-data", "var/lib/snowdrop")
    ]
    assert modes == [0o600, 0o700, 0o700]
    assert used_droplet.console.splitlines() == [
        "snowdrop-init: user-data: the script is started",
        "snowdrop-init: user-data: the script came to its end",
    ]


def test_boot_does_not_run_user_data(droplet: Droplet) -> None:
    droplet.boot(user_data=[response(SCRIPT)])
    assert not droplet.has("ran")


def test_copy_of_a_droplet_runs_its_own_script(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, SCRIPT)
    used_droplet.write("sys/class/dmi/id/product_serial", "4712\n")
    used_droplet.boot()
    run_user_data(used_droplet, "#!/bin/sh\necho of the copy >>/ran\n")
    assert used_droplet.read("ran") == "0\nof the copy\n"


def test_script_that_restarts_the_droplet_runs_once(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, "#!/bin/sh\necho once >>/ran; kill -9 $PPID $$\n")
    run_user_data(used_droplet, SCRIPT)
    run_user_data(used_droplet, SCRIPT)
    assert used_droplet.read("ran") == "once\n"
    assert used_droplet.console.count("the droplet stopped before its end") == 1


def test_failing_script_is_reported(used_droplet: Droplet) -> None:
    assert run_user_data(used_droplet, "#!/bin/sh\nexit 3\n").status == 0
    assert f"the script ended with status 3; /{OUTPUT} has" in used_droplet.console


MENDED = {
    "a byte order mark": (b"\xef\xbb\xbf" + SCRIPT.encode(), "a byte order mark"),
    "empty lines": (f"\n \t\r\n\n{SCRIPT}".encode(), "empty lines at the beginning"),
    "line ends of Windows": (SCRIPT.replace("\n", "\r\n").encode(), "line ends of Windows"),
    "all of them in gzip": (
        gzip.compress(b"\xef\xbb\xbf" + f"\n{SCRIPT}".replace("\n", "\r\n").encode()),
        "a byte order mark, empty lines at the beginning, line ends of Windows",
    ),
}


@pytest.mark.parametrize("what", MENDED)
def test_script_from_an_editor_is_repaired_and_run(used_droplet: Droplet, what: str) -> None:
    data, message = MENDED[what]
    run_user_data(used_droplet, data)
    assert used_droplet.read("ran") == "0\n"
    assert used_droplet.console.splitlines()[0] == f"snowdrop-init: user-data: repaired: {message}"


def test_other_bytes_of_a_script_are_not_changed(used_droplet: Droplet) -> None:
    text = "#!/bin/sh\nexit\n\r\n\xef\xbb\xbf\0\x80 \r\n"
    run_user_data(used_droplet, text)
    saved = used_droplet.root / "var/lib/snowdrop/user-data"
    assert saved.read_bytes() == text.encode("latin-1")
    assert "repaired" not in used_droplet.console


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("/bin/bash", "bash"),
        ("/usr/bin/env bash", "bash"),
        ("/usr/bin/env -S bash -e", "bash"),
        ("/usr/bin/env -S -i -u HOME FOO=1 bash", "bash"),
        ("/usr/bin/env -S FOO=1 sh", "coreutils"),
        ("/usr/bin/python3 -I", "python3"),
    ],
)
def test_script_for_a_missing_program_says_how_to_add_it(
    used_droplet: Droplet, line: str, program: str
) -> None:
    run_user_data(used_droplet, f"#!{line}\ntouch /ran\n")
    [message] = used_droplet.console.splitlines()
    asked = "env -S" if program == "coreutils" else program
    assert f"{asked}', which is not in this image: begin it with #!/bin/sh" in message
    assert f"or `apk add {program}` and `rc-service snowdrop-userdata again`" in message
    assert not used_droplet.has("ran")


def test_program_behind_the_words_of_env_is_looked_for(used_droplet: Droplet) -> None:
    used_droplet.write_program("usr/sbin/env", "exec /bin/busybox env -i PATH=$PATH true")
    run_user_data(used_droplet, "#!/usr/sbin/env -S -u HOME FOO=1 sh\n")
    assert "the script came to its end" in used_droplet.console


def test_endless_output_is_cut_in_the_middle(used_droplet: Droplet) -> None:
    body = "echo first; yes | head -c 3000000; echo last; exit 4"
    run_user_data(used_droplet, f"#!/bin/sh\n{body}\n")
    text = used_droplet.read(OUTPUT)
    assert text.startswith("first\ny\n")
    assert text.endswith("y\nlast\n")
    assert "[snowdrop-init: the middle of a long output is left out]" in text
    assert len(text) < 530_000
    assert "ended with status 4" in used_droplet.console


def test_program_that_a_script_leaves_running_is_not_waited_for(used_droplet: Droplet) -> None:
    # As OpenRC starts it: a pipe of the test would stay open.
    command = "/bin/sh /usr/libexec/snowdrop-init user-data >/dev/null 2>&1"
    script = response("#!/bin/sh\n(sleep 12; touch /late) &\necho said\n")
    used_droplet.boot("/bin/sh", "-c", command, user_data=[script])
    assert not used_droplet.has("late")
    assert used_droplet.read(OUTPUT) == "said\n"
    assert "the script came to its end" in used_droplet.console


def test_script_without_an_end_keeps_nothing_waiting(used_droplet: Droplet) -> None:
    service = "/bin/sh /usr/libexec/snowdrop-init"
    words = (
        f"{service} user-data & until [ -e /ran ]; do sleep 0.1; done",
        f"{service}; {service} addresses; {service} user-data; kill $(cat /process)",
    )
    script = response("#!/bin/sh\necho $$ >/process; :>/ran; exec sleep 600\n")
    used_droplet.boot("/bin/sh", "-c", "; ".join(words), user_data=[script])
    assert "snowdrop-init: droplet 4711, host name" in used_droplet.console
    assert "snowdrop-userdata still runs: process " in used_droplet.console


def test_user_data_is_marked_before_it_begins_and_after_its_writes(used_droplet: Droplet) -> None:
    state = "/var/lib/snowdrop"
    used_droplet.write_program(
        "usr/sbin/sync",
        f"for mark in begun ended; do [ ! -e {state}/user-data-$mark ] || echo $mark; done"
        " >>/calls; echo sync >>/calls",
    )
    run_user_data(used_droplet, "#!/bin/sh\necho script >>/calls\n")
    calls = used_droplet.read("calls").splitlines()
    script = calls.index("script")
    # Each mark is written, then on the disk; the writes of the script are before the second one.
    assert calls[script - 2 : script] == ["begun", "sync"]
    assert calls[script + 1 : script + 3] == ["begun", "sync"]
    assert calls[-3:] == ["begun", "ended", "sync"]
    assert used_droplet.read("var/lib/snowdrop/user-data-ended") == (
        "4711 the script came to its end\n"
    )


LATE = {"404": response(status=404), "empty": response(), "a page": response("<!DOCTYPE html>")}


def test_user_data_that_is_not_there_yet_is_asked_for_again(used_droplet: Droplet) -> None:
    used_droplet.settings = "patience=50\nfirst_delay=0\n"
    result = run_user_data(used_droplet, user_data=[*LATE.values(), response(SCRIPT)])
    assert result.requests == ["user-data"] * 4
    assert used_droplet.read("ran") == "0\n"


def test_web_page_is_never_the_absence_of_a_script(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, user_data=[LATE["a page"]])
    assert "a web page answers in place of the service; looked at again" in used_droplet.console
    run_user_data(used_droplet, SCRIPT)
    assert used_droplet.read("ran") == "0\n"


def test_start_without_a_network_card_is_not_the_absence_of_a_script(
    used_droplet: Droplet,
) -> None:
    words = ("/bin/sh", "/usr/libexec/snowdrop-init", "user-data")
    used_droplet.boot(*words, interfaces=[], user_data=[response(SCRIPT)])
    assert "there is no network card; looked at again at the next boot" in used_droplet.console
    run_user_data(used_droplet, SCRIPT)
    assert used_droplet.read("ran") == "0\n"


def test_service_runs_user_data_again_at_the_owners_word(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, SCRIPT)
    used_droplet.write_program("usr/bin/setsid", 'exec "$@"')
    stubs = "ebegin() { :; }; eend() { :; }; . /etc/init.d/snowdrop-userdata; again; wait"
    used_droplet.boot("/bin/sh", "-c", stubs, user_data=[response(SCRIPT)])
    assert used_droplet.read("ran") == "0\n0\n"


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "an include": ("#include\nhttp://192.0.2.1/x\n", "'#include'; expected #!, #cloud-config"),
    "a script behind a space": (" #!/bin/sh\ntouch /ran\n", "expected #!, #cloud-config"),
    "a control sequence": ("\x1b[2J\x00\x07\n", "'[2J'"),
    "broken gzip": (gzip.compress(SCRIPT.encode())[:-9], "cannot be unpacked"),
    "a small file that unpacks to a large one": (
        gzip.compress(SCRIPT.encode() + bytes(64 * LIMIT)),
        "longer than 1048576 bytes",
    ),
    "too long": (SCRIPT.ljust(LIMIT + 1), "longer than 1048576 bytes"),
    "much too long": (SCRIPT.ljust(2 * LIMIT), "longer than 1049088 bytes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_user_data_that_is_no_script_is_refused_once_in_one_line(
    used_droplet: Droplet, what: str
) -> None:
    text, message = REFUSED[what]
    assert run_user_data(used_droplet, text).status == 0
    run_user_data(used_droplet, SCRIPT)
    assert not used_droplet.has("ran")
    [line] = used_droplet.console.splitlines()
    assert line.startswith("snowdrop-init: user-data: not run: ")
    assert message in line
    assert line.isprintable()


@pytest.mark.parametrize("responses", [[response(status=404)], [response()]], ids=["none", "empty"])
def test_droplet_without_user_data_prints_nothing(
    used_droplet: Droplet, responses: list[dict[str, Any]]
) -> None:
    run_user_data(used_droplet, user_data=responses)
    assert used_droplet.console == ""
    assert run_user_data(used_droplet).requests == []


def test_failing_service_is_asked_for_user_data_at_the_next_boot(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, user_data=[response(SCRIPT, missing=9)])
    assert "looked at again at the next boot" in used_droplet.console
    assert not used_droplet.has("ran")
    run_user_data(used_droplet, SCRIPT)
    assert used_droplet.read("ran") == "0\n"


def test_script_of_one_mebibyte_runs(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, SCRIPT + "# and more\n" * ((LIMIT - len(SCRIPT)) // 11))
    assert used_droplet.read("ran") == "0\n"


def test_user_data_of_the_config_drive_is_unchanged(used_droplet: Droplet) -> None:
    text = "#!/bin/sh\ncat <<'END' >/ran\n\\n %s \"é\"\t\U0001f600 \\\\\nEND\n"
    add_config_drive(used_droplet, **{**document(), "user_data": text})
    run_user_data(used_droplet, listening=False)
    assert (used_droplet.root / "ran").read_text(
        encoding="utf-8"
    ) == '\\n %s "é"\t\U0001f600 \\\\\n'


def test_user_data_never_becomes_part_of_a_command(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, "$(touch /ran)`touch /ran`;touch /ran\n")
    assert not used_droplet.has("ran")


def test_keys_that_the_boot_did_not_get_are_written_after_sshd_started(droplet: Droplet) -> None:
    droplet.boot(listening=False)
    assert not droplet.has(droplet.keys)
    assert run_user_data(droplet, SCRIPT).hostname == "web-1.example.org"
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.read("ran") == "0\n"


def test_boot_that_openrc_did_not_start_runs_after_sshd_started(droplet: Droplet) -> None:
    droplet.settings = "patience=(\n"
    assert run_user_data(droplet, SCRIPT).hostname == "web-1.example.org"
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
    assert droplet.read("ran") == "0\n"


def test_other_machine_than_a_droplet_requests_no_user_data(used_droplet: Droplet) -> None:
    used_droplet.write("sys/class/dmi/id/sys_vendor", "QEMU\n")
    assert run_user_data(used_droplet, SCRIPT).requests == []
    assert not used_droplet.has("ran")


def test_a_problem_is_forgotten_when_user_data_is_looked_at_again(used_droplet: Droplet) -> None:
    """As by `rc-service snowdrop-userdata again`, behind a failure of the service."""
    run_user_data(used_droplet, user_data=[response("try later", status=500)])
    problems = "run/snowdrop-init.problems"
    assert used_droplet.read(problems).startswith("user-data: ")
    run_user_data(used_droplet, SCRIPT)
    assert used_droplet.read(problems) == ""
