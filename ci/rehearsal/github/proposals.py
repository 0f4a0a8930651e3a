"""Operations on commits, files, branches and pull requests (GitHub REST API, 2022-11-28)."""

import base64
from collections.abc import Callable, Mapping

from werkzeug.wrappers import Response

from ci.rehearsal.github.call import Call, not_found, page
from ci.rehearsal.github.responses import (
    describe_branch,
    example,
    json_response,
    node,
    refusal,
)
from ci.rehearsal.github.state import StoredPull, World

HEADS = "refs/heads/"


def get_commit(world: World, call: Call) -> Response:
    """Respond with a commit."""
    sha = call.parts["commit_sha"]
    return json_response(_commit(world, call, sha)) if sha in world.commits else not_found()


def get_tree(world: World, call: Call) -> Response:
    """Respond with the files and folders in one folder of a commit."""
    sha, api = call.parts["tree_sha"], _git(world, call)
    if sha not in world.trees:
        return not_found()
    entries: list[dict[str, object]] = []
    folders: dict[str, dict[str, str]] = {}
    for path, content in world.trees[sha].items():
        name, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(name, {})[rest] = content
            continue
        blob = world.blob_id(content)
        entry = {"path": name, "mode": "100644", "type": "blob", "size": len(content.encode())}
        entries.append({**entry, "sha": blob, "url": f"{api}/blobs/{blob}"})
    for name, files in folders.items():
        tree = world.add_tree(files)
        entry = {"path": name, "mode": "040000", "type": "tree"}
        entries.append({**entry, "sha": tree, "url": f"{api}/trees/{tree}"})
    found = example("git-tree")
    found |= {"sha": sha, "url": f"{api}/trees/{sha}", "tree": entries, "truncated": False}
    return json_response(found)


def get_blob(world: World, call: Call) -> Response:
    """Respond with the content of a file, in lines of base64."""
    sha = call.parts["file_sha"]
    for files in world.trees.values():
        for content in files.values():
            if world.blob_id(content) == sha:
                raw = content.encode()
                found = example("blob")
                found |= {"sha": sha, "url": f"{_git(world, call)}/blobs/{sha}", "size": len(raw)}
                found |= {"node_id": node("Blob", sha), "encoding": "base64"}
                return json_response({**found, "content": base64.encodebytes(raw).decode()})
    return not_found()


def create_tree(world: World, call: Call) -> Response:
    """Keep the files of the base tree, with the named ones replaced."""
    base = call.text("base_tree", "")
    if base not in world.trees:
        return refusal(422, "base_tree is not a tree oid")
    entries = {each["path"]: each["content"] for each in call.value("tree")}
    sha = world.add_tree(world.trees[base] | entries)
    found = example("git-tree")
    found |= {"sha": sha, "url": f"{_git(world, call)}/trees/{sha}", "tree": [], "truncated": False}
    return json_response(found, 201)


def create_commit(world: World, call: Call) -> Response:
    """Keep a commit; no branch has it yet."""
    tree, parents = call.text("tree", ""), tuple(call.value("parents") or ())
    if tree not in world.trees or not set(parents) <= set(world.commits):
        return refusal(422, "Tree SHA does not exist")
    sha = world.add_commit(world.trees[tree], *parents, message=call.text("message", ""))
    return json_response(_commit(world, call, sha), 201)


def create_ref(world: World, call: Call) -> Response:
    """Create a branch."""
    name, sha = call.text("ref", "").removeprefix(HEADS), call.text("sha", "")
    if name in world.branches:
        return refusal(422, "Reference already exists")
    if sha not in world.commits:
        return refusal(422, "Object does not exist")
    world.branches[name] = sha
    return json_response(describe_branch(world, name, call.base), 201)


