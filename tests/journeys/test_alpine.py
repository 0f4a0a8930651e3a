"""Real Alpine packages go the same way: their own apk solves and installs, the droplet is up."""

from tests.journeys.conftest import Rehearsal


def test_alpines_own_userland_comes_up_as_a_droplet(alpine: Rehearsal) -> None:
    report = alpine.record("boot")
    assert report["passed"] is True
    assert alpine.told["version"].startswith("v3.19.")
    (release,) = [check for check in report["checks"] if "alpine-release" in check["name"]]
    assert release["found"] == "3.19.1"


def test_alpines_own_apk_chose_the_packages(alpine: Rehearsal) -> None:
    lock = (alpine.download / "release.lock").read_text()
    assert 'apk = "apk-tools 2.14.0"' in lock
