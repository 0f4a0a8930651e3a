"""The jobs of a workflow as GitHub runs them: their permissions, secrets and actions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from build.errors import ConfigError

CALL = "./.github/workflows/"
SECRET = re.compile(r"\bsecrets\.([A-Za-z0-9_]+)")
PINNED = re.compile(r"[a-z0-9-]+/[a-z0-9/-]+@[0-9a-f]{40}")
INHERIT = "inherit"
GIVEN = {"GITHUB_TOKEN"}
"""Secrets that each job has; all others belong to the environment `release`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerJob:
    """A job that runs on a machine of its own."""

    file: str
    """Name of its workflow's file."""
    workflow: str
    """`name:` of its file, as in GITHUB_WORKFLOW under act."""
    name: str
    permissions: Mapping[str, str]
    environment: str | None
    secrets: frozenset[str]
    """Names of the secrets that its steps use."""
    uses: tuple[str, ...]
    """Its actions, as written."""

    @property
    def key(self) -> str:
        """Name of the job among those of all workflows."""
        return f"{self.workflow}/{self.name}"


def read_jobs(
    file: Path, granted: Mapping[str, str] | None = None, handed: str | Mapping[str, str] = INHERIT
) -> Iterator[RunnerJob]:
    """Yield the jobs of a workflow and of those that it calls.

    A called workflow has no more permissions than `granted`, and of the secrets those that are
    `handed` over: `secrets:` of the call.

    Raises:
        ConfigError: the file is no workflow.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        jobs = document["jobs"].items()
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file}: not a workflow ({error})") from None
    for name, job in jobs:
        permissions = _allowed(job.get("permissions", document.get("permissions", {})), granted)
        if str(job.get("uses", "")).startswith(CALL):
            called = file.with_name(Path(job["uses"]).name)
            yield from read_jobs(called, permissions, job.get("secrets", {}))
            continue
        steps = job.get("steps", [])
        used = frozenset(SECRET.findall(str(job)))
        yield RunnerJob(
            file=file.name,
            workflow=document["name"],
            name=name,
            permissions=permissions,
            environment=job.get("environment"),
            secrets=used if handed == INHERIT else used & {*GIVEN, *handed},
            uses=tuple(step["uses"] for step in steps if "uses" in step),
        )


def _allowed(asked: Any, granted: Mapping[str, str] | None) -> dict[str, str]:  # noqa: ANN401 - YAML
    if not isinstance(asked, dict):
        raise ConfigError(f"permissions: {asked!r}, expected a table of permissions")
    if granted is None:
        return dict(asked)
    return {name: value for name, value in asked.items() if granted.get(name) == value}


def check_jobs(jobs: Sequence[RunnerJob]) -> None:
    """Check what act does not: each action is pinned, each secret is the job's.

    Raises:
        ConfigError: names the job and the value.
    """
    for job in jobs:
        for action in job.uses:
            if not PINNED.fullmatch(action):
                raise ConfigError(f"{job.key}: uses {action}, expected a commit of 40 digits")
        if not job.uses or not job.uses[0].startswith("actions/checkout@"):
            raise ConfigError(f"{job.key}: expected actions/checkout as the first action")
        if foreign := job.secrets - GIVEN - ({*job.secrets} if job.environment else set()):
            raise ConfigError(
                f"{job.key}: uses the secret {', '.join(sorted(foreign))}, which belongs to an "
                "environment, and names none"
            )


def find_job(jobs: Sequence[RunnerJob], name: str) -> RunnerJob:
    """Return the job of that name.

    Raises:
        ConfigError: there is none; with the names that there are.
    """
    for job in jobs:
        if job.name == name:
            return job
    raise ConfigError(
        f"--job {name}: no such job", hint=f"there are: {', '.join(job.name for job in jobs)}"
    )


def describe_permissions(jobs: Sequence[RunnerJob]) -> dict[str, dict[str, bool]]:
    """Return whether each job may request an identity token, by key."""
    return {job.key: {"id_token": job.permissions.get("id-token") == "write"} for job in jobs}


def actions_of(jobs: Sequence[RunnerJob]) -> list[str]:
    """Return every action of the jobs once, sorted."""
    return sorted({action for job in jobs for action in job.uses})
