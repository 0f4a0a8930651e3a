"""The verdicts of `verify` and of a tool on an attack, counted, and why they may differ."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.verify.attacks import Attack
from tests.verify.cases import CLAIM, cases_of, is_huge, with_reasons
from tests.verify.judges import Case, Judge
from tests.verify.stage import Scene, Stage

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

    def add(self, attack: Attack, tool: Judge, stages: Iterable[Stage], place: Path) -> None:
        """Count the verdicts on an attack: on the first of `stages` where the tool has one."""
        judged = False
        for number, stage in enumerate(stages):
            folder = place / str(number)
            folder.mkdir(parents=True)
            if judged := self._add(attack, tool, Scene(stage, folder), stated=number > 0):
                break
        if not judged:
            self.counts[Verdict.NOT_JUDGED] += 1

    def _add(self, attack: Attack, tool: Judge, scene: Scene, *, stated: bool) -> bool:
        try:
            attack.do(scene)
        except KeyError as error:
            # A statement lacks what the attack changes in the signature of a file.
            if not stated or error.args != ("messageSignature",):
                raise
            return False
        stricter = []
        for reason, case in distinct(cases_of(scene), scene.stage.commits):
            if stated and case.kind != CLAIM:
                continue
            accepted = ask(tool, case)
            if accepted is None:
                continue
            if reason is None and not accepted:
                self.weaker.append(f"{attack.name}: {case.bundle.name}")
            if reason is not None and not accepted:
                self.counts[Verdict.BOTH] += 1
                return True
            if reason is not None:
                stricter.append(reason)
        if not stricter:
            return False
        self.counts[Verdict.ALONE] += 1
        if line := explain(stricter):
            self.why[line] += 1
        else:
            self.unexplained.append(f"{attack.name}: {stricter}")
        return True


def distinct(cases: Iterable[Case], commits: Mapping[str, str]) -> list[tuple[str | None, Case]]:
    """Return one case of each kind of bundle and reason; what `verify` accepts comes first."""
    seen: dict[tuple[str | None, str], tuple[str | None, Case]] = {}
    for reason, case in with_reasons(cases, commits):
        # Names and numbers differ from bundle to bundle, the reason does not.
        text = re.sub(r"[0-9a-f]{6,}|[0-9]+", "#", (reason or "").replace(case.file.name, "FILE"))
        seen.setdefault((case.kind, text), (reason, case))
    return sorted(seen.values(), key=lambda found: found[0] is not None)


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


STRICTER: dict[str, str] = {}
NOT_JUDGED: dict[str, str] = {}
