"""Settings of the service: numbers that arithmetic would misread, quotes before comments."""

import pytest

from tests.firstboot.conftest import KEY, OTHER_KEY, Droplet, response
from tests.firstboot.test_userdata import run_user_data

NUMBERS = ("08", "09", "00", "007", "1000000", "9" * 18, "9" * 40)
NAMES = (
    *("patience", "patience_refresh", "patience_drive", "patience_later"),
    *("first_delay", "longest_delay"),
)


@pytest.mark.parametrize("name", NAMES)
def test_number_that_arithmetic_would_misread_is_left_out(droplet: Droplet, name: str) -> None:
    lines = [f"{name}={number}" for number in NUMBERS]
    droplet.settings = "\n".join(["patience=50", "first_delay=0", *lines, ""])
    result = droplet.boot(public_keys=[response(status=404)] * 2 + [response(KEY)])
    assert result.status == 0
    assert droplet.read(droplet.keys) == f"{KEY}\n"
    assert run_user_data(droplet, "#!/bin/sh\n:>/ran\n").status == 0
    assert droplet.has("ran")
    boot = droplet.console.split("snowdrop-init: droplet 4711")[0].splitlines()
    assert [line for line in boot if "no setting" in line] == [
        f"snowdrop-init: /etc/conf.d/snowdrop-init, line {number}: '{line}' is no setting; left out"
        for number, line in enumerate(lines, start=3)
    ]


def test_longest_numbers_are_taken(droplet: Droplet) -> None:
    droplet.settings = "patience=999999\npatience_refresh=0\nlongest_delay=999999\nfirst_delay=0\n"
    droplet.boot()
    assert "no setting" not in droplet.console


@pytest.mark.parametrize("value", ['"no" # mine', "'no'\t# mine", "no # mine", 'no # "mine"'])
def test_comment_behind_a_value_is_left_out(droplet: Droplet, value: str) -> None:
    names = ("SNOWDROP_KEYS", "SNOWDROP_HOST_NAME", "SNOWDROP_USER_DATA")
    lines = [f"{name}={value}" for name in names]
    droplet.settings = "\n".join([*lines, 'patience="0" # seconds', "patience_refresh='0' # s", ""])
    result = droplet.boot()
    run_user_data(droplet, "#!/bin/sh\n:>/ran\n")
    assert "no setting" not in droplet.console
    assert not droplet.has(droplet.keys)
    assert result.hostname == "as-it-was"
    assert not droplet.has("ran")


def test_quotes_inside_a_comment_are_part_of_it(droplet: Droplet) -> None:
    droplet.settings = 'SNOWDROP_KEYS="yes" # not "no"\npatience=0\n'
    droplet.boot()
    assert "no setting" not in droplet.console
    assert droplet.read(droplet.keys) == f"{KEY}\n{OTHER_KEY}\n"
