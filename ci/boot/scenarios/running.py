"""Run scenarios on one running droplet: the service starts again with other metadata."""

import time
from collections.abc import Iterator, Sequence
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
from ci.boot.scenarios.scenarios import RESET, Scenario

CONTROL_KEY = "owner"
"""Added by the final script of the first scenario; the metadata does not have it."""
START = """
/usr/libexec/snowdrop-init </dev/null >/dev/null 2>&1
/usr/libexec/snowdrop-init user-data </dev/null >/dev/null 2>&1
"""
"""Not by `rc-service`: it starts the second one in the background."""


def run_on_running_droplet(
    scenarios: Sequence[Scenario], context: RunContext
) -> Iterator[ScenarioResult]:
    """Yield the results of `scenarios`, which run one after the other on a copy of the first disk.

    When the droplet does not come up, or stops answering, that scenario and the rest of them fail.

    Raises:
        MissingToolError: QEMU or another program is not installed.
        AbortedError: the run was aborted.
    """
    assert context.first is not None
    assert context.first.disk is not None
    folder = context.folder / "running droplet"
    folder.mkdir()
    disk, log = folder / "disk.qcow2", context.logs / "running-droplet.log"
    make_overlay(disk, context.first.disk, context.options.environment)
    rest = list(scenarios)
    try:
        with started(scenarios[0].boot, disk, folder, context, log) as (machine, service):
            control = connect(CONTROL_KEY, machine, folder, context)
            droplet = Droplet(machine, control, service, context.pause)
            droplet.wait_for_login(context.options.timeout)
            while rest:
                scratch = folder / log_name(rest[0], 0)
                scratch.mkdir()
                yield _restart(rest[0], machine, service, scratch, context)
                del rest[0]
    except (BootError, ProcessError) as error:
        problem = checks.compare("boot", "comes up", str(error).partition("\n")[0])
        for scenario in rest:
            yield ScenarioResult(scenario=scenario, checks=(problem,), logs=(log,))


def _restart(
    scenario: Scenario,
    machine: Machine,
    service: MetadataService,
    scratch: Path,
    context: RunContext,
) -> ScenarioResult:
    """Replace the metadata, start the service again, and look at the droplet."""
    boot, start = scenario.boot, time.monotonic()
    earlier = len(read_console(machine))
    configure(service, boot, context)
    script = RESET + boot.prepare.format(**context.keys) + START
    _control(machine, service, scratch / "before", context).run_script(script)
    # The service may have made new host keys: a client of its own accepts them.
    droplet = _control(machine, service, scratch / "after", context)
    logins = {CONTROL_KEY: True}
    for name in boot.other_keys:
        client = connect(name, machine, scratch, context)
        logins[name] = client.run("true", timeout=SECOND_LOGIN_SECONDS).status == 0
    answers = checks.read_answers(droplet.run_script(format_probes(boot)))
    observation = BootObservation(
        keys=context.keys,
        sshd_seconds=machine.seconds,
        logins=logins,
        answers=answers,
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


def _control(
    machine: Machine, service: MetadataService, scratch: Path, context: RunContext
) -> Droplet:
    scratch.mkdir()
    client = connect(CONTROL_KEY, machine, scratch, context)
    return Droplet(machine, client, service, context.pause)
