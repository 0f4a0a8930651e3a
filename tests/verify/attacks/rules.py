"""Releases that are valid, but not what the rules of a policy file demand; and malformed rules."""

from collections.abc import Callable
from datetime import timedelta

from ci.release.manifest import PROVENANCE_BUNDLE, SNAPSHOT_BUNDLE, build_bundle, sbom_bundle
from tests.verify.attacks import Attack
from tests.verify.attacks.trust import numbers
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Scene

WORKFLOWS = f"https://github.com/{REPOSITORY}/.github/workflows"
TITLES = ("provenance", "snapshot", "difference", "build record", "boot report", "SBOM")
ALL = "statements = [" + ", ".join(f'"{title}"' for title in TITLES) + "]"


def rules(text: str, *steps: Callable[[Scene], object], later: int = 0) -> Callable[[Scene], None]:
    """Return what verifies with the rules in `text`, `later` days after the release was signed."""

    def do(scene: Scene) -> None:
        numbers()(scene)
        policy = scene.place / "policy.toml"
        policy.write_text(f"{policy.read_text()}[require]\n{text}\n")
        scene.later = timedelta(days=later)
        for step in steps:
            step(scene)

    return do


def one_image(*lacking: str) -> Callable[[Scene], None]:
    """Return what verifies one image, with files missing beside it."""

    def do(scene: Scene) -> None:
        scene.target = str(scene / IMAGE)
        for name in lacking:
            (scene / name).unlink()

    return do


def image_alone(scene: Scene) -> None:
    """Verify one image by its signature alone."""
    one_image("release.json", "SHA256SUMS")(scene)


def in_v1(scene: Scene) -> None:
    """Sign all of it in the other version of the log."""
    scene.resign(scene.stage.mint.but(rekor=1))


def stamped_again(scene: Scene) -> None:
    """Give the old signature of the checksums a timestamp of today, in the bundle of Rekor v1."""
    mint = scene.stage.mint
    scene.resign(mint.but(rekor=1))
    fresh = mint.but(rekor=1, stamped=timedelta(days=100))
    scene.resign(fresh, "SHA256SUMS.sigstore.json")


def builders(*names: str) -> str:
    """Return the rule about builders."""
    return "builders = [" + ", ".join(f'"{name}"' for name in names) + "]"


