"""The workflows as data, and the rules that each of them keeps; a broken rule is one line."""

import argparse
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile
from pathlib import Path
from typing import Any

import yaml

from ci.commands import COMMANDS, load_command
from ci.environment import TOOLS, session_tools

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
KEEP_SUMMARY = "--preserve-env=GITHUB_STEP_SUMMARY"
INSTALL_NOX = "pip install --require-hashes -r requirements/nox.txt"
ON_THE_RUNNER = {"engine", "git", "ssh", "dpkg", "e2fsck"}
"""Tools in the published list of programs of ubuntu-24.04, which has no QEMU of any kind."""
READ = {"contents": "read"}
PERMISSIONS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("build.yml", "attest"): {**READ, "id-token": "write"},
    ("release.yml", "build"): {**READ, "id-token": "write"},
    ("release.yml", "publish"): {"contents": "write", "attestations": "write"},
    ("refresh.yml", "compare"): {**READ, "pull-requests": "read"},
    ("refresh.yml", "propose"): {"contents": "write", "pull-requests": "write"},
}
"""By file and job; every other job may read the contents and nothing else."""
BUCKET = {"SPACES_KEY", "SPACES_SECRET"}
SECRETS: Mapping[tuple[str, str], set[str]] = {
    ("release.yml", "preflight"): {"GITHUB_TOKEN"},
    ("release.yml", "bucket"): BUCKET,
    ("release.yml", "publish"): {"GITHUB_TOKEN"},
    ("release.yml", "mirror"): BUCKET,
    ("release.yml", "verify"): {"GITHUB_TOKEN"},
    ("refresh.yml", "keep"): BUCKET,
    ("refresh.yml", "compare"): {"GITHUB_TOKEN"},
    ("refresh.yml", "propose"): {"GITHUB_TOKEN"},
    ("refresh.yml", "tag"): {"GITHUB_TOKEN"},
}
"""By file and job; no other job has a secret."""
OUTPUTS = {
    "artifacts": {"files"},
    "preflight": {"mirror", "previous"},
    "refresh": {"changed", "mirror"},
    "propose": {"changed"},
}
"""Outputs that the command of a session writes."""


@dataclass(frozen=True)
class Job:
    """One job of a workflow."""

    file: str
    name: str
    content: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """File and name."""
        return self.file, self.name

    @property
    def where(self) -> str:
        """The job in a message."""
        return f"{self.file}: {self.name}"

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        """The steps; none for a job that calls a workflow."""
        return list(self.content.get("steps", []))

    @property
    def needs(self) -> list[str]:
        """Names of the jobs before it."""
        needs = self.content.get("needs", [])
        return [needs] if isinstance(needs, str) else list(needs)

    @cached_property
    def commands(self) -> list[list[str]]:
        """The words of every command, in order."""
        return [words for step in self.steps for words in commands_of(step)]

    @property
    def sessions(self) -> list[tuple[str, list[str]]]:
        """Name and arguments of every session, in order."""
        return [found for words in self.commands if (found := session_of(words))]


@dataclass(frozen=True)
class Workflow:
    """One file."""

    name: str
    text: str

    @cached_property
    def content(self) -> Mapping[Any, Any]:
        """The file as YAML."""
        content: Mapping[Any, Any] = yaml.safe_load(self.text)
        return content

    @property
    def inputs(self) -> set[str]:
        """Names of the inputs that a caller hands over."""
        # YAML 1.1 reads the key `on` as true.
        events = self.content[True]
        call = events.get("workflow_call") if isinstance(events, dict) else None
        return set((call or {}).get("inputs", {}))

    @property
    def jobs(self) -> list[Job]:
        """All jobs."""
        return [Job(self.name, name, job) for name, job in self.content["jobs"].items()]


def commands_of(step: Mapping[str, Any]) -> list[list[str]]:
    """Return the words of each command of a step."""
    return [shlex.split(command) for command in step.get("run", "").split(" && ") if command]


def without_sudo(words: list[str]) -> list[str]:
    """Return a command without `sudo` and the options of sudo."""
    if words[:1] != ["sudo"]:
        return words
    return list(dropwhile(lambda word: word.startswith("-"), words[1:]))


def session_of(words: list[str]) -> tuple[str, list[str]] | None:
    """Return the session that a command runs, and its arguments."""
    words = without_sudo(words)
    if not words or not words[0].endswith("nox") or "-s" not in words:
        return None
    more = words[words.index("--") + 1 :] if "--" in words else []
    return words[words.index("-s") + 1], more


def read_workflows() -> list[Workflow]:
    """Return the workflows of this checkout."""
    return [Workflow(path.name, path.read_text()) for path in sorted(FOLDER.glob("*.yml"))]


