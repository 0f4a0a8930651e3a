"""How docker and podman are called, by stand-ins for the two programs that write down each call."""

import json
import sys
from pathlib import Path

import pytest

from build.edges.container import CALLER_VARIABLES, Job, Mount, choose, choose_engine
from build.edges.process import PATH, PLAIN
from build.errors import BuildError, ProcessError

STAND_IN = """#!{python} -IS
import json, os, sys, time
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
with open("{log}", "a") as log:
    log.write(json.dumps([[name, *words], dict(os.environ)]) + "\\n")
if words[0] == "import" or words[:2] == ["cp", "-"]:
    sys.stdin.buffer.read()
plan = json.load(open("{plan}"))
status, output, seconds = plan.get(words[0], [0, "", 0])
time.sleep(seconds)
(sys.stderr if status else sys.stdout).write(output)
sys.exit(status)
"""
CALLER = {
    "HOME": "/home/ada",
    "XDG_RUNTIME_DIR": "/run/user/1001",
    "DOCKER_HOST": "unix:///run/user/1001/docker.sock",
    "DOCKER_CONTEXT": "other",
    "PATH": "/home/ada/bin",
    "GITHUB_TOKEN": "secret",
    "HTTP_PROXY": "http://proxy.example",
    "LANG": "de_DE.UTF-8",
}
DOCKER_28 = """docker: Error response from daemon: no space left on device

Run 'docker create --help' for more information
"""


class Clients:
    """The stand-ins: their answers, and the calls so far."""

    def __init__(self, folder: Path) -> None:
        self.log, self.plan = folder / "log", folder / "plan"
        self.answer()

    def answer(self, **answers: tuple[int, str, float]) -> None:
        """Set status, output and seconds of subcommands; the others succeed silently."""
        self.plan.write_text(
            json.dumps(
                {"version": (0, "28.0.4", 0), "--version": (0, "podman 5.8.4", 0), **answers}
            )
        )

    def calls(self) -> list[tuple[list[str], dict[str, str]]]:
        """Return words and environment of each call."""
        return [tuple(json.loads(line)) for line in self.log.read_text().splitlines()]


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    folder = tmp_path / "bin"
    folder.mkdir()
    made = Clients(tmp_path)
    for name in ("docker", "podman"):
        text = STAND_IN.format(python=sys.executable, log=made.log, plan=made.plan)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    # subprocess looks a program up in the PATH of the environment that it passes on.
    plain = {**PLAIN, "PATH": f"{folder}:{PATH}"}
    monkeypatch.setattr(choose, "PLAIN", plain)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_the_clients_get_four_variables_of_the_caller(clients: Clients, root: Path) -> None:
    for wanted in ("docker", "podman"):
        choose_engine(root, ["true"], caller=CALLER, wanted=wanted)
    expected = {name: CALLER[name] for name in CALLER_VARIABLES}
    assert {words[0] for words, _ in clients.calls()} == {"docker", "podman"}
    for words, environment in clients.calls():
        # The interpreter sets the character set itself in the C locale (PEP 538).
        rest = {name: environment[name] for name in environment.keys() - {*PLAIN, "LC_CTYPE"}}
        assert rest == expected, words
        assert environment["LC_ALL"] == PLAIN["LC_ALL"]
    clients.log.unlink()
    choose_engine(root, ["true"], caller={}, wanted="docker")
    assert all("HOME" not in environment for _, environment in clients.calls())


@pytest.mark.parametrize("step", ["import", "create", "start"])
def test_all_that_docker_says_is_in_the_reason(clients: Clients, root: Path, step: str) -> None:
    clients.answer(**{step: (1, DOCKER_28, 0)})
    with pytest.raises(BuildError) as caught:
        choose_engine(root, ["true"], caller={}, wanted="docker")
    message = str(caught.value)
    assert "no space left on device; Run 'docker create" in message
    assert "\n" not in message
    assert [words[1] for words, _ in clients.calls()][-1] == "image"


def test_a_container_that_hangs_is_killed_and_goes_before_its_image(
    clients: Clients, root: Path
) -> None:
    engine = choose_engine(root, ["true"], caller={}, wanted="docker").engine
    clients.answer(start=(0, "", 30))
    clients.log.unlink()
    with pytest.raises(ProcessError, match="still running after"):
        engine.run(Job(root=root, argv=["sleep"], timeout=0.5))
    assert [words[1] for words, _ in clients.calls()] == [
        "import",
        "create",
        "start",
        "kill",
        "rm",
        "image",
    ]


def test_no_writable_folder_of_the_host_is_bound_by_docker(
    clients: Clients, root: Path, tmp_path: Path
) -> None:
    engine = choose_engine(root, ["true"], caller={}, wanted="docker").engine
    clients.log.unlink()
    mounts = [
        Mount(tmp_path, "/in", read_only=True),
        Mount(tmp_path, "/out"),
        Mount(tmp_path, "/tree", scratch=True),
    ]
    with pytest.raises(ProcessError, match="docker cp failed"):
        engine.run(Job(root=root, argv=["true"], mounts=mounts))
    create = next(words for words, _ in clients.calls() if words[1] == "create")
    assert [word for word in create if word.startswith("--mount")] == [
        f"--mount=type=bind,source={tmp_path.resolve()},target=/in,readonly",
        "--mount=type=volume,target=/out",
        "--mount=type=volume,target=/tree",
    ]
    copied = [words[2:] for words, _ in clients.calls() if words[1] == "cp"]
    assert [words[-1].partition(":")[2] or words[0].partition(":")[2] for words in copied] == [
        "/out",
        "/out/.",
    ]
