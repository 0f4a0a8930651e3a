"""What each operation does to the world, and what it answers (GitHub REST API, 2022-11-28)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ci.rehearsal.github.responses import (
    asset_answer,
    ref_answer,
    refusal,
    release_answer,
    tag_answer,
)
from ci.rehearsal.github.state import StoredAsset, StoredRelease, World

COMMIT = re.compile(r"[0-9a-f]{40}")
LOCKED = "Cannot {} an immutable release."


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that has been received."""

    path: Path
    size: int
    sha256: str
    content_type: str
    whole: bool
    """False when it broke off: it becomes a `starter`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, taken apart."""

    base: str
    """URL of the double."""
    parts: Mapping[str, str]
    """What the path's parameters are."""
    query: Mapping[str, str]
    values: Mapping[str, object]
    """The JSON body; empty when there is none."""
    signed_in: bool
    wants_bytes: bool
    upload: Upload | None = None

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a true or false of the body."""
        value = self.values.get(key)
        return value if isinstance(value, bool) else default

    def text(self, key: str, default: str) -> str:
        """Return a text of the body."""
        value = self.values.get(key)
        return value if isinstance(value, str) else default


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a JSON value, or nothing."""

    status: int
    value: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Answer(404, refusal("Not Found"))
UNAUTHORIZED = Answer(401, refusal("Requires authentication"))


def list_releases(world: World, call: Call) -> Answer:
    """Answer with releases, newest first; drafts only to those who may see them."""
    found = [item for item in world.releases.values() if call.signed_in or not item.draft]
    found.sort(key=lambda item: item.number, reverse=True)
    return _page(call, [release_answer(world, item, call.base) for item in found], "releases")


