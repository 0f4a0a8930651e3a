"""The event of a push, as GitHub writes it for the jobs (webhook event `push`)."""

from typing import Any

BRANCH = "main"


def push_event(repository: str, ref: str, commit: str) -> dict[str, Any]:
    """Return the payload for `ref` of `repository` (OWNER/REPO), which is new."""
    owner, _, name = repository.partition("/")
    return {
        "ref": ref,
        "before": "0" * 40,
        "after": commit,
        "base_ref": None,
        "created": True,
        "deleted": False,
        "forced": False,
        "head_commit": {"id": commit},
        "pusher": {"name": owner},
        "sender": {"login": owner},
        "repository": {
            "name": name,
            "full_name": repository,
            "private": False,
            "default_branch": BRANCH,
            "owner": {"login": owner, "name": owner},
        },
    }
