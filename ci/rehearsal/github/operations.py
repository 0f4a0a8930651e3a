"""The effect of each operation on the state, and its response (GitHub REST API, 2022-11-28)."""

import re
from collections.abc import Callable, Mapping

from werkzeug.exceptions import abort
from werkzeug.wrappers import Response

from ci.rehearsal.github import attestations, proposals, settings
from ci.rehearsal.github.call import Call, not_found, page
from ci.rehearsal.github.responses import (
    describe_asset,
    describe_branch,
    describe_ref,
    describe_release,
    describe_tag,
    json_response,
    refusal,
)
from ci.rehearsal.github.state import StoredAsset, StoredRelease, World

COMMIT = re.compile(r"[0-9a-f]{40}")
DEFAULT_BRANCH = "main"
HEAD = "de" * 20
"""Commit that the default branch points to."""


def list_releases(world: World, call: Call) -> Response:
    """Respond with the releases, newest first; with drafts only to a request with a token."""
    found = [item for item in world.releases.values() if call.signed_in or not item.draft]
    # Numbers grow with time: the newest release comes first.
    found.sort(key=lambda item: item.number, reverse=True)
    return page(call, [describe_release(world, item, call.base) for item in found])


def create_release(world: World, call: Call) -> Response:
    """Create a release; as at GitHub, several drafts may have the same tag."""
    tag = call.text("tag_name", "")
    commitish = call.text("target_commitish", DEFAULT_BRANCH)
    draft = call.flag("draft", default=False)
    if tag not in world.tags and commitish != DEFAULT_BRANCH and not COMMIT.fullmatch(commitish):
        return _invalid("target_commitish", "invalid")
    if not draft and _published(world, tag):
        return _invalid("tag_name", "already_exists")
    release = StoredRelease(
        number=world.next_number(),
        tag=tag,
        commitish=commitish,
        name=call.text("name", tag),
        body=call.text("body", ""),
        draft=draft,
        prerelease=call.flag("prerelease", default=False),
        created=world.now(),
        latest=call.text("make_latest", "true"),
    )
    world.releases[release.number] = release
    if not draft:
        _publish(world, release)
    return _respond(world, call, release, 201)


def get_release(world: World, call: Call) -> Response:
    """Respond with one release by its number."""
    return _respond(world, call, _release(world, call))


def get_by_tag(world: World, call: Call) -> Response:
    """Respond with the published release of a tag; a draft is not found this way."""
    return _respond(world, call, _published(world, call.parts["tag"]))


def get_latest(world: World, call: Call) -> Response:
    """Respond with the newest published release that may be the latest."""
    found = [
        item
        for item in world.releases.values()
        if not item.draft and not item.prerelease and item.latest != "false"
    ]
    latest = max(found, key=lambda item: (item.published or "", item.number), default=None)
    return _respond(world, call, latest)


def update_release(world: World, call: Call) -> Response:
    """Change a release; `draft: false` publishes it."""
    release = _release(world, call)
    tag = call.text("tag_name", release.tag)
    draft = call.flag("draft", default=release.draft)
    if draft or tag != release.tag:
        _check_mutable(release, "change the tag of")
    other = _published(world, tag)
    if not draft and other and other is not release:
        return _invalid("tag_name", "already_exists")
    release.tag = tag
    release.name = call.text("name", release.name)
    release.body = call.text("body", release.body)
    release.latest = call.text("make_latest", release.latest)
    release.prerelease = call.flag("prerelease", default=release.prerelease)
    release.commitish = call.text("target_commitish", release.commitish)
    if release.draft and not draft:
        _publish(world, release)
    release.draft = draft
    return _respond(world, call, release)


def delete_release(world: World, call: Call) -> Response:
    """Delete a release; its tag stays."""
    release = _release(world, call)
    for asset in release.assets:
        world.blob(asset.number).unlink(missing_ok=True)
    del world.releases[release.number]
    return Response(status=204)


def list_assets(world: World, call: Call) -> Response:
    """Respond with the assets of a release."""
    release = _release(world, call)
    found = [describe_asset(world, release, asset, call.base) for asset in release.assets]
    return page(call, found)


