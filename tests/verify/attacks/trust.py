"""Attacks on the trust root and the signer, and older releases under a newer name."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.verify.attacks import Attack
from tests.verify.mint import Json
from tests.verify.stage import NEW, OLD, REPOSITORY, Scene

Change = Callable[[Json], object]
PAST = "2020-01-01T00:00:00Z"
LISTS = ("certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities")


def root(change: Change) -> Callable[[Scene], None]:
    """Return an attack with a changed trust root."""

    def do(scene: Scene) -> None:
        document = json.loads(scene.stage.trust_root.read_text())
        change(document)
        scene.trust_root = scene.place / "root.json"
        scene.trust_root.write_text(json.dumps(document))

    return do


def root_file(content: bytes) -> Callable[[Scene], None]:
    """Return an attack with this content as trust root."""

    def do(scene: Scene) -> None:
        scene.trust_root = scene.place / "root.json"
        scene.trust_root.write_bytes(content)

    return do


def ended(kind: str, end: str = PAST) -> Change:
    """Return what ends the validity of every anchor of a kind."""

    def change(document: Json) -> None:
        for item in document[kind]:
            holder = item.get("publicKey", item)
            holder["validFor"] = {"start": "2019-01-01T00:00:00Z", "end": end}

    return change


def not_yet(kind: str) -> Change:
    """Return what starts the validity of every anchor of a kind after the release."""
    start = datetime.now(tz=UTC) + timedelta(days=30)

    def change(document: Json) -> None:
        for item in document[kind]:
            holder = item.get("publicKey", item)
            holder["validFor"] = {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ")}

    return change


def foreign_root(scene: Scene) -> Json:
    """Return the root of the sigstore that is not trusted."""
    from ci.rehearsal.sigstore.trust import trusted_root

    return trusted_root(scene.stage.foreign.keys)


def of_foreign(*kinds: str) -> Callable[[Scene], None]:
    """Return an attack whose root has another sigstore's anchors of these kinds.

    That is what a root looks like that is older than the newest key.
    """

    def do(scene: Scene) -> None:
        other = foreign_root(scene)
        root(lambda document: document.update({kind: other[kind] for kind in kinds}))(scene)

    return do


def evil_release(scene: Scene) -> None:
    """Sign all of it elsewhere, and lay that sigstore's root and a configuration beside it."""
    scene.resign(scene.stage.foreign)
    (scene / "trusted_root.json").write_text(json.dumps(foreign_root(scene)))


def root_beside(scene: Scene) -> None:
    """Trust the root that came with the release."""
    evil_release(scene)
    scene.trust_root = scene / "trusted_root.json"


def config_beside(scene: Scene) -> None:
    """Take the configuration that came with the release."""
    evil_release(scene)
    shutil.copyfile(scene.stage.root / "release.toml", scene / "release.toml")
    scene.words += ["--config", str(scene / "release.toml")]


def policy_beside(scene: Scene) -> None:
    """Take the policy file that came with the release."""
    policy = scene / "trust.toml"
    policy.write_text(f'repository = "{REPOSITORY}"\n')
    scene.words += ["--policy", str(policy)]


def keys_beside(scene: Scene) -> None:
    """Take the distribution's keys that came with the release."""
    shutil.copytree(scene.stage.keys, scene / "keys")
    scene.words += ["--deep", "--keys", str(scene / "keys")]


def other_keys(scene: Scene) -> None:
    """Hold other keys than those that signed the packages."""
    from tests.apk.makers import key

    folder = scene.place / "alpine"
    folder.mkdir()
    (folder / "other.rsa.pub").write_bytes(key().public_pem())
    scene.words += ["--deep", "--keys", str(folder)]


def numbers(**values: str) -> Callable[[Scene], None]:
    """Return what has a policy file of another day: the name was registered again since."""

    def do(scene: Scene) -> None:
        said = {
            "repository": REPOSITORY,
            "repository_id": "700000001",
            "owner_id": "600000001",
            "issuer": "https://token.actions.githubusercontent.com",
            **values,
        }
        policy = scene.place / "policy.toml"
        policy.write_text("".join(f'{key} = "{value}"\n' for key, value in said.items()))
        scene.words += ["--policy", str(policy)]

    return do


