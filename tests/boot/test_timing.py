"""The boot report says what each service took, by the droplet's own clock."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ci.boot.checks import PROBES
from ci.boot.machine import ACCELERATORS, Hardware, qemu_arguments
from ci.boot.timing import ServiceTime, read_service_times
from tests import skips

ANSWER = """\
uptime 20.50
2026-11-26 18:00:10.500000000 +0000 /run/snowdrop-now
2026-11-26 18:00:07.250000000 +0000 /run/openrc/started/sshd
2026-11-26 17:59:55.000000000 +0000 /run/openrc/started/sysfs
2026-11-26 18:00:01.125000000 +0000 /run/openrc/started/hwdrivers
"""


def test_the_time_between_two_services_is_that_of_the_later_one() -> None:
    assert read_service_times(ANSWER) == (
        ServiceTime("sysfs", 5.0, 5.0),
        ServiceTime("hwdrivers", 11.125, 6.125),
        ServiceTime("sshd", 17.25, 6.125),
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("", id="no answer"),
        pytest.param(ANSWER.replace("uptime", "up"), id="no uptime"),
        pytest.param(ANSWER.replace("snowdrop-now", "openrc/started/x"), id="no present time"),
        pytest.param("stat: can't stat '/run/snowdrop-now'\n", id="error"),
    ],
)
def test_an_answer_without_times_gives_no_services(answer: str) -> None:
    assert [each.name for each in read_service_times(answer)] == []


def test_the_probe_is_read_by_busybox(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip(f"{skips.TOOL}: busybox")
    started = tmp_path / "openrc/started"
    started.mkdir(parents=True)
    for name in ("sysfs", "sshd"):
        (started / name).symlink_to("/nowhere")
        time.sleep(0.05)
    script = PROBES["service times"].replace("/run/", f"{tmp_path}/")
    argv = [busybox, "sh", "-c", script]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    first, second = read_service_times(text.replace(f"{tmp_path}/", "/run/"))
    assert (first.name, second.name) == ("sysfs", "sshd")
    assert 0.03 < second.seconds < 20
    assert list(tmp_path.iterdir()) == [tmp_path / "openrc"]


@pytest.mark.parametrize("word", ACCELERATORS)
def test_each_accelerator_has_its_arguments(word: str, tmp_path: Path) -> None:
    hardware = Hardware(disk=tmp_path / "d", droplet_id=1, service=None, accelerator=word)
    text = " ".join(qemu_arguments(hardware))
    assert f" {' '.join(ACCELERATORS[word])} " in text
    assert ("-icount" in text) == (word == "icount")
