"""A program in a container sees its root and nothing else of the host."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.edges.container import Engine, Job, Mount, choose_engine, prepare_root
from build.errors import BuildError, ProcessError
from tests import skips
from tests.host_programs import copy_program

FROM_ENGINES = {"HOME", "HOSTNAME", "TERM", "container", "PWD", "SHLVL"}
"""Variables that engines and a shell set."""
APPLETS = ("chown", "env", "hostname", "ln", "mkdir", "mknod", "sleep", "tail", "touch")
SH = ("/bin/busybox", "sh", "-c")

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    (folder / "bin").mkdir()
    if not copy_program("busybox", folder, "bin/busybox"):
        pytest.skip(f"{skips.TOOL}: busybox")
    for applet in APPLETS:
        (folder / "bin" / applet).symlink_to("busybox")
    prepare_root(folder, ["/data", "/data/inner", "/out"])
    return folder


@pytest.fixture(params=["docker", "podman", "unshare"])
def engine(request: pytest.FixtureRequest, root: Path) -> Engine:
    try:
        return choose_engine(root, [*SH, "true"], caller=os.environ, wanted=request.param).engine
    except BuildError as error:
        pytest.skip(f"{skips.ENGINE}: {error}")


@pytest.fixture
def other_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_there_is_no_network(engine: Engine, root: Path) -> None:
    done = engine.run(Job(root=root, argv=[*SH, "tail -n +3 /proc/net/dev"]))
    interfaces = [line.split(":")[0].strip() for line in done.text.splitlines()]
    assert interfaces == ["lo"]


def test_only_mounts_of_the_job_are_writable(engine: Engine, root: Path, tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in/inner").mkdir()
    script = (
        "for folder in / /data /data/inner /out /tmp; do"
        '  touch $folder/new 2>/dev/null && echo "$folder"; done;'
        "mknod /data/inner/null c 1 3 && echo gone >/data/inner/null && chown 100:101 /data/inner"
    )
    mounts = [Mount(tmp_path / "in", "/data", read_only=True), Mount(tmp_path / "out", "/out")]
    done = engine.run(Job(root=root, argv=[*SH, script], mounts=mounts, tmpfs=["/data/inner"]))
    assert (done.status, done.text.split()) == (0, ["/data/inner", "/out", "/tmp"])  # noqa: S108
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert not list((tmp_path / "in/inner").iterdir())


def test_what_a_job_writes_belongs_to_the_caller(
    engine: Engine, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("of the host\n")
    script = (
        "cd /out; read line <kept; echo $line again >kept; echo new >new; mkdir -m 700 folder;"
        "chown 100:101 new folder; ln -s new link; mknod null c 1 3; echo inner >folder/inner"
    )
    done = engine.run(Job(root=root, argv=[*SH, script], mounts=[Mount(tmp_path, "/out")]))
    assert (done.status, done.stderr) == (0, b"")
    assert (tmp_path / "kept").read_text() == "of the host again\n"
    assert (tmp_path / "folder/inner").read_text() == "inner\n"
    assert str((tmp_path / "link").readlink()) == "new"
    if engine.name == "docker":
        # Copied out by the caller; the other engines are root themselves and bind the folder.
        assert {path.lstat().st_uid for path in tmp_path.rglob("*")} == {os.geteuid()}
        assert not (tmp_path / "null").exists()


def test_a_folder_with_a_comma_can_be_mounted(engine: Engine, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one, two"
    folder.mkdir()
    (folder / "file").write_text("read")
    script = "read line </data/file; echo $line; touch /data/new 2>/dev/null || echo read-only"
    for mount in (Mount(folder, "/data", read_only=True), Mount(folder, "/data")):
        done = engine.run(Job(root=root, argv=[*SH, script], mounts=[mount]))
        assert done.text.split() == ["read", *(["read-only"] if mount.read_only else [])]
    assert (folder / "new").exists()


def test_a_scratch_mount_is_writable_and_hides_the_root(
    engine: Engine, root: Path, tmp_path: Path
) -> None:
    job = Job(
        root=root,
        argv=[*SH, "mknod /data/inner/null c 1 3 && echo gone >/data/inner/null"],
        mounts=[Mount(tmp_path, "/data/inner", scratch=True)],
    )
    assert engine.run(job).status == 0
    assert not list((root / "data/inner").iterdir())


def test_proxies_of_dockers_settings_stay_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    proxies = {"httpProxy": "http://proxy.example", "noProxy": "example"}
    (tmp_path / ".docker/config.json").write_text(json.dumps({"proxies": {"default": proxies}}))
    caller = {**os.environ, "HOME": str(tmp_path)}
    try:
        engine = choose_engine(root, [*SH, "true"], caller=caller, wanted="docker").engine
    except BuildError as error:
        pytest.skip(f"{skips.ENGINE}: {error}")
    assert "proxy" not in engine.run(Job(root=root, argv=[*SH, "env"])).text.lower()


@pytest.mark.usefixtures("other_settings")
def test_environment_umask_and_host_name_are_those_of_the_job(engine: Engine, root: Path) -> None:
    environment = {"PATH": "/bin", "ONE": "two words"}
    argv = [*SH, "umask; hostname; env"]
    done = engine.run(Job(root=root, argv=argv, environment=environment, host_name="elsewhere"))
    umask, name, *variables = done.text.splitlines()
    assert (umask, name) == ("0022", "elsewhere")
    found = dict(line.split("=", 1) for line in variables)
    assert {key: found[key] for key in found.keys() - FROM_ENGINES} == {
        "PATH": "/bin",
        "ONE": "two words",
    }


def test_lines_are_passed_on_and_the_status_is_kept(engine: Engine, root: Path) -> None:
    lines: list[str] = []
    script = "echo one; echo two; echo wrong >&2; exit 7"
    done = engine.run(Job(root=root, argv=[*SH, script], on_line=lines.append))
    assert (done.status, lines, done.stdout) == (7, ["one", "two"], b"one\ntwo\n")
    assert b"wrong" in done.stderr


def test_a_program_that_hangs_is_killed_with_all_its_processes(engine: Engine, root: Path) -> None:
    with pytest.raises(ProcessError, match=r"still running after 0\.5 s, killed$"):
        engine.run(Job(root=root, argv=[*SH, "sleep 4321"], timeout=0.5))
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 4321" not in listed.stdout
    assert not list((root / "out").iterdir())


def test_an_engine_is_chosen_by_running_a_program(root: Path) -> None:
    choice = choose_engine(root, [*SH, "true"], caller=os.environ)
    assert choice.engine.version
    assert all(reason and "\n" not in reason for _, reason in choice.refused)
    with pytest.raises(BuildError) as caught:
        choose_engine(root, ["/no/such/program"], caller=os.environ)
    message = str(caught.value)
    assert message.startswith("no container engine works here: docker: ")
    assert "; podman: " in message
    assert "; unshare: " in message
    assert "\n" not in message
