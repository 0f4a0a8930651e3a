"""GitHub's descriptions of a release, an asset and a tag: its own examples with other values."""

import base64
import copy
import json
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Response

from ci.rehearsal.github.description import DESCRIPTION
from ci.rehearsal.github.state import StoredAsset, StoredRelease, World


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with `value` as compact JSON."""
    text = json.dumps(value, separators=(",", ":"))
    return Response(text, status, headers, content_type="application/json; charset=utf-8")


def describe_release(world: World, release: StoredRelease, base: str) -> dict[str, object]:
    """Return the description of `release`; `base` is the URL of the double."""
    api = f"{base}/repos/{world.repository}/releases/{release.number}"
    web = f"{base}/{world.repository}"
    tag = _tag_in_url(release)
    return {
        **example("release"),
        "url": api,
        "html_url": f"{web}/releases/tag/{tag}",
        "assets_url": f"{api}/assets",
        "upload_url": f"{api}/assets{{?name,label}}",
        "tarball_url": None if release.draft else f"{web}/tarball/{release.tag}",
        "zipball_url": None if release.draft else f"{web}/zipball/{release.tag}",
        "discussion_url": f"{web}/discussions/{release.number}",
        "id": release.number,
        "node_id": node("Release", release.number),
        "tag_name": release.tag,
        "target_commitish": release.commitish,
        "name": release.name,
        "body": release.body,
        "draft": release.draft,
        "prerelease": release.prerelease,
        "immutable": release.immutable,
        "created_at": release.created,
        "updated_at": release.published or release.created,
        "published_at": release.published,
        "assets": [describe_asset(world, release, asset, base) for asset in release.assets],
    }


def describe_asset(
    world: World, release: StoredRelease, asset: StoredAsset, base: str
) -> dict[str, object]:
    """Return the description of one asset."""
    tag = _tag_in_url(release)
    return {
        **example("release-asset"),
        "url": f"{base}/repos/{world.repository}/releases/assets/{asset.number}",
        "browser_download_url": (f"{base}/{world.repository}/releases/download/{tag}/{asset.name}"),
        "id": asset.number,
        "node_id": node("ReleaseAsset", asset.number),
        "name": asset.name,
        "label": asset.label,
        "state": asset.state,
        "content_type": asset.content_type,
        "size": asset.size,
        "digest": f"sha256:{asset.sha256}" if asset.sha256 else None,
        "download_count": 0,
        "created_at": asset.created,
        "updated_at": asset.created,
    }


def describe_ref(world: World, tag: str, base: str) -> dict[str, object]:
    """Return the description of the ref of a tag: the commit, or the tag's own object."""
    annotated = tag in world.annotated
    kind, sha = ("tag", world.tag_object(tag)) if annotated else ("commit", world.tags[tag])
    api = f"{base}/repos/{world.repository}/git"
    return {
        **example("git-ref"),
        "ref": f"refs/tags/{tag}",
        "node_id": node("Ref", tag),
        "url": f"{api}/refs/tags/{tag}",
        "object": {"type": kind, "sha": sha, "url": f"{api}/{kind}s/{sha}"},
    }


def describe_branch(world: World, branch: str, base: str) -> dict[str, object]:
    """Return the description of the ref of a branch."""
    sha, api = world.branches[branch], f"{base}/repos/{world.repository}/git"
    return {
        **example("git-ref"),
        "ref": f"refs/heads/{branch}",
        "node_id": node("Ref", branch),
        "url": f"{api}/refs/heads/{branch}",
        "object": {"type": "commit", "sha": sha, "url": f"{api}/commits/{sha}"},
    }


def describe_tag(world: World, tag: str, base: str) -> dict[str, object]:
    """Return the description of an annotated tag's own object."""
    api = f"{base}/repos/{world.repository}/git"
    sha, commit = world.tag_object(tag), world.tags[tag]
    return {
        **example("git-tag"),
        "tag": tag,
        "sha": sha,
        "node_id": node("Tag", tag),
        "url": f"{api}/tags/{sha}",
        "object": {"type": "commit", "sha": commit, "url": f"{api}/commits/{commit}"},
    }


def refusal(status: int, message: str, *errors: Mapping[str, str]) -> Response:
    """Return an error response with a body as GitHub writes it."""
    body = {"message": message, "documentation_url": "https://docs.github.com/rest/releases"}
    return json_response({**body, "errors": errors} if errors else body, status)


def example(name: str) -> Any:  # noqa: ANN401 (checked against the description)
    """Return a copy of one of GitHub's examples."""
    return copy.deepcopy(DESCRIPTION.read()["components"]["examples"][name]["value"])


def _tag_in_url(release: StoredRelease) -> str:
    # A draft has no tag yet, so its pages have a made-up name.
    return f"untagged-{release.number}" if release.draft else release.tag


def node(kind: str, number: int | str) -> str:
    """Return an id as GraphQL has it."""
    return base64.b64encode(f"{kind}:{number}".encode()).decode()
