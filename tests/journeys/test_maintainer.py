"""The maintainer's day: the same bytes again, and what is refused on the way."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests import skips
from tests.journeys.conftest import Rehearsal, ci, succeed
from tests.sample.apk_tools import Repositories, install_apk2


def test_the_rehearsal_leaves_no_process_behind(rehearsal: Rehearsal) -> None:
    running = succeed(["ps", "-eo", "args"])
    left = [line for line in running.splitlines() if str(rehearsal.state) in line]
    assert left == []


def test_another_day_place_and_engine_give_the_same_bytes(rehearsal: Rehearsal) -> None:
    """Another umask, time zone and container engine; everything unpacked anew."""
    if os.geteuid() != 0:
        pytest.skip(skips.ROOT)
    config = rehearsal.state / "again.toml"
    text = rehearsal.config.read_text()
    config.write_text(text.replace('work = "work"', 'work = "elsewhere/work"'))
    lines = config.read_text().splitlines()
    config.write_text(
        "\n".join('dist = "again"' if line.startswith("dist = ") else line for line in lines)
    )
    done = ci(
        *("build", "--config", str(config), "--engine", "unshare", "--json"),
        env={**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        umask=0o077,
    )
    assert done.returncode == 0, done.stderr
    (again,) = json.loads(done.stdout)["images"]
    first = rehearsal.record("build")
    assert again["engine"]["name"] == "unshare"
    for what in ("tree", "raw", "image"):
        assert again[what]["sha256"] == first[what]["sha256"], what


def test_the_droplet_was_seen_to_come_up(rehearsal: Rehearsal) -> None:
    report = rehearsal.record("boot")
    assert report["passed"] is True
    assert report["image"]["sha256"] == rehearsal.record("build")["image"]["sha256"]
    assert all(check["passed"] for check in report["checks"])
    # chronyd has a socket for its own commands, which is open on the droplet alone.
    assert report["ports"] == ["22/tcp"]
    assert 0 < report["seconds"]["kernel"] < report["seconds"]["ssh"]


def test_digitalocean_fetched_the_bytes_that_booted_by_both_ways(rehearsal: Rehearsal) -> None:
    double = rehearsal.state / "digitalocean"
    booted = rehearsal.record("boot")["image"]["sha256"]
    fetched = {path.name: path.read_bytes() for path in (double / "images").iterdir()}
    assert sorted(fetched) == ["170000001.img", "170000002.img"]
    assert {hashlib.sha256(content).hexdigest() for content in fetched.values()} == {booted}
    log = [json.loads(line) for line in (double / "requests.jsonl").read_text().splitlines()]
    requests = [(each["method"], each["url"]) for each in log if "method" in each]
    assert [method for method, _ in requests] == ["HEAD", "GET"] * 2
    (mirror, private) = [url for method, url in requests if method == "GET"]
    assert (mirror.count("/releases/"), private.count("/snowdrop-import/")) == (1, 1)
    assert [step["step"] for step in rehearsal.told["steps"]][-2:] == ["import", "import"]


def test_pinning_again_changes_nothing(rehearsal: Rehearsal) -> None:
    before = (rehearsal.state / "release.lock").read_bytes()
    done = ci("pin", "--check", "--config", str(rehearsal.config))
    assert done.returncode == 0, done.stderr
    assert (rehearsal.state / "release.lock").read_bytes() == before


def test_a_lock_from_another_choice_of_packages_is_stale(rehearsal: Rehearsal) -> None:
    config = rehearsal.state / "other.toml"
    config.write_text(rehearsal.config.read_text().replace('"alpine-base", ', ""))
    done = ci("build", "--config", str(config))
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert "nox -s pin" in done.stderr


def test_an_index_signed_by_an_unknown_key_is_refused(rehearsal: Rehearsal, tmp_path: Path) -> None:
    done = ci("pin", "--config", str(_with(rehearsal, "keys", f'keys = "{tmp_path}"')))
    assert done.returncode == 2
    # Beside the folder of trusted keys, in which a private key is an error.
    private = tmp_path.with_name(f"{tmp_path.name}-key")
    (tmp_path / "other.rsa.pub").write_bytes(
        succeed(["openssl", "genrsa", "-out", private, "2048"]).encode()
        + succeed(["openssl", "rsa", "-in", private, "-pubout"]).encode()
    )
    done = ci("pin", "--config", str(_with(rehearsal, "keys", f'keys = "{tmp_path}"')))
    assert done.returncode == 1
    assert "rehearsal-only.rsa.pub" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_that_does_not_exist_is_told_in_the_words_of_apk(rehearsal: Rehearsal) -> None:
    changed = rehearsal.config.read_text().replace('"alpine-base"', '"alpine-bass"')
    config = rehearsal.state / "missing.toml"
    config.write_text(changed)
    done = ci("pin", "--check", "--config", str(config))
    assert done.returncode == 1
    assert "alpine-bass (no such package)" in done.stderr


def test_a_disk_too_small_says_how_much_is_needed(rehearsal: Rehearsal) -> None:
    config = _with(rehearsal, "disk", 'disk = "64 MiB"', name="small.toml")
    done = ci("build", "--config", str(config))
    assert done.returncode == 1
    assert "MiB" in done.stderr
    assert "image.droplet.disk" in done.stderr


def test_a_damaged_package_in_the_store_is_fetched_anew(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    succeed(["cp", "-r", rehearsal.state / "store", tmp_path / "store"])
    largest = max((tmp_path / "store").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(content)
    config = _with(rehearsal, "store", f'store = "{tmp_path}/store"', name="damaged.toml")
    done = ci("build", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "is damaged" in done.stderr
    assert hashlib.sha256(largest.read_bytes()).hexdigest() == largest.name


def _with(rehearsal: Rehearsal, key: str, line: str, *, name: str = "changed.toml") -> Path:
    """Return the rehearsal's configuration with the first line of `key` replaced."""
    lines = rehearsal.config.read_text().splitlines()
    (number, *_) = [n for n, text in enumerate(lines) if text.startswith(f"{key} = ")]
    lines[number] = line
    config = rehearsal.state / name
    config.write_text("\n".join(lines) + "\n")
    return config


@pytest.mark.alpine
def test_the_closure_is_what_the_real_apk_chooses(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Apk 2.14 installs in another order: the closure is compared as a set."""
    sample = rehearsal.state / "sample"
    world = Repositories((sample / "image",), sample / "keys")
    status, chosen = install_apk2(tmp_path / "apk").choose(tmp_path, world, *_wanted(rehearsal))
    lock = (rehearsal.state / "release.lock").read_text()
    assert status == 0
    assert sorted(chosen) == sorted(_closure(lock, "droplet"))


def _wanted(rehearsal: Rehearsal) -> list[str]:
    import tomllib

    from build.firstboot.packages import DEPENDS

    packages = tomllib.loads(rehearsal.config.read_text())["image"]["droplet"]["packages"]
    return list(dict.fromkeys([*packages, *DEPENDS]))


def _closure(lock: str, name: str) -> list[str]:
    import tomllib

    packages = tomllib.loads(lock)["package"]
    members = [package for package in packages if name in package["order"]]
    return [f"{package['name']}-{package['version']}" for package in members]
