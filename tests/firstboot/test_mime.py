"""Tests of MIME multi-part user data as other programs write it, and of what its scripts are given."""

from tests.firstboot.conftest import Droplet
from tests.firstboot.test_userdata import run_user_data

HEADER = 'Content-Type: multipart/mixed; boundary="B"\nMIME-Version: 1.0\n\n'


def message(*scripts: str) -> str:
    """Return a message with these scripts as its parts."""
    parts = [f"--B\nContent-Type: text/x-shellscript\n\n{script}\n" for script in scripts]
    return f"{HEADER}{''.join(parts)}--B--\n"


def test_script_that_reads_its_input_leaves_the_next_one_its_turn(used_droplet: Droplet) -> None:
    first = "#!/bin/sh\necho first >>/ran; cat >/read\n"
    run_user_data(used_droplet, message(first, "#!/bin/sh\necho second >>/ran\n"))
    assert used_droplet.read("ran") == "first\nsecond\n"
    assert used_droplet.read("read") == ""
