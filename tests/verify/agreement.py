"""The verdicts of `verify` and of a tool on an attack, counted, and why they may differ."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.verify.attacks import Attack
from tests.verify.cases import CLAIM, cases_of, is_huge, with_reasons
from tests.verify.judges import Case, Judge
from tests.verify.stage import Scene, Stage

Judged = tuple[str | None, Case]
"""A case, and why `verify` refuses it; None: it does not."""
PATIENCE = 3
"""Seconds for a file that takes hours to read: that a tool reads it all is known after them."""


class Verdict(Enum):
    """What the two say of one attack; the value is the column of the table."""

    BOTH = "both refuse"
    ALONE = "`verify` alone refuses"
    NOT_JUDGED = "the tool cannot judge"


@dataclass
class Count:
    """A row of the table of agreement: one kind of attack, one tool, one version of the log."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    """How often `verify` alone refuses for each reason of STRICTER."""
    unexplained: list[str] = field(default_factory=list)
    weaker: list[str] = field(default_factory=list)
    """Attacks on which the tool refuses a bundle that `verify` accepts."""

    def add(self, name: str, tool: Judge, found: Iterable[Judged]) -> bool:
        """Count the verdicts on the cases of the attack `name`; return whether there is one."""
        stricter = []
        for reason, case in found:
            accepted = ask(tool, case)
            if reason is None and accepted is False:
                self.weaker.append(f"{name}: {case.bundle.name}")
            if reason is not None and accepted is False:
                self.counts[Verdict.BOTH] += 1
                return True
            if reason is not None and accepted:
                stricter.append(reason)
        if not stricter:
            return False
        self.counts[Verdict.ALONE] += 1
        if line := explain(stricter):
            self.why[line] += 1
        else:
            self.unexplained.append(f"{name}: {stricter}")
        return True


def judge_table(
    attacks: Sequence[Attack], tools: Mapping[str, Judge], stages: Sequence[Stage], place: Path
) -> dict[str, Count]:
    """Return the row of each tool.

    `stages`: the release, and the same as statements for a tool that has no verdict on the first.
    """
    rows = {name: Count() for name in tools}
    for number, attack in enumerate(attacks):
        open_tools = set(tools)
        for form, stage in enumerate(stages):
            if not open_tools:
                break
            folder = place / f"{number}-{form}"
            folder.mkdir(parents=True)
            found = left_by(attack, Scene(stage, folder), turn=number, stated=form > 0)
            open_tools = {
                name for name in open_tools if not rows[name].add(attack.name, tools[name], found)
            }
        for name in open_tools:
            rows[name].counts[Verdict.NOT_JUDGED] += 1
    return rows


def left_by(attack: Attack, scene: Scene, *, turn: int, stated: bool) -> list[Judged]:
    """Return what an attack leaves to judge; with `stated`, of the statements for signatures.

    Where one honest job signed other bytes, every bundle holds: two kinds of them are judged, for
    each attack of a table others.
    """
    try:
        attack.do(scene)
    except KeyError as error:
        # A statement lacks what the attack changes in the signature of a file.
        if not stated or error.args != ("messageSignature",):
            raise
        return []
    cases = [case for case in cases_of(scene) if not stated or case.kind == CLAIM]
    found = distinct(cases, scene.stage.commits)
    good = [judged for judged in found if judged[0] is None]
    first = turn % max(len(good), 1)
    return [*(good[first:] + good[:first])[:2], *(each for each in found if each[0] is not None)]


def distinct(cases: Iterable[Case], commits: Mapping[str, str]) -> list[Judged]:
    """Return one case of each kind of bundle and reason."""
    seen: dict[tuple[str | None, str], Judged] = {}
    for reason, case in with_reasons(cases, commits):
        # Names and numbers differ from bundle to bundle, the reason does not.
        text = re.sub(r"[0-9a-f]{6,}|[0-9]+", "#", (reason or "").replace(case.file.name, "FILE"))
        seen.setdefault((case.kind, text), (reason, case))
    return list(seen.values())


def ask(tool: Judge, case: Case) -> bool | None:
    """Return whether a tool accepts a case: also when it reads a huge file on and on."""
    if not is_huge(case):
        return tool.accepts(case)
    try:
        return tool.accepts(case, PATIENCE)
    except subprocess.TimeoutExpired:
        return True


def explain(reasons: Iterable[str]) -> str | None:
    """Return the line of STRICTER for the first reason that has one; None without any."""
    return next(
        (
            line
            for reason in reasons
            for pattern, line in STRICTER.items()
            if re.search(pattern, reason)
        ),
        None,
    )


ENCODING = "one value has one spelling, so that no two readers read two values"
ENDED = "a key proves nothing outside its time, that of the log and of its certificate log neither"
CLAIMS = "every claim of the certificate counts: the tool has no option for it, or reads another"
STAMPS = "a timestamp that is there must hold, whether or not the log has signed a time"
STRICTER = {
    r"in canonical form|of type application/vnd": ENCODING,
    r"log entry of the kind '": "the kind of an entry is that of what it contains",
    r"inclusionPromise": "an entry has the fields of its version of the log, and no other",
    r"checkpoint": "a checkpoint is of the proof's tree, and signed once, under its log's name",
    r"was not valid": ENDED,
    r"canonicalizedBody": ENCODING,
    r"expected that of the proof": "the number that is shown is the one that was proved",
    r"SCT |certificate log key": "a certificate was logged when it was issued: gh does not look",
    r"[Tt]imestamp|no time of signing": STAMPS,
    r"more than [0-9]+ bytes": "no bundle has 4 MiB: size first, then content",
    r"Missing bundle message": "a signature of a file is none of a statement",
    r"other subjects": "a subject has a name: the same bytes under another name are another file",
    r"a symbolic link|bytes, expected at most": "plain files of a size that is known: nothing else",
    r"of its certificate is|SANs do not|OIDCIssuer": CLAIMS,
    r"in-toto.io/Statement|no subject, or one twice|subject\[": "one form of statements is enough",
    r"no trust root": "a root without a log's key vouches for nothing",
}
"""What `verify` says when it alone refuses, as patterns, and why that is right."""
SEES_ONE = "every bundle is valid: a tool judges one file, and a release that lacks one is not seen"
READS_NOT = "every bundle is valid: what the signed files say is wrong, and a tool does not read it"
IN_V1 = "what is attacked is not in a bundle of Rekor v1, or not in a statement (gh)"
NOT_JUDGED = {
    "content": f"{SEES_ONE}; what is no file, or missing, cannot be given to it",
    "packages": READS_NOT,
    "bundles": f"{IN_V1}; a bundle that is missing or a pipe cannot be given to a tool",
    "statements": f"{READS_NOT}, or it is about other subjects than the release has",
    "trust": "policy files, the keys of packages and the place of the root are known to no tool",
    "fields": READS_NOT,
    "unopened": "what is missing, a pipe, a socket or a folder cannot be given to a tool",
    "one_run": "every bundle is valid: a tool sees one of them, and not that it is of another run",
    "one_image": f"{SEES_ONE}; a tool demands no other bundle beside the one it is given",
    "facts": READS_NOT,
    "rollback": "a tool is given files and no URL, and remembers no release that it has seen",
    "rules": "every bundle is valid: a tool has no rules about age, statements and builders",
    "sources": "a tool has no configuration, and reads nothing of a network when told so",
    "forms": IN_V1,
    "windows": IN_V1,
}
"""By kind: why a tool cannot judge the attacks that neither refuses, which are no agreement."""
