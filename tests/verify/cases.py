"""What an attack leaves for a tool to judge: bundles, one file each, and whom a person trusts.

`verify` judges a whole release. A tool judges one bundle and one file, so the same is asked of
`verify` here: only then is a refusal of both an agreement.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path

from build.errors import SnowdropError, VerificationError
from ci.attest.statements import build_statement
from ci.release.manifest import BUNDLE_SUFFIX
from ci.verify.safe_io import MAX_SMALL, hash_plain
from ci.verify.trust.bundles import Statement, Trust
from ci.verify.trust.policy import Policy, TrustedSigner
from tests.verify.judges import Case
from tests.verify.mint import Json, Mint
from tests.verify.stage import IMAGE, NEW, REPOSITORY, Scene, Stage, payload_of

CLAIM = "https://example.com/claim/v1"
"""Type of the statement that stands for the signature of a file."""
WHOLE = ("SHA256SUMS", IMAGE)
"""What is judged when the files are honest, and whom a person trusts is not."""


class StatingMint(Mint):
    """Makes a statement where the release has the signature of a file: gh reads no other form."""

    def file(self, sha256: str) -> Json:
        """Return the bundle of a statement about a file."""
        return self.statement(build_statement({"file": sha256}, CLAIM, {}))


def in_rekor_v1(stage: Stage, folder: Path) -> Stage:
    """Return the stage with every bundle in Rekor v1, made in the empty `folder`."""
    return _remade(stage, folder, stage.mint.but(rekor=1))


def as_statements(stage: Stage, folder: Path) -> Stage:
    """Return the stage with a statement in the place of each signature of a file."""
    mint = StatingMint(**{name: getattr(stage.mint, name) for name in Mint.__dataclass_fields__})
    return _remade(stage, folder, mint)


def _remade(stage: Stage, folder: Path, mint: Mint) -> Stage:
    scene = Scene(replace(stage, mint=mint), folder)
    for path in sorted(scene.folder.glob(f"*{BUNDLE_SUFFIX}")):
        bundle, name = json.loads(path.read_bytes()), path.name.removesuffix(BUNDLE_SUFFIX)
        if "messageSignature" in bundle and isinstance(mint, StatingMint):
            subject = {name: hash_plain(scene / name).sha256}
            scene.put(path.name, mint.statement(build_statement(subject, CLAIM, {})))
        else:
            scene.resign(mint, path.name)
    return replace(stage, new=scene.folder, mint=mint)


def cases_of(scene: Scene) -> Iterator[Case]:
    """Yield the cases that an attack left: of bundles and files that differ from the honest ones.

    When a person trusts another root or signer, or wants another tag, those of the checksums and
    of an image as well. What is at another place than this machine is not judged.
    """
    target = Path(scene.target)
    folder = target if target.is_dir() else target.parent
    if not scene.target or not folder.is_dir() or (folder == target.parent and not target.exists()):
        return
    tag = wanted_tag(scene.words)
    context = (scene.trust_root, scene.repository, tag)
    other = context != (scene.stage.trust_root, REPOSITORY, NEW)
    for bundle in sorted(folder.glob(f"*{BUNDLE_SUFFIX}")):
        honest = scene.stage.new / bundle.name
        kind, names = _about(honest if honest.is_file() else bundle)
        for name in names:
            file = folder / name
            if not bundle.is_file() or not file.is_file():
                continue
            same = _same(bundle, honest) and _same(file, scene.stage.new / name)
            if not same or (other and name in WHOLE):
                yield Case(
                    root=scene.trust_root,
                    bundle=bundle,
                    file=file,
                    kind=kind,
                    place=scene.place,
                    repository=scene.repository,
                    tag=tag,
                )


def wanted_tag(words: list[str]) -> str:
    """Return the tag that a person wants: the last one of the options, or the newer release's."""
    given = [word.removeprefix("--tag=") for word in words if word.startswith("--tag=")]
    given += [words[place + 1] for place, word in enumerate(words[:-1]) if word == "--tag"]
    return given[-1] if given else NEW


@cache
def _about(bundle: Path) -> tuple[str | None, tuple[str, ...]]:
    """Return the type of the statement in an honest bundle, and the files that it is about."""
    try:
        document = json.loads(bundle.read_bytes())
    except ValueError:
        document = {}
    if "dsseEnvelope" not in document:
        return None, (bundle.name.removesuffix(BUNDLE_SUFFIX),)
    statement = payload_of(document)
    return statement["predicateType"], tuple(item["name"] for item in statement["subject"])


def _same(one: Path, other: Path) -> bool:
    """Return whether two files are the same; one of another size, perhaps huge, is not read."""
    return (
        other.is_file()
        and one.stat().st_size == other.stat().st_size
        and one.read_bytes() == other.read_bytes()
    )


def with_reasons(
    cases: Iterable[Case], commits: Mapping[str, str]
) -> Iterator[tuple[str | None, Case]]:
    """Yield each case with the reason why the functions of `verify` refuse it; None: they do not.

    `commits`: source commit by tag.
    """
    for _, group in groupby(cases, key=lambda case: case.bundle):
        first, *others = group
        signer = TrustedSigner(repository=first.repository)
        policy = Policy(signer, first.tag, commits.get(first.tag, commits[NEW]))
        try:
            compare = _read(first, policy)
        except SnowdropError as error:
            reason = str(error).removeprefix(f"{first.bundle.name}: ")
            yield from ((reason, case) for case in (first, *others))
            continue
        for case in (first, *others):
            yield compare(case.file), case


def _read(case: Case, policy: Policy) -> Callable[[Path], str | None]:
    """Check the bundle of a case, and return what says why it is not about a file.

    Raises:
        SnowdropError: bundle or trust root are refused.
    """
    trust, name = Trust(case.root), case.bundle.name
    if case.kind is None:
        certificate = trust.check_file(case.bundle, hash_plain(case.file).sha256, policy)
        policy.check(certificate, name)
        return lambda _: None
    statement, certificate = trust.check_statement(case.bundle, policy)
    policy.check(certificate, name)
    if statement.predicate_type != case.kind:
        raise VerificationError("another type of predicate")
    return partial(_other_subject, statement)


def _other_subject(statement: Statement, file: Path) -> str | None:
    try:
        same = statement.subjects.get(file.name) == hash_plain(file).sha256
    except VerificationError as error:
        return str(error)
    return None if same else "other subjects than expected"


def is_huge(case: Case) -> bool:
    """Return whether a tool would read for hours."""
    return max(path.stat().st_size for path in (case.file, case.bundle)) > 1000 * MAX_SMALL