def older_for_new(scene: Scene) -> None:
    """Give the older release, which is valid, to somebody who asks for the new tag."""
    shutil.rmtree(scene.folder)
    shutil.copytree(scene.stage.old, scene.folder)
    scene.words += ["--tag", NEW]


def older_renamed(scene: Scene) -> None:
    """Let the manifest of the older release say the new tag."""
    shutil.rmtree(scene.folder)
    shutil.copytree(scene.stage.old, scene.folder)
    manifest = scene / "release.json"
    manifest.write_text(manifest.read_text().replace(f'"tag": "{OLD}"', f'"tag": "{NEW}"'))
    scene.words += ["--tag", NEW]


def other_repository(scene: Scene) -> None:
    """Trust another repository than the one that signed."""
    scene.repository = "mallory/snowdrop"


def not_a_repository(scene: Scene) -> None:
    """Say a name that is none."""
    scene.repository = "mallory"


def public_root(scene: Scene) -> None:
    """Trust the public sigstore alone."""
    scene.trust_root = Path(__file__).parents[3] / "ci" / "verify" / "trust" / "trusted_root.json"


ATTACKS = [
    Attack(
        "the root of another sigstore",
        of_foreign(*LISTS),
        "trust root",
        "an authority that the trust root",
    ),
    Attack("the public root", public_root, "trust root", "an authority that the trust root"),
    Attack("an empty root", root_file(b"{}"), "", "no trust root"),
    Attack("a root of no bytes", root_file(b""), "", "no trust root"),
    Attack(
        "a root without logs",
        root(lambda said: said.update(tlogs=[])),
        "",
        "no log key, expected at least one",
    ),
    Attack("a root that is a list", root_file(b"[]"), "", "no trust root"),
    Attack(
        "a root with a key twice", root_file(b'{"tlogs": [], "tlogs": []}'), "", "key 'tlogs' twice"
    ),
    Attack(
        "the authority ended before",
        root(ended("certificateAuthorities")),
        "trust root",
        "certificate authority https://authority.rehearsal.invalid was not valid",
    ),
    Attack(
        "the log ended before",
        root(ended("tlogs")),
        "trust root",
        "log key https://log.rehearsal.invalid was not valid",
    ),
    Attack(
        "the certificate log ended before",
        root(ended("ctlogs")),
        "trust root",
        "certificate log key https://ct.rehearsal.invalid was not valid",
    ),
    Attack(
        "the clock ended before",
        root(ended("timestampAuthorities")),
        "trust root",
        "timestamp authority https://timestamp.rehearsal.invalid was not valid",
    ),
    Attack(
        "the log was not yet valid",
        root(not_yet("tlogs")),
        "trust root",
        "was not valid",
    ),
    Attack(
        "an old root without the new log key",
        of_foreign("tlogs"),
        "trust root",
        "is not in your trust root of",
    ),
    Attack(
        "an old root without the new clock",
        of_foreign("timestampAuthorities"),
        "trust root",
        "timestamp authority of",
    ),
    Attack(
        "an old root without the new certificate log",
        of_foreign("ctlogs"),
        "trust root",
        "certificate log key",
    ),
    Attack("a root that came with the release", root_beside, "", "is part of the target"),
    Attack(
        "a configuration that came with the release", config_beside, "", "is part of the target"
    ),
    Attack("a policy that came with the release", policy_beside, "", "is part of the target"),
    Attack("keys that came with the release", keys_beside, "", "is part of the target"),
    Attack(
        "packages signed by keys that one does not hold",
        other_keys,
        "snapshot signatures",
        "which is not in",
    ),
    Attack(
        "the repository's name has a new repository",
        numbers(repository_id="1"),
        "repository number",
        "700000001",
    ),
    Attack("the repository has a new owner", numbers(owner_id="1"), "owner number", "600000001"),
    Attack(
        "a policy of another repository",
        numbers(repository="mallory/snowdrop"),
        "",
        "trusts mallory/snowdrop",
    ),
    Attack(
        "another repository is trusted",
        other_repository,
        "source repository",
        f"https://github.com/{REPOSITORY}",
    ),
    Attack("a name that is none", not_a_repository, "", "expected OWNER/REPO"),
    Attack("the older release under the new tag", older_for_new, "source ref", f"refs/tags/{OLD}"),
    Attack(
        "the older release, its manifest renamed", older_renamed, "source ref", f"refs/tags/{OLD}"
    ),
]
