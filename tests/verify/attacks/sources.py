"""What determines trust, named inside the target; and targets on the network with `--offline`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.verify.attacks import Attack
from tests.verify.stage import IMAGE, NEW, OLD, REPOSITORY, Scene

PART_OF_TARGET = "is part of the target, which must not determine trust"
ON_THE_NETWORK = "is on the network"
WEB = f"https://github.com/{REPOSITORY}/releases"


def configured(
    *changes: tuple[str, str],
    prepare: Callable[[Scene], object] = lambda scene: None,
    image: bool = False,
) -> Callable[[Scene], None]:
    """Return what names a configuration of one's own, which leads into the target.

    `changes`: text that is replaced in it; a default path is that of the stage.
    """

    def do(scene: Scene) -> None:
        root = scene.stage.root
        for name in ("trusted_root.json", "signing_config.json"):
            shutil.copyfile(root / "sigstore" / name, scene / name)
        (scene / "deep" / "er").mkdir(parents=True)
        shutil.copyfile(scene / "trusted_root.json", scene / "deep" / "er" / "root.json")
        shutil.copytree(scene.stage.keys, scene / "keys")
        prepare(scene)
        text = (root / "release.toml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        text = text.replace('"sigstore/', f'"{root}/sigstore/').replace('"keys"', f'"{root}/keys"')
        (scene.place / "mine.toml").write_text(text)
        scene.words += ["--config", str(scene.place / "mine.toml")]
        scene.target = str(scene / IMAGE) if image else scene.target

    return do


def link_to_root(scene: Scene) -> None:
    """Lay a link outside that leads to the root that came with the release."""
    (scene.place / "root.json").symlink_to(scene / "trusted_root.json")


def link_to_target(scene: Scene) -> None:
    """Name the target by a link."""
    (scene.place / "link").symlink_to(scene.folder)
    scene.target = str(scene.place / "link")


def root_of(path: str) -> tuple[str, str]:
    """Return what replaces the trust root of the configuration."""
    return '"sigstore/trusted_root.json"', f'"{path}"'


def named(option: str, path: str, target: str = "") -> Callable[[Scene], None]:
    """Return what names a file of the target by an option."""

    def do(scene: Scene) -> None:
        link_to_root(scene)
        shutil.copyfile(scene.stage.trust_root, scene / "trusted_root.json")
        scene.words += [option, str(scene.place / path)]
        scene.target = str(scene / target) if target else scene.target

    return do


def asked(target: str, *words: str) -> Callable[[Scene], None]:
    """Return what verifies another target, with --offline."""

    def do(scene: Scene) -> None:
        scene.target = target
        scene.words += words

    return do


KEYS = ('keys = "keys"', 'keys = "release/keys"')
BUILDER_KEYS = ("[builder]\n", '[builder]\nkeys = "release/keys"\nrepositories = ["packages"]\n')
ATTACKS = [
    *(
        Attack(f"--config names {what}", do, "", found)
        for what, do, found in (
            (
                "the root of the release",
                configured(root_of("release/trusted_root.json")),
                "[sign] trust_root",
            ),
            (
                "a root deep in the release",
                configured(root_of("release/deep/er/root.json")),
                PART_OF_TARGET,
            ),
            (
                "a root by a detour",
                configured(root_of("x/../release/trusted_root.json")),
                PART_OF_TARGET,
            ),
            (
                "a link to the root of the release",
                configured(root_of("root.json"), prepare=link_to_root),
                PART_OF_TARGET,
            ),
            (
                "the root of a release that is named by a link",
                configured(root_of("release/trusted_root.json"), prepare=link_to_target),
                PART_OF_TARGET,
            ),
            (
                "the root beside an image",
                configured(root_of("release/trusted_root.json"), image=True),
                PART_OF_TARGET,
            ),
            ("keys of the release", configured(KEYS), "[snapshot] keys"),
            ("the builder's keys of the release", configured(BUILDER_KEYS), "[builder] keys"),
        )
    ),
    Attack(
        "a link to the root of the release", named("--trust-root", "root.json"), "", PART_OF_TARGET
    ),
    Attack(
        "the root beside an image",
        named("--trust-root", "release/trusted_root.json", IMAGE),
        "",
        PART_OF_TARGET,
    ),
    Attack("the release as its keys", named("--keys", "release"), "", PART_OF_TARGET),
    *(
        Attack(f"--offline and {what}", asked(target, *words), "", found)
        for what, target, words, found in (
            ("a tag", NEW, (), ON_THE_NETWORK),
            ("a page", f"{WEB}/tag/{OLD}", (), ON_THE_NETWORK),
            ("an image of a mirror", f"http://127.0.0.1:9/{NEW}/{IMAGE}", (), ON_THE_NETWORK),
            ("a folder to keep a release in", NEW, ("--save", "x"), ON_THE_NETWORK),
            ("--refresh", str(Path(__file__).parent), ("--refresh",), "mutually exclusive"),
        )
    ),
]
