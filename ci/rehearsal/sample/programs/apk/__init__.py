"""The sample distribution's own apk: a small installer with apk's command line.

No package registry has Alpine's apk, so the rehearsal ships this one. It fills an empty root
and does nothing else. Which packages it chooses is compared with a real apk in `tests/sample/`;
the order is its own, stable one. Standard library only: `standin.py` installs it as
`/usr/lib/apk-standin/apk/`, beside the readers of `build/apk` that it imports.

In reading order: program (the command line), keys, repository, dependencies, resolver (which
packages, in which order), report (conflicts), install, unpack, scripts, database.
"""
