"""An older release, which is signed just as well, in the place of the one that is wanted.

The name of the release comes from an option, a folder, a file or a URL: each has one grammar, two
of them must agree, and none may be empty. A policy file remembers the newest release.
"""

import shutil
from collections.abc import Callable

from ci.release.manifest import INDEX_FILES
from tests.attest.conftest import EPOCH
from tests.verify.attacks import Attack
from tests.verify.attacks.trust import numbers
from tests.verify.stage import IMAGE, NEW, OLD, REPOSITORY, Scene, stem

WEB = f"https://github.com/{REPOSITORY}/releases"
OLD_IMAGE = f"{stem(OLD)}.qcow2"
MIRROR = "https://mirror.example.org/releases"
NO_TAG, TWO_TAGS = "no tag of a release", "expected one tag"
SPELLING = "expected a URL without query, fragment, percent code"
NEWER = "v3.24.20261124"


def said(*words: str) -> Callable[[Scene], None]:
    """Return what adds words to the command line."""
    return lambda scene: scene.words.extend(words)


def asked(target: str, *words: str) -> Callable[[Scene], None]:
    """Return what verifies another target."""

    def do(scene: Scene) -> None:
        scene.target = target
        scene.words += words

    return do


def held(name: str, *words: str) -> Callable[[Scene], None]:
    """Return what verifies a folder of that name, with the older release in it."""

    def do(scene: Scene) -> None:
        scene.target = str(scene.place / name)
        shutil.copytree(scene.stage.old, scene.target)
        scene.words += words

    return do


def linked(name: str) -> Callable[[Scene], None]:
    """Return what verifies a link of that name to the folder of the older release."""

    def do(scene: Scene) -> None:
        (scene.place / name).symlink_to(scene.stage.old)
        scene.target = str(scene.place / name)

    return do


def seen(
    tag: str, epoch: object = EPOCH, line: str = "v3.24", more: str = ""
) -> Callable[[Scene], None]:
    """Return what has a policy file that has seen a release."""

    def do(scene: Scene) -> None:
        numbers()(scene)
        policy = scene.place / "policy.toml"
        entry = f'\n[newest."{line}"]\ntag = "{tag}"\nepoch = {epoch}\n{more}'
        policy.write_text(policy.read_text() + entry)

    return do


def signature_of_image(scene: Scene) -> None:
    """Verify the image without the manifest, with a policy that has seen a newer release."""
    seen(NEWER)(scene)
    scene.target = str(scene / IMAGE)
    for name in INDEX_FILES:
        (scene / name).unlink()


def empty_target(scene: Scene) -> None:
    """Name no target, as a script does whose variable is not set."""
    scene.target = ""


def empty_repository(scene: Scene) -> None:
    """Name no repository."""
    scene.repository = ""