def upload_asset(world: World, call: Call) -> Response:
    """Add an uploaded file to a release."""
    release, asset = _release(world, call), call.upload
    assert asset is not None  # for the type checker: the server received it
    _check_mutable(release, "upload assets to")
    if any(other.name == asset.name for other in release.assets):
        error = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
        return refusal(422, "Validation Failed", error)
    release.assets.append(asset)
    return json_response(describe_asset(world, release, asset, call.base), 201)


def get_asset(world: World, call: Call) -> Response:
    """Respond with an asset, or (Accept: octet-stream) with the address of its bytes."""
    release, asset = _asset(world, call)
    if call.request.headers.get("Accept") == "application/octet-stream":
        return Response(status=302, headers={"Location": storage_url(call.base, asset)})
    return json_response(describe_asset(world, release, asset, call.base))


def delete_asset(world: World, call: Call) -> Response:
    """Delete an asset."""
    release, asset = _asset(world, call)
    _check_mutable(release, "delete assets of")
    release.assets.remove(asset)
    world.blob(asset.number).unlink(missing_ok=True)
    return Response(status=204)


def get_ref(world: World, call: Call) -> Response:
    """Respond with the object that a tag or a branch points to."""
    kind, _, name = call.parts["ref"].partition("/")
    if kind == "heads" and name in world.branches:
        return json_response(describe_branch(world, name, call.base))
    if kind == "tags" and name in world.tags:
        return json_response(describe_ref(world, name, call.base))
    return not_found()


def get_tag(world: World, call: Call) -> Response:
    """Respond with the object of an annotated tag."""
    for tag in world.annotated & set(world.tags):
        if world.tag_object(tag) == call.parts["tag_sha"]:
            return json_response(describe_tag(world, tag, call.base))
    return not_found()


def storage_url(base: str, asset: StoredAsset) -> str:
    """Return the address of the bytes of `asset`: like GitHub's, it needs no token."""
    return f"{base}/storage/{asset.number}/{asset.name}?signature={asset.number:08x}"


def _respond(
    world: World, call: Call, release: StoredRelease | None, status: int = 200
) -> Response:
    if release is None:
        return not_found()
    return json_response(describe_release(world, release, call.base), status)


def _invalid(key: str, code: str) -> Response:
    error = {"resource": "Release", "code": code, "field": key}
    return refusal(422, "Validation Failed", error)


def _check_mutable(release: StoredRelease, action: str) -> None:
    if release.immutable:
        abort(refusal(422, f"Cannot {action} an immutable release."))


def _published(world: World, tag: str) -> StoredRelease | None:
    found = (item for item in world.releases.values() if item.tag == tag and not item.draft)
    return next(found, None)


def _publish(world: World, release: StoredRelease) -> None:
    release.published = world.now()
    release.immutable = True  # the repository's setting "release immutability" is on
    # GitHub creates the tag of a draft when the draft is published.
    target = HEAD if release.commitish == DEFAULT_BRANCH else release.commitish
    world.tags.setdefault(release.tag, target)


def _release(world: World, call: Call) -> StoredRelease:
    release = world.releases.get(call.parts["release_id"])
    if release is None or (release.draft and not call.signed_in):
        abort(not_found())
    return release


def _asset(world: World, call: Call) -> tuple[StoredRelease, StoredAsset]:
    for release, asset in world.stored_assets():
        if asset.number == call.parts["asset_id"] and (call.signed_in or not release.draft):
            return release, asset
    return abort(not_found())


OPERATIONS: Mapping[str, Callable[[World, Call], Response]] = {
    "repos/list-releases": list_releases,
    "repos/create-release": create_release,
    "repos/get-latest-release": get_latest,
    "repos/get-release-by-tag": get_by_tag,
    "repos/get-release": get_release,
    "repos/update-release": update_release,
    "repos/delete-release": delete_release,
    "repos/list-release-assets": list_assets,
    "repos/upload-release-asset": upload_asset,
    "repos/get-release-asset": get_asset,
    "repos/delete-release-asset": delete_asset,
    "git/get-ref": get_ref,
    "git/get-tag": get_tag,
    **attestations.OPERATIONS,
    **settings.OPERATIONS,
    **proposals.OPERATIONS,
}
"""By GitHub's operationId; methods and paths come from openapi.json."""
