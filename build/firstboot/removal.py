"""Scripts of the local packages for their removal: a droplet must stay reachable without them.

apk deletes the files of a removed package, in /etc those that nobody changed, with `--purge` all
(apk-tools, apk(8)). Without /etc/network/interfaces a droplet has no address after its next
start, and without the drop-in of sshd nobody's key is accepted. So each script leaves such files
behind as files of no package, like a configuration that the owner wrote.
"""

import re
from collections.abc import Iterable, Mapping

PLAIN = re.compile(r"[A-Za-z0-9._/@+-]+", flags=re.ASCII)
"""A path that needs no quotes in a shell."""
KEPT = ".kept"
"""Suffix of the copy between the two scripts."""


def removal_scripts(paths: Iterable[str], services: Iterable[str] = ()) -> Mapping[str, str]:
    """Return `pre-deinstall` and `post-deinstall`, which leave `paths` behind.

    `paths` are relative to the root. `services` are removed from every runlevel: OpenRC reports a
    link to a script that is gone at every start.

    Files whose path needs quotes in a shell are not kept.
    """
    names = " ".join(f"/{path}" for path in paths if PLAIN.fullmatch(path))
    links = [f"rm -f /etc/runlevels/*/{service}\n" for service in services]
    return {
        "pre-deinstall": _SAVE.format(names=names, kept=KEPT) + "".join(links) + "exit 0\n",
        "post-deinstall": _RESTORE.format(names=names, kept=KEPT),
    }


# The copies are written to the disk before apk deletes: a power cut leaves one of the two.
_SAVE = """\
#!/bin/sh
for file in {names}; do
	[ ! -f "$file" ] || cp -p "$file" "$file{kept}"
done
sync
"""
_RESTORE = """\
#!/bin/sh
for file in {names}; do
	[ -f "$file{kept}" ] || continue
	if [ -e "$file" ]; then
		rm -f "$file{kept}"
	else
		mkdir -p "${{file%/*}}" && mv "$file{kept}" "$file"
	fi
done
sync
exit 0
"""