def create_release(world: World, call: Call) -> Answer:
    """Make a release; nothing keeps several drafts from bearing one tag."""
    tag = call.text("tag_name", "")
    commitish = call.text("target_commitish", "main")
    draft = call.flag("draft", default=False)
    if tag not in world.tags and not COMMIT.fullmatch(commitish):
        return _invalid("target_commitish", "invalid")
    if not draft and _published(world, tag):
        return _invalid("tag_name", "already_exists")
    release = StoredRelease(
        number=world.number(),
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
    return Answer(201, release_answer(world, release, call.base))


def get_release(world: World, call: Call) -> Answer:
    """Answer with one release by its number."""
    release = _release(world, call)
    return Answer(200, release_answer(world, release, call.base)) if release else NOT_FOUND


def get_by_tag(world: World, call: Call) -> Answer:
    """Answer with the published release of a tag; a draft is not found this way."""
    release = _published(world, call.parts["tag"])
    return Answer(200, release_answer(world, release, call.base)) if release else NOT_FOUND


def get_latest(world: World, call: Call) -> Answer:
    """Answer with the newest published release that may be the latest."""
    found = [
        item
        for item in world.releases.values()
        if not item.draft and not item.prerelease and item.latest != "false"
    ]
    if not found:
        return NOT_FOUND
    latest = max(found, key=lambda item: (item.published or "", item.number))
    return Answer(200, release_answer(world, latest, call.base))


def update_release(world: World, call: Call) -> Answer:
    """Change a release; `draft: false` publishes it."""
    release = _release(world, call)
    if not release:
        return NOT_FOUND
    tag = call.text("tag_name", release.tag)
    draft = call.flag("draft", default=release.draft)
    if release.immutable and (draft or tag != release.tag):
        return Answer(422, refusal(LOCKED.format("change the tag of")))
    other = _published(world, tag)
    if not draft and other and other is not release:
        return _invalid("tag_name", "already_exists")
    release.tag = tag
    release.name = call.text("name", release.name)
    release.body = call.text("body", release.body)
    release.latest = call.text("make_latest", release.latest)
    release.prerelease = call.flag("prerelease", default=release.prerelease)
    release.commitish = call.text("target_commitish", release.commitish)
    published = release.draft and not draft
    release.draft = draft
    if published:
        _publish(world, release)
    return Answer(200, release_answer(world, release, call.base))


def delete_release(world: World, call: Call) -> Answer:
    """Take a release away; its tag stays."""
    release = _release(world, call)
    if not release:
        return NOT_FOUND
    for asset in release.assets:
        world.blob(asset.number).unlink(missing_ok=True)
    del world.releases[release.number]
    return Answer(204)


def list_assets(world: World, call: Call) -> Answer:
    """Answer with the assets of a release."""
    release = _release(world, call)
    if not release:
        return NOT_FOUND
    found = [asset_answer(world, release, asset, call.base) for asset in release.assets]
    return _page(call, found, f"releases/{release.number}/assets")


def upload_asset(world: World, call: Call) -> Answer:
    """Keep an uploaded file; GitHub puts a dot where a name has what it does not like."""
    release = _release(world, call)
    if not release or call.upload is None:
        return NOT_FOUND
    if release.immutable:
        return Answer(422, refusal(LOCKED.format("upload assets to")))
    name = re.sub(r"[^A-Za-z0-9._-]+", ".", call.query["name"]).strip(".")
    if any(asset.name == name for asset in release.assets):
        error = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
        return Answer(422, refusal("Validation Failed", error))
    upload = call.upload
    asset = StoredAsset(
        number=world.number(),
        name=name,
        label=call.query.get("label"),
        content_type=upload.content_type,
        size=upload.size if upload.whole else 0,
        sha256=upload.sha256 if upload.whole else None,
        state="uploaded" if upload.whole else "starter",
        created=world.now(),
    )
    if upload.whole:
        upload.path.replace(world.blob(asset.number))
    release.assets.append(asset)
    return Answer(201, asset_answer(world, release, asset, call.base))


def get_asset(world: World, call: Call) -> Answer:
    """Answer with an asset, or (octet-stream) with where its bytes are."""
    found = _asset(world, call)
    if not found:
        return NOT_FOUND
    release, asset = found
    if call.wants_bytes:
        return Answer(302, None, {"Location": storage_url(call.base, asset)})
    return Answer(200, asset_answer(world, release, asset, call.base))


def delete_asset(world: World, call: Call) -> Answer:
    """Take an asset away."""
    found = _asset(world, call)
    if not found:
        return NOT_FOUND
    release, asset = found
    if release.immutable:
        return Answer(422, refusal(LOCKED.format("delete assets of")))
    release.assets.remove(asset)
    world.blob(asset.number).unlink(missing_ok=True)
    return Answer(204)


def get_ref(world: World, call: Call) -> Answer:
    """Answer with what a tag points to."""
    tag = call.parts["ref"].removeprefix("tags/")
    return Answer(200, ref_answer(world, tag, call.base)) if tag in world.tags else NOT_FOUND


def get_tag(world: World, call: Call) -> Answer:
    """Answer with the object of an annotated tag."""
    for tag in world.annotated & set(world.tags):
        if world.tag_object(tag) == call.parts["tag_sha"]:
            return Answer(200, tag_answer(world, tag, call.base))
    return NOT_FOUND


def storage_url(base: str, asset: StoredAsset) -> str:
    """Return where the bytes of `asset` are: like GitHub's, an address that needs no token."""
    return f"{base}/storage/{asset.number}/{asset.name}?signature={asset.number:08x}"


def _page(call: Call, values: list[dict[str, object]], what: str) -> Answer:
    size = min(max(int(call.query.get("per_page", "30")), 1), 100)
    page = max(int(call.query.get("page", "1")), 1)
    headers = {}
    if page * size < len(values):
        owner, repository = call.parts["owner"], call.parts["repo"]
        after = f"{call.base}/repos/{owner}/{repository}/{what}?per_page={size}&page={page + 1}"
        headers["Link"] = f'<{after}>; rel="next"'
    return Answer(200, values[(page - 1) * size : page * size], headers)


def _invalid(where: str, code: str) -> Answer:
    error = {"resource": "Release", "code": code, "field": where}
    return Answer(422, refusal("Validation Failed", error))


def _published(world: World, tag: str) -> StoredRelease | None:
    found = (item for item in world.releases.values() if item.tag == tag and not item.draft)
    return next(found, None)


def _publish(world: World, release: StoredRelease) -> None:
    release.published = world.now()
    release.immutable = world.makes_immutable
    world.tags.setdefault(release.tag, release.commitish)


def _release(world: World, call: Call) -> StoredRelease | None:
    release = world.releases.get(int(call.parts["release_id"]))
    return release if release and (call.signed_in or not release.draft) else None


def _asset(world: World, call: Call) -> tuple[StoredRelease, StoredAsset] | None:
    for release in world.releases.values():
        for asset in release.assets:
            if asset.number == int(call.parts["asset_id"]):
                return (release, asset) if call.signed_in or not release.draft else None
    return None


REPO = r"/repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)"
RELEASE = REPO + r"/releases/(?P<release_id>\d+)"
ASSET = REPO + r"/releases/assets/(?P<asset_id>\d+)"
OPERATIONS: tuple[tuple[str, str, str, Callable[[World, Call], Answer]], ...] = (
    ("repos/list-releases", "GET", REPO + "/releases", list_releases),
    ("repos/create-release", "POST", REPO + "/releases", create_release),
    ("repos/get-latest-release", "GET", REPO + "/releases/latest", get_latest),
    ("repos/get-release-by-tag", "GET", REPO + "/releases/tags/(?P<tag>[^/]+)", get_by_tag),
    ("repos/get-release", "GET", RELEASE, get_release),
    ("repos/update-release", "PATCH", RELEASE, update_release),
    ("repos/delete-release", "DELETE", RELEASE, delete_release),
    ("repos/list-release-assets", "GET", RELEASE + "/assets", list_assets),
    ("repos/upload-release-asset", "POST", RELEASE + "/assets", upload_asset),
    ("repos/get-release-asset", "GET", ASSET, get_asset),
    ("repos/delete-release-asset", "DELETE", ASSET, delete_asset),
    ("git/get-ref", "GET", REPO + "/git/ref/(?P<ref>tags/.+)", get_ref),
    ("git/get-tag", "GET", REPO + "/git/tags/(?P<tag_sha>[0-9a-f]+)", get_tag),
)
"""GitHub's operationId, method, pattern of the path, and what it does."""