AGE, STATEMENTS, BUILDER = "time of signing", "required statements", "accepted builder"
OWN = f"{WORKFLOWS}/build.yml@refs/tags/"
MALFORMED = {
    "no days": ("max_age_days = 0", "require.max_age_days = 0: expected a whole number from 1"),
    "days in words": ('max_age_days = "90 days"', "require.max_age_days = "),
    "half a day": ("max_age_days = 0.5", "require.max_age_days = 0.5"),
    "days of centuries": ("max_age_days = 99999", "a whole number from 1 to 36500"),
    "true days": ("max_age_days = true", "require.max_age_days = true"),
    "an unknown rule": (
        "max_age = 90",
        "require.max_age: unknown key (did you mean max_age_days?)",
    ),
    "an unknown statement": ('statements = ["sbom"]', "a list of: provenance, snapshot, "),
    "a statement twice": ('statements = ["SBOM", "SBOM"]', "expected each entry once"),
    "no statement": ("statements = []", "require.statements = []: expected at least one entry"),
    "a statement and no list": ('statements = "SBOM"', 'require.statements = "SBOM"'),
    "no builder": ("builders = []", "require.builders = []: expected at least one entry"),
    "any builder": (builders("*"), 'require.builders = "*": expected a list of https://'),
    "any repository": (builders("https://github.com/*"), "where TAG may end with *"),
    "any workflow": (builders(f"{WORKFLOWS}/*@refs/tags/v1"), "where TAG may end with *"),
    "an asterisk in the middle": (builders(f"{OWN}v*-x"), "where TAG may end with *"),
    "a builder of a branch": (builders(f"{WORKFLOWS}/build.yml@refs/heads/main"), "refs/tags/TAG"),
    "a builder of no tag": (builders(OWN), "where TAG may end with *"),
    "a builder of plain http": (builders(OWN.replace("https", "http") + NEW), "a list of https://"),
    "no runner": ("runners = []", "require.runners = []: expected at least one entry"),
    "another runner": ('runners = ["mine"]', "a list of github-hosted, self-hosted"),
}
ATTACKS = [
    Attack(
        "rules: a release signed 91 days ago", rules("max_age_days = 90", later=91), AGE, "91 days"
    ),
    Attack(
        "rules: the same, in Rekor v1", rules("max_age_days = 90", in_v1, later=91), AGE, "91 days"
    ),
    Attack(
        "rules: an old image alone",
        rules("max_age_days = 90", image_alone, later=91),
        AGE,
        "91 days",
    ),
    Attack(
        "rules: an old image beside its release",
        rules("max_age_days = 90", one_image(), later=91),
        AGE,
        "91 days",
    ),
    Attack(
        "rules: a clock that was set back",
        rules("max_age_days = 90", later=-1),
        AGE,
        "later than this machine's clock",
    ),
    Attack(
        "rules: an old signature with a timestamp of today",
        rules("max_age_days = 90", stamped_again, later=100),
        "signature of SHA256SUMS",
        "",
    ),
    Attack("rules: a builder of another line", rules(builders(f"{OWN}v3.25.*")), BUILDER, NEW),
    Attack("rules: a builder of another tag", rules(builders(f"{OWN}{NEW}.1")), BUILDER, NEW),
    Attack(
        "rules: a builder whose dots are dots",
        rules(builders(f"{OWN}{NEW[:-1]}.")),
        BUILDER,
        "build.yml",
    ),
    Attack(
        "rules: a builder of another repository",
        rules(builders(f"{OWN}*".replace("lighthouse", "lighthousekeeper"))),
        BUILDER,
        REPOSITORY,
    ),
    Attack(
        "rules: a machine of the owner, and only they are accepted",
        rules('runners = ["self-hosted"]'),
        "runner",
        "github-hosted",
    ),
    Attack(
        "rules: any machine is accepted, and a third kind signed",
        rules(
            'runners = ["github-hosted", "self-hosted"]',
            lambda scene: scene.resign(scene.stage.mint.claiming(runner_environment="laptop")),
        ),
        "runner",
        "laptop",
    ),
    Attack(
        "rules: machines of two kinds in one release",
        rules(
            'runners = ["github-hosted", "self-hosted"]',
            lambda scene: scene.resign(
                scene.stage.mint.claiming(runner_environment="self-hosted"), PROVENANCE_BUNDLE
            ),
        ),
        "provenance",
        "one run signs a release",
    ),
    *(
        Attack(
            f"rules: one image without its {title}", rules(text, one_image(name)), STATEMENTS, title
        )
        for title, name, text in (
            ("SBOM", sbom_bundle(IMAGE), 'statements = ["SBOM"]'),
            ("build record", build_bundle(IMAGE), 'statements = ["build record"]'),
            ("provenance", PROVENANCE_BUNDLE, 'statements = ["provenance"]'),
        )
    ),
    Attack(
        "rules: one image, whose release has a snapshot",
        rules('statements = ["snapshot"]', one_image()),
        STATEMENTS,
        "no valid snapshot",
    ),
    Attack(
        "rules: a release without a snapshot",
        rules(ALL, lambda scene: (scene / SNAPSHOT_BUNDLE).unlink()),
        STATEMENTS,
        "no valid snapshot",
    ),
    Attack(
        "rules: the first release of its line, which states no difference",
        rules(ALL, lambda scene: setattr(scene, "target", str(scene.stage.old))),
        STATEMENTS,
        "no valid difference",
    ),
    *(
        Attack(f"rules: {what}", rules(text), "", found)
        for what, (text, found) in MALFORMED.items()
    ),
]