def known_sessions() -> set[str]:
    """Return the names of the sessions in noxfile.py."""
    return set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE))


class _Refused(Exception):  # noqa: N818 - stands for SystemExit
    """The parser does not accept the arguments."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:  # noqa: ANN401
        raise _Refused(message)


def commands_exist(workflow: Workflow) -> Iterator[str]:
    """Every `run:` is a session that exists, with arguments that its parser accepts."""
    for job in workflow.jobs:
        for words in job.commands:
            line = " ".join(words)
            found = session_of(words)
            if found is None:
                first = without_sudo(words)[0]
                if line.removeprefix(".venv/bin/") != INSTALL_NOX and (
                    first != "apt-get" and line != "python3 -m venv .venv"
                ):
                    yield f"{job.where}: `{line}` is neither a session nor an installation"
                continue
            session, arguments = found
            if session not in known_sessions():
                yield f"{job.where}: there is no session {session}"
            elif session in COMMANDS:
                parser = _Parser(allow_abbrev=False)
                for option in ("--config", "--json", "--debug"):
                    parser.add_argument(option, nargs="?")
                load_command(session).add_arguments(parser)
                try:
                    parser.parse_args(arguments)
                except _Refused as error:
                    yield f"{job.where}: nox -s {session}: {error}"


def nothing_untrusted(workflow: Workflow) -> Iterator[str]:
    """No text of an event is part of a command: it comes through `env`."""
    for job in workflow.jobs:
        for step in job.steps:
            if "${{" in step.get("run", ""):
                yield f"{job.where}: an expression in `{step['run']}`"
            if "shell" in step or "github-script" in step.get("uses", ""):
                yield f"{job.where}: another shell, or a script in a step"


def programs_are_installed(workflow: Workflow) -> Iterator[str]:
    """A job installs what its sessions need and the runner lacks."""
    for job in workflow.jobs:
        installed = {word for words in job.commands if "apt-get" in words for word in words}
        for words in job.commands:
            found = session_of(words)
            # Root's sessions install what they lack themselves.
            if found is None or words[0] == "sudo":
                continue
            for tool in session_tools(found[0], found[1]):
                if tool not in ON_THE_RUNNER and not set(TOOLS[tool].packages) <= installed:
                    packages = " ".join(TOOLS[tool].packages)
                    yield f"{job.where}: {found[0]} needs {packages}"


def permissions_are_minimal(workflow: Workflow) -> Iterator[str]:
    """Each job has the permissions of the table, and the workflow itself none."""
    if workflow.content["permissions"] != {}:
        yield f"{workflow.name}: permissions outside of its jobs"
    for job in workflow.jobs:
        if job.content.get("permissions") != PERMISSIONS.get(job.key, READ):
            yield f"{job.where}: permissions {job.content.get('permissions')}"


def secrets_are_where_they_belong(workflow: Workflow) -> Iterator[str]:
    """Each job has the secrets of the table, in the environment of one step."""
    if "env" in workflow.content:
        yield f"{workflow.name}: an environment of all jobs"
    for job in workflow.jobs:
        text = str(job.content)
        found = set(re.findall(r"secrets\.(\w+)", text))
        found |= {"GITHUB_TOKEN"} if "github.token" in text else set()
        if found != SECRETS.get(job.key, set()):
            yield f"{job.where}: has the secrets {sorted(found)}"
        if "secrets" in job.content or "env" in job.content or "secrets[" in text:
            yield f"{job.where}: secrets for more than one step"
        if "toJSON" in text:
            yield f"{job.where}: a whole context as text"
        needs_key = bool(found & BUCKET)
        if needs_key and job.content.get("environment") != "release":
            yield f"{job.where}: keys of the bucket outside of the environment `release`"
        for step in job.steps:
            kept = step.get("with", {}).get("persist-credentials", True)
            if "actions/checkout" in step.get("uses", "") and kept is not False:
                yield f"{job.where}: checkout leaves a token in the work tree"


def privileged_jobs_have_no_credential(workflow: Workflow) -> Iterator[str]:
    """Where a privileged container runs there is no secret and no right to write."""
    for job in workflow.jobs:
        engines = [
            name
            for name, words in job.sessions
            # `refresh -- --take` reads what another job made, and starts no container.
            if "engine" in session_tools(name, words) and "--take" not in words
        ]
        if not engines:
            continue
        if "secrets." in str(job.content) or "github.token" in str(job.content):
            yield f"{job.where}: a secret beside the container of {engines[0]}"
        if set(job.content.get("permissions", {"?": "write"}).values()) - {"read"}:
            yield f"{job.where}: may write beside the container of {engines[0]}"


def actions_are_pinned(workflow: Workflow) -> Iterator[str]:
    """Every action is GitHub's own, and named by a commit with its tag beside it."""
    for line in re.findall(r"^\s*(?:- )?uses: (.+)$", workflow.text, re.MULTILINE):
        ours = line.startswith("./.github/workflows/build.yml")
        if not ours and not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v[0-9.]+", line):
            yield f"{workflow.name}: uses {line}"


