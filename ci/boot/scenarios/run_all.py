"""Run the table of scenarios; return their results for the boot report (read first)."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from build.edges.progress import Progress
from build.edges.temporary import temporary_folder
from ci.boot.boot_image import BootOptions, verify_disk
from ci.boot.checks import Check
from ci.boot.scenarios.runner import RunContext, ScenarioResult, key_folder, run_scenario
from ci.boot.scenarios.running import run_on_running_droplet
from ci.boot.scenarios.scenarios import FIRST, KEYS, RUNNING, SCENARIOS, Scenario
from ci.boot.ssh import make_key
from ci.release.checkout import read_record

WAITING_AT_ONCE = 2
"""Scenarios that mostly wait: one after the other they would take longer than all the rest."""
NOT_RUN = Check("boot", False, "comes up", "not run: no first boot")


def run_scenarios(
    record_path: Path,
    options: BootOptions,
    progress: Progress,
    *,
    image: Path | None = None,
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> tuple[ScenarioResult, ...]:
    """Boot the image of a build record in each of the `scenarios`; return their results.

    As many scenarios run at a time as there are cores, and in addition two that mostly wait. The
    first scenario of the table runs before all others; it runs even if it was not requested when
    another one starts from its disk or compares with it. Those on a running droplet share one.

    Raises:
        VerificationError: the image does not have the digest of the record.
        MissingToolError: QEMU or another program is not installed.
    """
    record = read_record(record_path)
    disk = verify_disk(record, image or record_path.parent / record["image"]["file"])
    logs = options.work / "faults" / disk.stem
    logs.mkdir(parents=True, exist_ok=True)
    with temporary_folder("faults-", options.work.absolute()) as folder:
        keys = {
            name: make_key(key_folder(Path(folder), name), options.environment) for name in KEYS
        }
        context = RunContext(
            image=disk.absolute(),
            folder=Path(folder),
            logs=logs,
            keys=keys,
            options=options,
            aborted=threading.Event(),
        )
        results = _run_all(scenarios, context, progress)
    return tuple(results[scenario.name] for scenario in scenarios)


def _run_all(
    scenarios: Sequence[Scenario], context: RunContext, progress: Progress
) -> dict[str, ScenarioResult]:
    """Return the result of each scenario by its name."""
    results: dict[str, ScenarioResult] = {}
    rest = [scenario for scenario in scenarios if scenario.name != FIRST]
    needs_first = any(scenario.needs_first for scenario in scenarios)
    with progress.step("Boot under faults", total=needs_first + len(rest), unit="") as step:

        def add(result: ScenarioResult) -> None:
            row = result.row
            results[row.name] = result
            progress.note(f"{'ok' if row.passed else 'FAILED'} {row.name} ({row.seconds:.0f} s)")
            step.advance(1)

        if needs_first:
            first = run_scenario(SCENARIOS[0], context)
            add(first)
            if not first.observations:
                not_run = [ScenarioResult(scenario=each, checks=(NOT_RUN,)) for each in rest]
                return results | {result.scenario.name: result for result in not_run}
            context = replace(context, first=first)
        for result in _run_at_once(rest, context):
            add(result)
    return results


def _run_at_once(scenarios: Sequence[Scenario], context: RunContext) -> Iterator[ScenarioResult]:
    """Yield the results of all scenarios but the first, as they come."""
    # The cores that this process may use; cpu_count() would count all of the machine.
    cores = len(os.sched_getaffinity(0))
    restarts = [each for each in scenarios if each.starts_from == RUNNING]
    with ThreadPoolExecutor(cores) as busy, ThreadPoolExecutor(WAITING_AT_ONCE) as waiting:

        def submit(scenario: Scenario) -> "Future[list[ScenarioResult]]":
            pool = waiting if scenario.mostly_waits else busy
            return pool.submit(lambda: [run_scenario(scenario, context)])

        try:
            futures = [submit(each) for each in scenarios if each not in restarts]
            if restarts:
                futures.append(
                    waiting.submit(lambda: list(run_on_running_droplet(restarts, context)))
                )
            for future in as_completed(futures):
                yield from future.result()
        except BaseException:
            # Running scenarios stop their machines at the next pause, the others never start.
            context.aborted.set()
            for pool in (busy, waiting):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
