"""Run scenarios on one running droplet: the service starts again with other metadata."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from build.errors import BootError, ProcessError
from ci.boot import checks
from ci.boot.droplet import Droplet
from ci.boot.machine import Machine
from ci.boot.metadata import MetadataService
from ci.boot.scenarios.drives import make_overlay
from ci.boot.scenarios.observation import BootObservation
from ci.boot.scenarios.runner import (
    SECOND_LOGIN_SECONDS,
    RunContext,
    ScenarioResult,
    configure,
    connect,
    evaluate,
    format_probes,
    log_name,
    read_console,
    started,
)
from ci.boot.scenarios.scenarios import RESET, Boot, Scenario

CONTROL_KEY = "owner"
"""Added by the final script of the first scenario; the metadata does not have it."""
START = """
/usr/libexec/snowdrop-init </dev/null >/dev/null 2>&1
/usr/libexec/snowdrop-init user-data </dev/null >/dev/null 2>&1
"""
"""Not by `rc-service`: it starts the second one in the background."""
SLOW_PROBES = frozenset({"traces", "empty"})
"""Searches of the whole disk, which no assertion here reads."""
RESTART_SECONDS = 300.0
SSH_FAILED = 255
"""Exit status of ssh(1) when it failed itself."""


class DropletLostError(BootError):
    """The droplet stopped answering during one scenario."""


def run_on_running_droplet(
    scenarios: Sequence[Scenario], context: RunContext
) -> Iterator[ScenarioResult]:
    """Yield the results of `scenarios`, which run one after the other on a copy of the first disk.

    One during which the droplet stops answering fails, and the next ones get another droplet. When
    that does not come up, all the rest of them fail.

    Raises:
        MissingToolError: QEMU or another program is not installed.
        AbortedError: the run was aborted.
    """
    rest = deque(scenarios)
    while rest:
        log = context.logs / f"running-droplet-{len(scenarios) - len(rest) + 1}.log"
        try:
            with _running_droplet(log, context) as (machine, service):
                while rest:
                    yield _restart(rest[0], machine, service, context)
                    rest.popleft()
        except DropletLostError as error:
            yield _failed(rest.popleft(), error, log)
        except (BootError, ProcessError) as error:
            yield from (_failed(scenario, error, log) for scenario in rest)
            return


@contextmanager
def _running_droplet(log: Path, context: RunContext) -> Iterator[tuple[Machine, MetadataService]]:
    """Return a context in which a copy of the first droplet runs, with its metadata service."""
    assert context.first is not None
    assert context.first.disk is not None
    folder = context.folder / log.stem
    folder.mkdir()
    disk = folder / "disk.qcow2"
    make_overlay(disk, context.first.disk, context.options.environment)
    with started(Boot(assertions=()), disk, folder, context, log) as (machine, service):
        client = connect(CONTROL_KEY, machine, folder, context)
        droplet = Droplet(machine, client, service, context.pause)
        droplet.wait_for_login(context.options.timeout)
        yield machine, service


def _restart(
    scenario: Scenario, machine: Machine, service: MetadataService, context: RunContext
) -> ScenarioResult:
    """Replace the metadata, start the service again, and look at the droplet.

    Raises:
        DropletLostError: it takes too long, or the connection breaks.
    """
    boot, start = scenario.boot, time.monotonic()
    scratch = context.folder / log_name(scenario, 0)
    scratch.mkdir()
    earlier = len(read_console(machine))
    configure(service, boot, context)
    script = RESET + boot.prepare.format(**context.keys) + START + format_probes(boot, SLOW_PROBES)
    limit = RESTART_SECONDS + boot.extra_seconds
    client = connect(CONTROL_KEY, machine, scratch, context)
    try:
        finished = client.run("sh -s", stdin=script.encode(), timeout=limit)
    except ProcessError as error:
        raise DropletLostError(f"the droplet stopped answering: {error}") from None
    if finished.status == SSH_FAILED:
        raise DropletLostError(f"the droplet stopped answering: {finished.last_lines(1)}")
    logins = {CONTROL_KEY: True}
    for name in boot.other_keys:
        # A folder of its own: the service may have made new host keys meanwhile.
        client = connect(name, machine, scratch, context)
        logins[name] = client.run("true", timeout=SECOND_LOGIN_SECONDS).status == 0
    observation = BootObservation(
        keys=context.keys,
        sshd_seconds=machine.seconds,
        logins=logins,
        answers=checks.read_answers(finished.text),
        console=read_console(machine)[earlier:],
        requests=tuple(text for _, text in service.requests()),
    )
    return ScenarioResult(
        scenario=scenario,
        checks=tuple(evaluate(boot, observation)),
        observations=(observation,),
        seconds=time.monotonic() - start,
        logs=(machine.serial.file,),
    )


def _failed(scenario: Scenario, error: Exception, log: Path) -> ScenarioResult:
    problem = checks.compare("boot", "comes up", str(error).partition("\n")[0])
    return ScenarioResult(scenario=scenario, checks=(problem,), logs=(log,))