def references_exist(workflow: Workflow) -> Iterator[str]:
    """Every output or input that is read is written by a step, a job before or the caller."""
    jobs = {job.name: job for job in workflow.jobs}
    for job in workflow.jobs:
        text = str(job.content)
        steps = {step["id"]: step for step in job.steps if "id" in step}
        for step, output in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text):
            sessions = [
                found for words in commands_of(steps.get(step, {})) if (found := session_of(words))
            ]
            written = {name for session, _ in sessions for name in OUTPUTS.get(session, set())}
            if output not in written:
                yield f"{job.where}: no step {step} with the output {output}"
        for name, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
            called = "uses" in jobs[name].content if name in jobs else False
            known = jobs[name].content.get("outputs", {}) if name in jobs else {}
            if name not in job.needs or not (called or output in known):
                yield f"{job.where}: no output {output} of a job {name} that it needs"
        for name in re.findall(r"inputs\.(\w+)", text):
            if name not in workflow.inputs:
                yield f"{job.where}: no input {name}"
        called_file = FOLDER / Path(job.content.get("uses", "")).name
        if "uses" in job.content and called_file.is_file():
            expected = Workflow(called_file.name, called_file.read_text()).inputs
            if (handed := set(job.content.get("with", {}))) != expected:
                yield f"{job.where}: hands over {sorted(handed)}, expected {sorted(expected)}"
        if missing := set(job.needs) - set(jobs):
            yield f"{job.where}: needs {sorted(missing)}"
        if "uses" not in job.content and "timeout-minutes" not in job.content:
            yield f"{job.where}: no timeout"


def history_is_there(workflow: Workflow) -> Iterator[str]:
    """A job that looks for the previous release has the tags and commits before its own."""
    for job in workflow.jobs:
        depths = [
            step.get("with", {}).get("fetch-depth")
            for step in job.steps
            if "actions/checkout" in step.get("uses", "")
        ]
        for name, words in job.sessions:
            needed = name == "sign" or (name == "preflight" and "bucket" not in words)
            if needed and depths != [0]:
                yield f"{job.where}: {name} needs a checkout with fetch-depth 0"


def artifacts_are_checked(workflow: Workflow) -> Iterator[str]:
    """A downloaded artifact is compared with the lists of its makers before anything reads it."""
    for job in workflow.jobs:
        downloads = [step for step in job.steps if "download-artifact" in step.get("uses", "")]
        if downloads and (not job.sessions or job.sessions[0][0] != "artifacts"):
            yield f"{job.where}: reads an artifact that it has not compared"
        lists = job.sessions[0][1] if job.sessions else []
        if downloads and len(lists) != 1 + len(downloads):
            yield f"{job.where}: {len(downloads)} artifacts, compared with {lists[1:]}"
        for step in downloads:
            name = step.get("with", {}).get("name")
            variable = f"${name.upper()}" if name else "?"
            if variable not in lists:
                yield f"{job.where}: artifact {name} is not compared with {variable}"


def no_branch_is_named(workflow: Workflow) -> Iterator[str]:
    """What a push starts is for the default branch, whatever a fork calls it."""
    # YAML 1.1 reads the key `on` as true.
    pushed = (workflow.content[True].get("push") or {}).get("branches")
    if pushed is None:
        return
    if pushed != ["**"]:
        yield f"{workflow.name}: names the branches {pushed}"
    for job in workflow.jobs:
        condition = str(job.content.get("if", ""))
        if not job.needs and not re.search(r"default_branch|event_name != 'push'$", condition):
            yield f"{job.where}: runs for any branch"


def summaries_are_written(workflow: Workflow) -> Iterator[str]:
    """A session that root runs has the file of the job's summary, which sudo takes away."""
    for job in workflow.jobs:
        for words in job.commands:
            if words[0] == "sudo" and session_of(words) and KEEP_SUMMARY not in words:
                yield f"{job.where}: {KEEP_SUMMARY} is missing in `{' '.join(words)}`"


RULES: tuple[Callable[[Workflow], Iterator[str]], ...] = (
    commands_exist,
    nothing_untrusted,
    programs_are_installed,
    permissions_are_minimal,
    secrets_are_where_they_belong,
    privileged_jobs_have_no_credential,
    actions_are_pinned,
    references_exist,
    history_is_there,
    artifacts_are_checked,
    no_branch_is_named,
    summaries_are_written,
)


def problems(workflow: Workflow) -> list[str]:
    """Return what breaks a rule."""
    return [problem for rule in RULES for problem in rule(workflow)]
