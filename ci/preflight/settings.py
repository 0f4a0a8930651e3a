"""The settings at GitHub that protect a release, as far as a token may read them."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from build.errors import ConfigError, RemoteError, SnowdropError
from ci.config import UNNAMED_REPOSITORY
from ci.preflight.checks import CheckFailed, Row
from ci.publish.github_calls import GithubRepository, MissingError, NoRightError

PERMISSION = "administration: read"
ENVIRONMENT = "release"
TAG = "refs/tags/v3.24.20261123"
"""A tag that must be protected, for the patterns of rulesets."""
RULES = {"update", "deletion"}
"""Rules of a ruleset without which a tag can be moved, or deleted and made again."""
HINTS = {
    "tags v*": "Settings, Rules, Rulesets: a tag ruleset, active, for `v*`, with "
    "`Restrict updates` and `Restrict deletions`",
    "environment release": "Settings, Environments: `release`, with deployment tags `v*` and the "
    "default branch (for refresh.yml), or with reviewers; the keys of the Space belong there",
    "immutable releases": "Settings, General, Releases: enable release immutability",
    "actions": "Settings, Actions, General: require actions to be pinned to a full-length commit",
    "workflows": "Actions: enable the workflows; each has its own button too",
    "workflow token": "Settings, Actions, General, Workflow permissions: read only, and allow "
    "GitHub Actions to create pull requests",
}
"""What to do, by check."""

Read = Callable[[str], Any]
"""Returns the JSON below the repository's address."""


def check_settings(open_host: Callable[[], GithubRepository]) -> list[Row]:
    """Return a row for each protection: there, missing, or not to be read by this token."""
    try:
        host = open_host()
    except SnowdropError as error:
        return [Row(name, "unknown", str(error), error.hint) for name in HINTS]
    checks: Mapping[str, Callable[[Read], str]] = {
        "tags v*": _check_tags,
        "environment release": _check_environment,
        "immutable releases": _check_immutable,
        "actions": _check_actions,
        "workflows": _check_workflows,
        "workflow token": _check_workflow_token,
    }
    return [_row(name, check, host.read) for name, check in checks.items()]


def _row(name: str, check: Callable[[Read], str], read: Read) -> Row:
    try:
        return Row(name, "ok", check(read))
    except CheckFailed as error:
        return Row(name, "missing", str(error), HINTS[name])
    except NoRightError as error:
        hint = f"use a token with `{PERMISSION}`, or look yourself: {HINTS[name]}"
        return Row(name, "unknown", str(error), hint)
    except RemoteError as error:
        return Row(name, "unknown", str(error), error.hint or HINTS[name])
    except (LookupError, TypeError, AttributeError) as error:
        return Row(name, "unknown", f"malformed reply ({error!r})", HINTS[name])


def _check_tags(read: Read) -> str:
    partial = []
    for listed in read("/rulesets?includes_parents=true&targets=tag&per_page=100"):
        ruleset = read(f"/rulesets/{listed['id']}")
        names = ruleset.get("conditions", {}).get("ref_name", {})
        if ruleset["enforcement"] != "active" or not _covers(names, TAG):
            continue
        rules = {rule["type"] for rule in ruleset.get("rules", [])}
        if rules >= RULES:
            return f"ruleset {ruleset['name']!r}: {', '.join(sorted(rules))}"
        partial.append(f"{ruleset['name']!r} lacks {', '.join(sorted(RULES - rules))}")
    raise CheckFailed("; ".join(partial) or "no active ruleset for tags like v3.24.20261123")


def _covers(names: Mapping[str, Sequence[str]], ref: str) -> bool:
    def matches(pattern: str) -> bool:
        # fnmatch of rulesets: `*` does not cross a slash, and such a tag has none.
        return pattern == "~ALL" or fnmatchcase(ref, pattern)

    included = any(map(matches, names.get("include", ())))
    return included and not any(map(matches, names.get("exclude", ())))


def _check_environment(read: Read) -> str:
    try:
        environment = read(f"/environments/{ENVIRONMENT}")
    except MissingError:
        raise CheckFailed(f"no environment {ENVIRONMENT}: its jobs create one without rules") from (
            None
        )
    rules = sorted({rule["type"] for rule in environment.get("protection_rules") or ()})
    policy = environment.get("deployment_branch_policy")
    if not policy and "required_reviewers" not in rules:
        raise CheckFailed(f"{ENVIRONMENT}: any branch may use its secrets, without a reviewer")
    if policy and policy["protected_branches"]:
        raise CheckFailed(f"{ENVIRONMENT}: only protected branches may use its secrets, and no tag")
    if policy:
        _check_refs(read)
    return f"rules: {', '.join(rules)}"


def _check_refs(read: Read) -> None:
    """Check that the environment admits tags of releases and the default branch, and no other."""
    reply = read(f"/environments/{ENVIRONMENT}/deployment-branch-policies?per_page=100")
    patterns: dict[str, list[str]] = {"branch": [], "tag": []}
    for policy in reply["branch_policies"]:
        # GitHub's examples of branches have no type.
        patterns[policy.get("type", "branch")].append(policy["name"])

    def admits(kind: str, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns[kind])

    tag = TAG.removeprefix("refs/tags/")
    if not admits("tag", tag):
        raise CheckFailed(f"{ENVIRONMENT}: no pattern of a tag admits {tag}")
    default = str(read("")["default_branch"])
    if not admits("branch", default):
        raise CheckFailed(f"{ENVIRONMENT}: no pattern of a branch admits {default}")
    if admits("branch", f"not-{default}"):
        raise CheckFailed(f"{ENVIRONMENT}: other branches than {default} may use its secrets")


def _check_immutable(read: Read) -> str:
    try:
        found = read("/immutable-releases")
    except MissingError:
        raise CheckFailed("off, or hidden from this token") from None
    if not found["enabled"]:
        raise CheckFailed("off")
    return "on"


def _check_actions(read: Read) -> str:
    found = read("/actions/permissions")
    if not found["enabled"]:
        raise CheckFailed("GitHub Actions are off: no workflow runs")
    if not found.get("sha_pinning_required"):
        raise CheckFailed("an action may be named by a tag, which can be moved")
    return "pinned by commit"


def _check_workflows(read: Read) -> str:
    """Check that GitHub runs each workflow: a fork begins with none, a schedule ends by itself."""
    listed = read("/actions/workflows?per_page=100")["workflows"]
    off = [f"{item['path']}: {item['state']}" for item in listed if item["state"] != "active"]
    if off or not listed:
        raise CheckFailed(", ".join(off) or "GitHub lists none")
    return f"active: {', '.join(sorted(item['path'].rpartition('/')[2] for item in listed))}"


def _check_workflow_token(read: Read) -> str:
    found = read("/actions/permissions/workflow")
    default = str(found["default_workflow_permissions"])
    if default != "read":
        raise CheckFailed(f"{default}, for every job that names no permissions")
    if not found["can_approve_pull_request_reviews"]:
        # One setting, "create and approve": refresh.yml creates, and never approves.
        raise CheckFailed("may not create the pull request of refresh.yml")
    return "reads only, unless a job asks for more"


def require_named_repository(repository: str) -> None:
    """Check that release.toml names a repository.

    Raises:
        ConfigError: it has the value that a fork begins with.
    """
    if repository == UNNAMED_REPOSITORY:
        raise ConfigError(
            f"release.github = {repository}", hint="name your repository in [release]"
        )
