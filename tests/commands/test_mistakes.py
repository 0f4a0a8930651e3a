"""A mistake in release.toml or on the command line is one line, and a hint that leads on."""

import os
import re
from pathlib import Path

import pytest

from ci.__main__ import main
from ci.commands import one_run

ROOT = Path(__file__).parents[2]
IN_CONFIG = {
    "a version of a package": (
        ('"chrony"', '"chrony=4.5-r0"'),
        'image.droplet.packages = "chrony=4.5-r0": expected a list of package names, without ',
    ),
    "a size without its unit": (
        ('"1 GiB"', '"1GB"'),
        'image.droplet.disk = "1GB": expected a size from 64 MiB to 2048 GiB, such as 512 MiB',
    ),
    "a mistyped key": (
        ("packages = [", "pakages = ["),
        "builder.pakages: unknown key (did you mean packages?), expected one of: keys, ",
    ),
    "a mistyped table": (
        ("[image.droplet]", "[imagee.droplet]"),
        "imagee: unknown key (did you mean image?), expected one of: ",
    ),
    "a mistyped runlevel": (
        ("default = [", "defalt = ["),
        "image.droplet.services.defalt: unknown key (did you mean default?)",
    ),
    "an overlay that is not there": (
        ('arch = "x86_64"', 'arch = "x86_64"\noverlay = "files"'),
        'image.droplet.overlay = "files": expected a folder, and ',
    ),
    "a branch without its letter": (
        ('"v3.24"', '"3.24"'),
        'snapshot.branch = "3.24": expected Alpine\'s branch: v3.24',
    ),
    "an architecture that no droplet has": (
        ('"x86_64"', '"aarch64"'),
        'image.droplet.arch = "aarch64": expected one of: x86_64',
    ),
    "a bucket with capitals": (
        ('"snowdrop-releases"', '"My_Bucket"'),
        'spaces.bucket = "My_Bucket": expected 3 to 63 lower-case letters, digits and dashes',
    ),
    "a region that is none": (
        ('regions = ["fra1"]', 'regions = ["fra2"]'),
        "import.regions = fra2: not in DigitalOcean's list of regions, near it: fra1",
    ),
    "a region of a bucket at Spaces that is none": (
        ('region = "fra1"', 'region = "nyc4"'),
        "spaces.region = nyc4: not in DigitalOcean's list of regions, near it: nyc1, nyc2, nyc3",
    ),
    "a region in words": (
        ('regions = ["fra1"]', 'regions = ["Frankfurt"]'),
        "import.regions = Frankfurt: expected a region such as fra1",
    ),
    "a number as a string": (
        ("serial = 0", 'serial = "1"'),
        'release.serial = "1": expected a whole number from 0 to 999',
    ),
    "a repository without an owner": (
        ('"OWNER/REPO"', '"snowdrop"'),
        'release.github = "snowdrop": expected OWNER/REPO',
    ),
    "a table that is not closed": (
        ("[release]", "[release"),
        "Expected ']' at the end of a table declaration (at line 4, column 9)",
    ),
    "a package twice": (
        ('"chrony"', '"mkinitfs"'),
        'image.droplet.packages = "mkinitfs": expected each entry once',
    ),
    "a password in a URL": (
        ("https://dl-cdn", "https://ada:secret@dl-cdn"),
        "a user name, password or token in a URL",
    ),
}
"""What is replaced in release.toml, and the start of the message after the file's name."""
ON_THE_COMMAND_LINE = {
    "a mistyped command": (["biuld"], "biuld: not a command (did you mean build?)"),
    "a mistyped option": (
        ["build", "--engin", "docker"],
        "unrecognized arguments: --engin docker (did you mean --engine?)",
    ),
    "an unknown engine": (["build", "--engine", "qemu"], "argument --engine: invalid choice"),
    "a repository that is not there": (
        ["rehearse", "--repository", "no/such", "--keys", "."],
        "--repository no/such: no such folder",
    ),
    "no such variant": (
        ["build", "--variant", "dropplet"],
        "release.toml: image.dropplet: no such variant (did you mean droplet?), expected one of: ",
    ),
    "no such configuration": (["build", "--config", "x.toml"], "x.toml: no such file"),
    "a word for a number": (["boot", "--timeout", "long"], "argument --timeout: "),
    "an action that is none": (["store", "clean"], "argument action: invalid choice: 'clean'"),
    "no image": (["inspect"], "the following arguments are required: IMAGE"),
    "a mistyped folder to verify": (
        ["verify", "dits"],
        "dits: no such folder or file, and no http(s) URL or tag such as v3.24.20261123",
    ),
    "a region that is none": (
        ["import", "v3.24.20261123", "--region", "sfo4"],
        "--region sfo4: not in DigitalOcean's list of regions, near it: sfo1, sfo2, sfo3",
    ),
    "an image that is not there": (["inspect", "x.qcow2"], "x.qcow2: No such file"),
}


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of the error; a traceback is none."""
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.out == ""
    return captured.err.splitlines()


def check(lines: list[str], message: str) -> None:
    assert re.match(rf"error: (?:\S+: )?(?:line \d+: )?{re.escape(message)}", lines[0]), lines
    assert len(lines) <= 2
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert not any("secret" in line for line in lines)


@pytest.mark.parametrize("name", IN_CONFIG)
def test_a_mistake_in_release_toml(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (old, new), message = IN_CONFIG[name]
    # That of the tests: a maintainer edits the one of the repository.
    text = (ROOT / "tests" / "assets" / "release.toml").read_text()
    assert old in text
    config = tmp_path / "release.toml"
    config.write_text(text.replace(old, new, 1))
    assert main(["pin", "--config", str(config)]) == 2
    check(printed(capsys), message)


@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
def test_a_mistake_on_the_command_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words, message = ON_THE_COMMAND_LINE[name]
    assert main(words) in {1, 2}
    check(printed(capsys), message)


def test_a_second_rehearsal_in_one_folder_names_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with one_run(tmp_path / "release.toml", "rehearse"):
        assert main(["rehearse", "--folder", str(tmp_path)]) == 1
    check(printed(capsys), f"another rehearse runs (pid {os.getpid()}, since ")
