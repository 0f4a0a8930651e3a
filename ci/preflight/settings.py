"""The settings at GitHub that protect a release, as far as a token may read them."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from build.errors import ConfigError, RemoteError, SnowdropError
from ci.config import UNNAMED_REPOSITORY
from ci.preflight.checks import CheckFailed, Row
from ci.publish.github_calls import GithubRepository, MissingError, NoRightError

PERMISSION = "administration: read"
ENVIRONMENT = "release"
RULES = {"creation", "update", "deletion"}
"""Rules of tags: who may create one decides whose commits are released and signed; without the
others a tag can be moved, or deleted and made again."""
HINTS = {
    "tags": "Settings, Rules, Rulesets: two tag rulesets, active, for `{tags}`: `Restrict "
    "creations` with the people who may release as its bypass list; `Restrict updates` and "
    "`Restrict deletions` without one",
    "environment release": "Settings, Environments: `release`, with deployment tags `{tags}` and "
    "the default branch (for refresh.yml), or with reviewers; the keys of the Space belong there",
    "immutable releases": "Settings, General, Releases: enable release immutability",
    "actions": "Settings, Actions, General: require actions to be pinned to a full-length commit",
    "workflows": "Actions: enable the workflows; each has its own button too",
    "workflow token": "Settings, Actions, General, Workflow permissions: read only, and allow "
    "GitHub Actions to create pull requests",
}
"""What to do, by check; `{tags}` is the pattern of the tags of releases."""

Read = Callable[[str], Any]
"""Returns the JSON below the repository's address."""


def tag_pattern(branch: str) -> str:
    """Return the pattern of the tags of releases of Alpine's branch.

    >>> tag_pattern("v3.24"), tag_pattern("edge")
    ('v*', 'edge.*')
    """
    return "v*" if branch.startswith("v") else f"{branch}.*"


def check_settings(open_host: Callable[[], GithubRepository], branch: str) -> list[Row]:
    """Return a row for each protection: there, missing, or not to be read by this token.

    `branch` is Alpine's, with which the tags begin.
    """
    try:
        host = open_host()
    except SnowdropError as error:
        return [Row(name, "unknown", str(error), error.hint) for name in HINTS]
    tag = f"{branch}.20261123"
    checks: Mapping[str, Callable[[Read], str]] = {
        "tags": partial(_check_tags, tag),
        "environment release": partial(_check_environment, tag),
        "immutable releases": _check_immutable,
        "actions": _check_actions,
        "workflows": _check_workflows,
        "workflow token": _check_workflow_token,
    }
    hints = {name: hint.format(tags=tag_pattern(branch)) for name, hint in HINTS.items()}
    return [_row(name, check, host.read, hints[name]) for name, check in checks.items()]


def _row(name: str, check: Callable[[Read], str], read: Read, hint: str) -> Row:
    try:
        return Row(name, "ok", check(read))
    except CheckFailed as error:
        return Row(name, "missing", str(error), hint)
    except NoRightError as error:
        look = f"use a token with `{PERMISSION}`, or look yourself: {hint}"
        return Row(name, "unknown", str(error), look)
    except RemoteError as error:
        return Row(name, "unknown", str(error), error.hint or hint)
    except (LookupError, TypeError, AttributeError) as error:
        return Row(name, "unknown", f"malformed reply ({error!r})", hint)


def _check_tags(tag: str, read: Read) -> str:
    """Check that the rulesets for the tag have all rules, in one or in several."""
    found: dict[str, set[str]] = {}
    for listed in read("/rulesets?includes_parents=true&targets=tag&per_page=100"):
        ruleset = read(f"/rulesets/{listed['id']}")
        names = ruleset.get("conditions", {}).get("ref_name", {})
        if ruleset["enforcement"] == "active" and _covers(names, f"refs/tags/{tag}"):
            rules = {rule["type"] for rule in ruleset.get("rules", [])} & RULES
            found.setdefault(str(ruleset["name"]), set()).update(rules)
    if not found:
        raise CheckFailed(f"no active ruleset for tags like {tag}")
    described = "; ".join(f"{name!r}: {', '.join(sorted(rules))}" for name, rules in found.items())
    if missing := RULES - set().union(*found.values()):
        raise CheckFailed(f"{described}; without {', '.join(sorted(missing))}")
    return f"rulesets {described}"


def _covers(names: Mapping[str, Sequence[str]], ref: str) -> bool:
    def matches(pattern: str) -> bool:
        # fnmatch of rulesets: `*` does not cross a slash, and such a tag has none.
        return pattern == "~ALL" or fnmatchcase(ref, pattern)

    included = any(map(matches, names.get("include", ())))
    return included and not any(map(matches, names.get("exclude", ())))


def _check_environment(tag: str, read: Read) -> str:
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
        _check_refs(tag, read)
    return f"rules: {', '.join(rules)}"


def _check_refs(tag: str, read: Read) -> None:
    """Check that the environment admits tags of releases and the default branch, and no other."""
    reply = read(f"/environments/{ENVIRONMENT}/deployment-branch-policies?per_page=100")
    patterns: dict[str, list[str]] = {"branch": [], "tag": []}
    for policy in reply["branch_policies"]:
        # GitHub's examples of branches have no type.
        patterns[policy.get("type", "branch")].append(policy["name"])

    def admits(kind: str, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns[kind])

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