TAGS = {
    "two dots": "v3.24..20261123",
    "a dot at its end": f"{NEW}.",
    "a percent code": "v3%2E24.20261123",
    "a path": f"../{OLD}",
    "a reference": f"refs/tags/{OLD}",
    "a pattern": "v3.24.*",
    "a space": f" {OLD}",
    "a line end": f"{OLD}\n",
    "a branch": "main",
    "latest": "latest",
    "other digits": "v3.24.\u0662026112\u0662",
    "serial 0": f"{OLD}.0",
    "5,000 letters": f"v3.24.{'2' * 5000}",
}
URLS = {
    "percent code in the tag": (f"{WEB}/tag/v3%2E24.20261122", SPELLING),
    "percent code in the folder": (f"{MIRROR}/v3.24.2026112%32/{OLD_IMAGE}", SPELLING),
    "percent slash": (f"{MIRROR}/{NEW}%2F..%2F{OLD}", SPELLING),
    "two dots": (f"{MIRROR}/{NEW}/../{OLD}", SPELLING),
    "one dot": (f"{MIRROR}/{OLD}/.", SPELLING),
    "two slashes": (f"{MIRROR}//{OLD}", SPELLING),
    "a query": (f"{MIRROR}/{NEW}?x=/{OLD}", SPELLING),
    "a fragment": (f"{MIRROR}/{OLD}#/{NEW}", SPELLING),
    "a parameter": (f"{MIRROR}/{OLD};x", SPELLING),
    "a backslash": (f"{MIRROR}/{OLD}\\{NEW}", SPELLING),
    "a page of no tag": (f"{WEB}/tag/main", NO_TAG),
    "a dot after the tag": (f"{MIRROR}/{OLD}./{OLD_IMAGE}", NO_TAG),
    "two dots in the tag": (f"{MIRROR}/v3.24..20261122", NO_TAG),
    "the latest release": (f"{WEB}/latest/download", "the server decides"),
    "the latest checksums": (f"{WEB}/latest/download/SHA256SUMS", "the server decides"),
    "the latest image of no tag": (f"{WEB}/latest/download/image.qcow2", "the server decides"),
    "an image in another release's folder": (f"{MIRROR}/{OLD}/{IMAGE}", TWO_TAGS),
}
ATTACKS = [
    *(Attack(f"--tag is {what}", said(f"--tag={tag}"), "", NO_TAG) for what, tag in TAGS.items()),
    *(
        Attack(f"{option} is empty", said(f"{option}="), "", f"{option}: is empty")
        for option in ("--tag", "--policy", "--config", "--keys", "--save", "--trust-root")
    ),
    Attack("--repository is empty", empty_repository, "", "--repository: is empty"),
    Attack("the target is empty", empty_target, "", "target: is empty"),
    *(Attack(f"URL: {what}", asked(url), "", found) for what, (url, found) in URLS.items()),
    Attack("URL: another tag than --tag", asked(f"{WEB}/tag/{OLD}", "--tag", NEW), "", TWO_TAGS),
    Attack("mirror: another tag than --tag", asked(f"{MIRROR}/{OLD}", "--tag", NEW), "", TWO_TAGS),
    Attack("tag: another one than --tag", asked(OLD, "--tag", NEW), "", TWO_TAGS),
    Attack(
        "latest image: another tag than --tag",
        asked(f"{WEB}/latest/download/{OLD_IMAGE}", "--tag", NEW),
        "",
        TWO_TAGS,
    ),
    Attack("folder of another tag than --tag", held(OLD, "--tag", NEW), "", TWO_TAGS),
    Attack("folder of the new tag, with the older release", held(NEW), "source ref", OLD),
    Attack("link of the new tag to the older folder", linked(NEW), "", TWO_TAGS),
    *(
        Attack(f"policy has seen {what}", seen(tag, epoch), "age of the release", NEW)
        for what, tag, epoch in (
            ("a newer day", NEWER, EPOCH + 86400),
            ("a newer serial", f"{NEW}.1", EPOCH),
            ("a newer epoch", OLD, EPOCH + 1),
            ("the tag with a newer epoch", NEW, EPOCH + 1),
            ("the tag with an older epoch", NEW, EPOCH - 1),
            ("a release far in the future", "v3.24.99991231", EPOCH),
        )
    ),
    Attack(
        "image alone: policy has seen a newer release",
        signature_of_image,
        "age of the release",
        NEW,
    ),
    *(
        Attack(f"policy: {what}", do, "", found)
        for what, do, found in (
            ("a tag that is none", seen("latest"), "newest.v3.24.tag = "),
            ("a tag of another line", seen("v3.25.20261123"), "a tag of the line v3.24"),
            ("an epoch of words", seen(NEW, '"never"'), "newest.v3.24.epoch = "),
            ("an epoch before 1970", seen(NEW, -1), "newest.v3.24.epoch = "),
            ("a key more", seen(NEW, more="x = 1\n"), "newest.v3.24.x: unknown key"),
            ("a number of words", numbers(repository_id="x"), "repository_id = "),
            ("an issuer that is no URL", numbers(issuer="GitHub"), "issuer = "),
            ("a table more", numbers(more="1"), "more: unknown key"),
        )
    ),
]
