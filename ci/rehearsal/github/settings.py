"""Operations that read the repository and its settings (GitHub REST API, 2022-11-28)."""

from collections.abc import Callable, Mapping

from werkzeug.wrappers import Response

from ci.rehearsal.github.call import Call, not_found, page
from ci.rehearsal.github.responses import example, json_response, node
from ci.rehearsal.github.state import World

RULESET = 42
"""Number of the first ruleset."""


def get_repository(world: World, call: Call) -> Response:
    """Respond with the repository."""
    owner, _, name = world.repository.partition("/")
    found = example("full-repository-default-response")
    # A client reads the addresses of further requests from this answer.
    ours, theirs = f"{call.base}/repos/{world.repository}", str(found["url"])
    addresses = {key: value for key, value in found.items() if str(value).startswith(theirs)}
    found |= {key: value.replace(theirs, ours) for key, value in addresses.items()}
    found |= {"name": name, "full_name": world.repository, "private": world.settings.private}
    # The example lacks a required key, and so does that of the repository it was forked from.
    found |= {"default_branch": world.default_branch, "language": None}
    del found["parent"], found["source"]
    found["owner"]["login"] = owner
    return json_response(found)


def compare(world: World, call: Call) -> Response:
    """Respond with the relation of two commits or branches."""
    base, head = (_commit(world, call.parts[side]) for side in ("base", "head"))
    if base is None or head is None:
        return not_found()
    in_base, in_head = world.ancestors(base), world.ancestors(head)
    status = "identical" if base == head else "diverged"
    if base != head and head in in_base:
        status = "behind"
    elif base != head and base in in_head:
        status = "ahead"
    found = example("commit-comparison")
    found |= {"status": status, "commits": [], "total_commits": 0, "files": []}
    found |= {"ahead_by": len(in_head - in_base), "behind_by": len(in_base - in_head)}
    return json_response(found)


def get_environment(world: World, call: Call) -> Response:
    """Respond with the environment `release` and its rules."""
    if call.parts["environment_name"] != "release" or not world.settings.environment:
        return not_found()
    found = example("environment") | {"name": "release"}
    protected = world.settings.environment_rules == "protected branches"
    policy = {"protected_branches": protected, "custom_branch_policies": not protected}
    found["deployment_branch_policy"] = policy
    if world.settings.environment_rules == "none":
        found |= {"protection_rules": [], "deployment_branch_policy": None}
    return json_response(found)


def list_refs_of_environment(world: World, call: Call) -> Response:
    """Respond with the patterns of tags and branches that may use the environment."""
    if call.parts["environment_name"] != "release" or not world.settings.environment:
        return not_found()
    rows = [
        {"id": number, "node_id": node("Policy", number), "name": name, "type": kind}
        for number, (kind, name) in enumerate(world.settings.environment_refs, 1)
    ]
    return json_response({"total_count": len(rows), "branch_policies": rows})


def list_workflows(world: World, call: Call) -> Response:
    """Respond with the workflows and whether GitHub runs them."""
    del call
    model = example("workflow-paginated")["workflows"][0]
    rows = [
        model | {"id": number, "name": path, "path": f".github/workflows/{path}", "state": state}
        for number, (path, state) in enumerate(world.settings.workflows.items(), 1)
    ]
    return json_response({"total_count": len(rows), "workflows": rows})


def list_rulesets(world: World, call: Call) -> Response:
    """Respond with the rulesets, without their rules."""
    rows = _rulesets(world)
    for row in rows:
        row.pop("rules"), row.pop("conditions")
    return page(call, rows)


def get_ruleset(world: World, call: Call) -> Response:
    """Respond with one ruleset and its rules."""
    for ruleset in _rulesets(world):
        if ruleset["id"] == call.parts["ruleset_id"]:
            return json_response(ruleset)
    return not_found()


def get_immutable(world: World, call: Call) -> Response:
    """Respond whether published releases are immutable: 404 when they are not."""
    del call
    if not world.settings.immutable:
        return not_found()
    return json_response({"enabled": True, "enforced_by_owner": False})


def get_actions(world: World, call: Call) -> Response:
    """Respond with which actions may run."""
    del call
    found = example("actions-repository-permissions")
    found["sha_pinning_required"] = world.settings.pinned_actions
    return json_response(found)


def get_default_token(world: World, call: Call) -> Response:
    """Respond with what a workflow's token may do when a job does not say."""
    del call
    found = example("actions-default-workflow-permissions")
    found["default_workflow_permissions"] = "read" if world.settings.read_by_default else "write"
    found["can_approve_pull_request_reviews"] = world.settings.pulls_by_actions
    return json_response(found)


def _rulesets(world: World) -> list[dict[str, object]]:
    model: dict[str, object] = example("repository-ruleset")
    patterns = list(world.settings.protected_tags)
    return [
        model
        | {
            "id": number,
            "name": f"tags: {', '.join(kinds)}",
            "target": "tag",
            "source": world.repository,
            "enforcement": "active",
            "conditions": {"ref_name": {"include": patterns, "exclude": []}},
            "rules": [{"type": kind} for kind in kinds],
        }
        for number, kinds in enumerate(world.settings.tag_rules, RULESET)
        if patterns
    ]


def _commit(world: World, name: str) -> str | None:
    named = world.branches.get(name) or world.tags.get(name) or name
    known = {*world.branches.values(), *world.tags.values(), *world.commits}
    return named if named in known else None


OPERATIONS: Mapping[str, Callable[[World, Call], Response]] = {
    "repos/get": get_repository,
    "repos/compare-commits": compare,
    "repos/get-environment": get_environment,
    "repos/list-deployment-branch-policies": list_refs_of_environment,
    "actions/list-repo-workflows": list_workflows,
    "repos/get-repo-rulesets": list_rulesets,
    "repos/get-repo-ruleset": get_ruleset,
    "repos/check-immutable-releases": get_immutable,
    "actions/get-github-actions-permissions-repository": get_actions,
    "actions/get-github-actions-default-workflow-permissions-repository": get_default_token,
}