def update_ref(world: World, call: Call) -> Response:
    """Move a branch; backwards or sideways only with `force`."""
    name, sha = call.parts["ref"].removeprefix("heads/"), call.text("sha", "")
    if name not in world.branches:
        return refusal(422, "Reference does not exist")
    forward = world.branches[name] in world.ancestors(sha)
    if sha not in world.commits or not (forward or call.flag("force", default=False)):
        return refusal(422, "Update is not a fast forward")
    world.branches[name] = sha
    return json_response(describe_branch(world, name, call.base))


def list_pulls(world: World, call: Call) -> Response:
    """Respond with the pull requests of the query, newest first."""
    head, state = call.request.args.get("head", ""), call.request.args.get("state", "open")
    owner = world.repository.partition("/")[0]
    found = [
        _pull(world, call, each, "pull-request-simple-items")
        for each in reversed(world.pulls)
        if state in ("all", each.state) and head in ("", f"{owner}:{each.head}")
    ]
    return page(call, found)


def create_pull(world: World, call: Call) -> Response:
    """Open a pull request; a branch has at most one that is open."""
    head = call.text("head", "")
    if head not in world.branches:
        return refusal(422, "Validation Failed", {"resource": "PullRequest", "field": "head"})
    if any(each.head == head and each.state == "open" for each in world.pulls):
        error = {"resource": "PullRequest", "code": "custom", "message": "A pull request exists"}
        return refusal(422, "Validation Failed", error)
    pull = StoredPull(
        number=world.next_number(),
        head=head,
        base=call.text("base", ""),
        title=call.text("title", ""),
        body=call.text("body", ""),
    )
    world.pulls.append(pull)
    return json_response(_pull(world, call, pull, "pull-request"), 201)


def update_pull(world: World, call: Call) -> Response:
    """Change title, text or state of a pull request."""
    number = int(call.parts["pull_number"])
    found = next((each for each in world.pulls if each.number == number), None)
    if found is None:
        return not_found()
    found.title = call.text("title", found.title)
    found.body = call.text("body", found.body)
    found.state = call.text("state", found.state)
    return json_response(_pull(world, call, found, "pull-request"))


def _git(world: World, call: Call) -> str:
    return f"{call.base}/repos/{world.repository}/git"


def _commit(world: World, call: Call, sha: str) -> dict[str, object]:
    stored, api = world.commits[sha], _git(world, call)
    commit: dict[str, object] = example("git-commit")
    return commit | {
        "sha": sha,
        "node_id": node("Commit", sha),
        "url": f"{api}/commits/{sha}",
        "message": stored.message,
        "tree": {"sha": stored.tree, "url": f"{api}/trees/{stored.tree}"},
        "parents": [
            {"sha": each, "url": f"{api}/commits/{each}", "html_url": f"{api}/commits/{each}"}
            for each in stored.parents
        ],
    }


def _pull(world: World, call: Call, pull: StoredPull, name: str) -> dict[str, object]:
    found = example(name)
    found = found[0] if isinstance(found, list) else found  # the list of the open ones
    found |= {
        "url": f"{call.base}/repos/{world.repository}/pulls/{pull.number}",
        "html_url": f"{call.base}/{world.repository}/pull/{pull.number}",
        "id": pull.number,
        "number": pull.number,
        "state": pull.state,
        "title": pull.title,
        "body": pull.body,
        "requested_teams": [],  # the example's lack a required key
    }
    for side, branch in (("head", pull.head), ("base", pull.base)):
        found[side] |= {"ref": branch, "sha": world.branches.get(branch, "0" * 40)}
    answer: dict[str, object] = found
    return answer


OPERATIONS: Mapping[str, Callable[[World, Call], Response]] = {
    "git/get-commit": get_commit,
    "git/get-tree": get_tree,
    "git/get-blob": get_blob,
    "git/create-tree": create_tree,
    "git/create-commit": create_commit,
    "git/create-ref": create_ref,
    "git/update-ref": update_ref,
    "pulls/list": list_pulls,
    "pulls/create": create_pull,
    "pulls/update": update_pull,
}
