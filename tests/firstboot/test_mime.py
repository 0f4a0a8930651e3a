"""Tests of MIME user data as other programs write it, and of what its scripts are given."""

import pytest

from tests.firstboot.conftest import Droplet
from tests.firstboot.test_userdata import run_user_data

HEADER = 'Content-Type: multipart/mixed; boundary="B"\nMIME-Version: 1.0\n\n'


def message(*scripts: str) -> str:
    """Return a message with these scripts as its parts."""
    parts = [f"--B\nContent-Type: text/x-shellscript\n\n{script}\n" for script in scripts]
    return f"{HEADER}{''.join(parts)}--B--\n"


TERRAFORM = (
    'Content-Type: multipart/mixed; boundary="MIMEBOUNDARY"\nMIME-Version: 1.0\r\n\r\n'
    "--MIMEBOUNDARY\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: text/x-shellscript\r\n"
    "Mime-Version: 1.0\r\n\r\n#!/bin/sh\necho first >>/ran\n\r\n"
    "--MIMEBOUNDARY\r\nContent-Type: text/plain\r\n\r\n#!/bin/sh\necho second >>/ran\r\n"
    "--MIMEBOUNDARY--\r\n"
)
"""As the data source cloudinit_config writes it: a line feed behind the first line only."""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_message_of_terraform_is_run(used_droplet: Droplet, end: str) -> None:
    run_user_data(used_droplet, TERRAFORM.replace("\n", end, 1))
    assert used_droplet.read("ran") == "first\nsecond\n"
    assert used_droplet.read("var/lib/snowdrop/user-data-1") == "#!/bin/sh\necho first >>/ran\n"


def test_bytes_of_a_part_between_plain_boundaries_are_not_changed(used_droplet: Droplet) -> None:
    script = "#!/bin/sh\nexit\n\r\n \r"
    run_user_data(used_droplet, message(script).replace("--B--\n", "--B--\r\n"))
    saved = used_droplet.root / "var/lib/snowdrop/user-data-1"
    assert saved.read_bytes() == script.encode()


def test_scripts_from_an_editor_are_repaired(used_droplet: Droplet) -> None:
    scripts = (
        "\n#!/bin/sh\r\necho first >>/ran\r\n",
        "\xef\xbb\xbf#!/bin/sh\necho second >>/ran\n",
    )
    run_user_data(used_droplet, message(*scripts))
    assert used_droplet.read("ran") == "first\nsecond\n"
    mended = "empty lines at the beginning, line ends of Windows"
    assert used_droplet.console.splitlines()[:2] == [
        f"snowdrop-init: user-data: MIME: part 1: repaired: {mended}",
        "snowdrop-init: user-data: MIME: part 2: repaired: a byte order mark",
    ]


def test_script_for_a_missing_program_does_not_keep_the_next_one_from_running(
    used_droplet: Droplet,
) -> None:
    run_user_data(used_droplet, message("#!/bin/bash\n:\n", "#!/bin/sh\necho second >>/ran\n"))
    assert used_droplet.read("ran") == "second\n"
    assert "script of part 1: not run: it asks for '/bin/bash'" in used_droplet.console
    assert "`apk add bash`" in used_droplet.console


def test_script_that_reads_its_input_leaves_the_next_one_its_turn(used_droplet: Droplet) -> None:
    first = "#!/bin/sh\necho first >>/ran; cat >/read\n"
    run_user_data(used_droplet, message(first, "#!/bin/sh\necho second >>/ran\n"))
    assert used_droplet.read("ran") == "first\nsecond\n"
    assert used_droplet.read("read") == ""
