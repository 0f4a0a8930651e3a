"""Order of package versions by Alpine's rules.

A version is numbers with dots, an optional letter, suffixes, an optional commit hash, and a
package revision: `1.2.3b_rc1_p2~5f1c-r4` (apk-tools, apk-package(5)). A number after the
first that starts with 0 counts as digits after a decimal point: 1.05 is older than 1.5.
Where apk 2 and apk 3 differ, this follows apk 3: of two numbers that both start with 0 (1.0 and
1.00, 1.010 and 1.05), apk 2 compares what follows the zeros as a number. Only apk 2 allows digits
after the letter (1.0b1).
"""

import re

VERSION = re.compile(
    r"(?P<numbers>\d+(?:\.\d+)*)(?:(?P<letter>[a-z])(?P<after>\d*))?(?P<suffixes>(?:_[a-z]+\d*)*)"
    r"(?:~(?P<commit>[0-9a-f]+))?(?:-r(?P<revision>\d+))?",
    re.ASCII,
)
# Kinds of the next part of a version, from oldest to newest: of two versions that are equal so
# far, the one whose next part is of a higher kind is newer.
EARLIER, END, REVISION, COMMIT, SUFFIX_NUMBER, LATER, LETTER, NUMBER = range(8)

BEFORE = ("alpha", "beta", "pre", "rc")
AFTER = ("cvs", "svn", "git", "hg", "p")
SUFFIXES = {name: (EARLIER, number, "") for number, name in enumerate(BEFORE)}
SUFFIXES |= {name: (LATER, number, "") for number, name in enumerate(AFTER)}

VersionKey = tuple[tuple[int, int, str], ...]


def version_key(version: str) -> VersionKey:
    """Return the sort key of a version.

    >>> sorted(["1.10-r0", "1.9-r1", "1.10_rc1-r0"], key=version_key)
    ['1.9-r1', '1.10_rc1-r0', '1.10-r0']

    Raises:
        ValueError: it is not a version.
    """
    match = VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"{version!r}: not a version")
    first, *others = match["numbers"].split(".")
    key = [(NUMBER, int(first), "")]
    for digits in others:
        # A number with a leading zero sorts as a string.
        key.append((NUMBER, 0, digits) if digits[0] == "0" else (NUMBER, int(digits), ""))
    if match["letter"]:
        key.append((LETTER, ord(match["letter"]), ""))
    if match["after"]:
        key.append((NUMBER, int(match["after"]), ""))
    for name, digits in re.findall(r"_([a-z]+)(\d*)", match["suffixes"]):
        if name not in SUFFIXES:
            raise ValueError(f"{version!r}: not a version: suffix _{name}")
        key.append(SUFFIXES[name])
        if digits:
            key.append((SUFFIX_NUMBER, int(digits), ""))
    if match["commit"]:
        key.append((COMMIT, 0, match["commit"]))
    if match["revision"]:
        key.append((REVISION, int(match["revision"]), ""))
    return (*key, (END, 0, ""))
