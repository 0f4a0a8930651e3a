"""apk's report on why it finds no set of packages, parsed and explained.

apk 2 and apk 3 write the same report: a block for each package or name that prevents a
solution, with the packages that require, break or satisfy it (apk-tools, src/app_add.c and
src/print.c; the tests contain the reports of 2.14.0 and 3.0.6).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SUBJECT = re.compile(r"^  (?P<name>\S+?)(?: \((?P<remark>[^)]*)\))?:$")
DETAIL = re.compile(r"^    (?P<key>[a-z][a-z ]*): ?(?P<rest>.*)$")
NEEDED_BY = re.compile(r"(?P<by>\S+?)\[(?P<what>[^\]\s]+)\]")
WORLD = "world"
"""apk's name for the packages that were asked for."""
NO_SUCH = "no such package"
VIRTUAL = "virtual"


@dataclass(frozen=True, slots=True)
class Reason:
    """One block of the report."""

    name: str
    """Package with its version, or the name that was looked for."""
    remark: str
    """Text in brackets after the name, or empty."""
    details: Mapping[str, str]
    """Values of `required by`, `breaks`, `satisfies`, `conflicts`, `provided by`, ..."""

    def needs(self, key: str) -> list[tuple[str, str]]:
        """Return the pairs (package, dependency) of the detail `key`."""
        found = NEEDED_BY.finditer(self.details.get(key, ""))
        return [(match["by"], match["what"]) for match in found]


def parse_reasons(report: str) -> tuple[Reason, ...]:
    """Return the blocks of apk's report; empty if the text has none."""
    blocks: list[tuple[str, str, dict[str, str]]] = []
    key = ""
    for line in report.splitlines():
        subject, detail = SUBJECT.match(line), DETAIL.match(line)
        if subject:
            blocks.append((subject["name"], subject["remark"] or "", {}))
        elif detail and blocks:
            key = detail["key"]
            blocks[-1][2][key] = detail["rest"]
        elif line.startswith("     ") and blocks and key:
            blocks[-1][2][key] += " " + line.strip()  # a long line that apk wrapped
    return tuple(Reason(*block) for block in blocks)


def explain(report: str) -> tuple[str, ...]:
    """Return the report as plain sentences, one for each problem."""
    sentences = [line for reason in parse_reasons(report) for line in _sentences(reason)]
    return tuple(dict.fromkeys(sentences))


def is_out_of_step(report: str) -> bool:
    """Return whether a package needs what no repository has, as when one of them lags.

    A missing package that release.toml asks for does not count: waiting will not help.
    """
    for reason in parse_reasons(report):
        key = "required by" if reason.remark == NO_SUCH else "breaks"
        if any(by != WORLD and not what.startswith("!") for by, what in reason.needs(key)):
            return True
    return False


def _sentences(reason: Reason) -> Iterator[str]:
    name = reason.name
    if reason.remark == NO_SUCH:
        for by, _ in reason.needs("required by"):
            need = "release.toml asks for it" if by == WORLD else f"{by} needs it"
            yield f"{name}: no repository has it, {need}"
    elif reason.remark == VIRTUAL:
        providers = ", ".join(reason.details.get("provided by", "").split())
        yield f"{name}: several packages provide it ({providers}): name one of them"
    for by, what in reason.needs("breaks"):
        if what.startswith("!"):
            users = " and ".join(_by(user) for user, _ in reason.needs("satisfies"))
            yield f"{_by(by)} conflicts with {name}" + (f", which {users} wants" if users else "")
        else:
            need = "release.toml asks for" if by == WORLD else f"{by} needs"
            yield f"{need} {what}, the repositories have {name}"
    for by, what in reason.needs("conflicts"):
        provided = re.split("[<>=~]", what)[0]
        pair = " and ".join(sorted([name, by]))
        yield f"{pair} both provide {provided}, which only one package may"


def _by(user: str) -> str:
    return "release.toml" if user == WORLD else user
